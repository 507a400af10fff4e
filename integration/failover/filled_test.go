package failover

import (
	"fmt"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestFilledReplica: the servers of a cluster were filled with copies, so that none has in its log, nor lists there, what it
// was filled with. The log goes on from the one to the other all the same, and each base backup serves to its end.
func TestFilledReplica(t *testing.T) { kit.Each(t, servertest.MySQL, kit.Servers(3), filledReplica) }

func filledReplica(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 2)
	for i, srv := range c.Servers {
		srv.Exec("SET GLOBAL super_read_only=OFF", "SET GLOBAL gtid_purged='+aaaaaaaa-0000-0000-0000-000000000001:1-1000'",
			fmt.Sprintf("SET GLOBAL super_read_only=%d", i))
	}
	s := archive(t, c)
	s.insert("first", 5)
	fill(c)
	s.insert("second", 5)
	c.CatchUp()
	s.SettleFiles()
	s.Server.Kill()
	s.promote(1)
	s.insert("third", 5)
	s.Server.Exec("FLUSH BINARY LOGS")
	s.insert("fourth", 5)
	s.Server.Restart()
	s.insert("fifth", 5)
	before := s.Truth("before the second base backup")
	s.SettleFiles()
	if n := len(s.timelines()); n != 1 {
		t.Errorf("%d timelines: %+v", n, s.timelines())
	}
	s.RestoreEquals(before) // from the base backup of the server that is dead
	s.RunTo([]int{0}, "backup", "shop")
	s.insert("sixth", 5)
	last := s.Truth("the end")
	s.SettleFiles()
	s.Stop()
	s.RunTo([]int{0}, "verify", "shop", "--data")
	s.RestoreEquals(last)
	s.RestoreEquals(before, "--to-gtid", before.GTIDPos)
}

// fill makes the second server a copy of the first that has none of its log, as one is that was filled by a dump.
func fill(c *kit.Cluster) {
	from, to := c.Servers[0], c.Servers[1]
	c.CatchUp()
	to.Exec("STOP REPLICA", "SET GLOBAL super_read_only=OFF", "RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged='"+from.Position()+"'")
	c.Replicate(1, 0)
}
