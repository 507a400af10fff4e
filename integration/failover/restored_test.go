package failover

import (
	"os"
	"path/filepath"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestRestoredInPlace: a primary is restored to before an accident, and put in place of the old one with another server_id, where
// its binlog, which lies outside of the data directory, still has the accident. What it writes then begins a timeline: no
// restore applies the accident again. Where the old binlog was moved away, it is a timeline that goes on from before the accident.
func TestRestoredInPlace(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		for _, reason := range []string{"restore", "failover"} {
			t.Run(reason, func(t *testing.T) {
				kit.Parallel(t, kit.Servers(2))
				restoredInPlace(t, b, reason)
			})
		}
	})
}

func restoredInPlace(t *testing.T, b servertest.Binaries, reason string) {
	logs := t.TempDir()
	srv := servertest.Start(t, servertest.Options{ServerID: 11, Binaries: b, Extra: []string{"--log-bin=" + filepath.Join(logs, "binlog")}})
	srv.CreateUser(servertest.User, kit.Password)
	srv.Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99))")
	if b.Flavor == servertest.MySQL {
		srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	s := &site{World: kit.Archived(t, kit.Setup{Server: srv, Cluster: append(kit.Brisk, "fork_grace: 1s")})}
	s.insert("before", 5)
	before := content(srv)
	srv.Exec("DELETE FROM shop.t")
	s.insert("after the accident", 3)
	s.Settle()
	first := s.Daemon.Last.LastBackup.ID

	target := filepath.Join(filepath.Dir(srv.Datadir), "restored")
	s.Run("restore", "shop", "--target-dir", target, "--before-statement", "DELETE FROM shop.t")
	srv.Stop()
	if err := os.Rename(srv.Datadir, srv.Datadir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(target, srv.Datadir); err != nil {
		t.Fatal(err)
	}
	if reason == "failover" {
		old, err := filepath.Glob(filepath.Join(logs, "binlog.*"))
		if err != nil || len(old) == 0 {
			t.Fatalf("%v, %v", old, err)
		}
		for _, file := range old {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	srv.ServerID = 12
	srv.Restart()
	if got := content(srv); got != before {
		t.Fatalf("restored: %s\nbefore the accident: %s", got, before)
	}
	s.insert("in place", 4)
	if reason == "restore" {
		s.Await("a base backup on another timeline", func(is kit.Status) bool { return is.LastBackup.ID > first })
	}
	s.insert("last", 2)
	srv.Restart()
	s.insert("started again", 2)
	s.Settle()
	want := content(srv)
	s.Stop()
	if all := s.timelines(); len(all) != 2 || all[1].Reason != reason {
		t.Errorf("%+v", all)
	}
	s.RunTo([]int{0}, "verify", "shop", "--data")
	if got := s.restored(); got != want {
		t.Errorf("restored: %s\nthe primary: %s", got, want)
	}
	if got := s.restored("--timeline", "1", "--before-statement", "DELETE FROM shop.t"); got != before {
		t.Errorf("timeline 1: %s\nbefore the accident: %s", got, before)
	}
}
