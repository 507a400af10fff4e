package failover

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestDeletedDomainReplica: a domain is deleted from the binlog of the primary, and another server takes over that has it
// in its own. What was archived of it is not archived again.
func TestDeletedDomainReplica(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(3), deletedDomainReplica)
}

func deletedDomainReplica(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 2)
	s := archive(t, c)
	s.insert("first", 3)
	s.Server.Exec("SET SESSION gtid_domain_id=5", "INSERT INTO shop.t (what) VALUES ('of domain 5')")
	s.Server.Exec("FLUSH BINARY LOGS")
	c.CatchUp()
	s.SettleFiles()
	file, _ := s.Server.LogEnd()
	kit.Until(t, time.Minute, "nobody reads the old file any more", func() bool {
		return s.Server.Process.Exec("PURGE BINARY LOGS TO '"+file+"'", "FLUSH BINARY LOGS DELETE_DOMAIN_ID=(5)") == nil
	})
	s.insert("second", 3)
	c.CatchUp()
	s.SettleFiles()
	s.RunTo([]int{0}, "backup", "shop")
	s.insert("after the second base backup", 1)
	c.CatchUp()
	s.SettleFiles()
	s.Server.Kill()
	s.promote(1)
	s.insert("third", 3)
	before := s.Server.Position()
	s.Server.Exec("FLUSH BINARY LOGS") // the new file lists the domain
	s.insert("fourth", 3)
	s.SettleFiles()
	alive := content(s.Server)
	s.Stop()
	s.RunTo([]int{0}, "verify", "shop", "--data")
	if n := len(s.timelines()); n != 1 {
		t.Errorf("%d timelines: %+v", n, s.timelines())
	}
	again := s.Restore()
	if got, at := content(again), again.Value("SELECT @@gtid_slave_pos"); got != alive || at != s.Server.Position() {
		t.Errorf("restored: %s, at %s\nthe primary: %s, at %s", got, at, alive, s.Server.Position())
	}
	first, _, _ := strings.Cut(before, ",")
	s.Run("restore", "shop", "--target-dir", filepath.Join(t.TempDir(), "third"), "--to-gtid", first)
}
