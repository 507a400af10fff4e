// Package failover tests what an archive holds when primaries die, are replaced, reset, or wait for us.
package failover

import (
	"fmt"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// site is a cluster and its archive.
type site struct {
	*kit.World
	c *kit.Cluster
}

// archive archives a cluster with the table shop.t.
func archive(t *testing.T, c *kit.Cluster) *site {
	t.Helper()
	c.Server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99))")
	return &site{kit.Archived(t, c.Setup(append(kit.Brisk, "fork_grace: 1s")...)), c}
}

// promote makes another server the primary.
func (s *site) promote(i int) {
	s.c.Promote(i)
	s.Server = s.c.Server()
}

// archived waits until all that the primary has is archived from it, and returns its GTID position.
func (s *site) archived() string {
	s.T.Helper()
	end := s.c.Position()
	s.Await("archived to "+end, func(is kit.Status) bool {
		return is.Host == s.Server.Addr && is.Archived == is.Primary && is.Archived.GTID == end
	})
	return end
}

// insert writes rows on the primary, each a transaction.
func (s *site) insert(what string, n int) {
	s.T.Helper()
	for i := range n {
		s.Server.Exec(fmt.Sprintf("INSERT INTO shop.t (what) VALUES ('%s %d')", what, i+1))
	}
}

// content is what a server holds of shop.t.
func content(s *servertest.Server) string {
	return s.Value("SELECT GROUP_CONCAT(CONCAT(id, '=', what) ORDER BY id) FROM shop.t")
}

// restored restores, and returns what shop.t holds then.
func (s *site) restored(args ...string) string {
	s.T.Helper()
	again := s.Restore(args...)
	defer again.Kill()
	return content(again)
}

// timeline is one that the archive lists.
type timeline struct {
	Number, Parent uint32
	Reason         string
}

func (s *site) timelines() []timeline {
	s.T.Helper()
	var m struct {
		Clusters []struct{ Timelines []timeline }
	}
	s.JSON(&m, "list", "shop")
	return m.Clusters[0].Timelines
}

// watched waits until the archiver has asked a server twice more where its log ends: as often it has looked at
// what the server is, and could have left it.
func watched(t *testing.T, s *servertest.Server) {
	t.Helper()
	asked := func() (n int) {
		for _, row := range s.Query("SHOW GLOBAL STATUS LIKE 'Com_show_%'") {
			switch row[0] {
			case "Com_show_master_status", "Com_show_binlog_status", "Com_show_binary_log_status":
				var one int
				if _, err := fmt.Sscan(row[1], &one); err != nil {
					t.Fatal(err)
				}
				n += one
			}
		}
		return n
	}
	until := asked() + 2
	kit.Until(t, time.Minute, "the archiver watches the server", func() bool { return asked() >= until })
}
