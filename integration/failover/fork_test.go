package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestFork: a primary is promoted that lacks what the dead one had and what is archived. Its history
// becomes a timeline of its own, that begins where the two part; both can be restored. The server that
// was left behind is not followed when it comes back.
func TestFork(t *testing.T) { kit.Each(t, "", kit.Servers(2), fork) }

func fork(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 2)
	s := archive(t, c)
	s.insert("common", 5)
	c.CatchUp()
	if c.MySQL {
		c.Servers[1].Exec("STOP REPLICA")
	} else {
		c.Servers[1].Exec("STOP SLAVE")
	}
	s.insert("lost", 4)
	s.archived()
	dead := content(s.Server)
	s.Server.Kill()
	s.promote(1)
	s.insert("after", 6)
	s.archived()
	all := s.timelines()
	if len(all) != 2 || all[1].Parent != 1 || all[1].Reason != "failover" {
		t.Fatalf("%+v", all)
	}
	// It comes back, takes writes as before, and is left alone.
	c.Servers[0].Restart()
	s.insert("later", 3)
	watched(t, s.Server)
	s.archived()
	// Also by an archiver that has just begun.
	s.Stop()
	s.Start()
	s.insert("last", 2)
	s.archived()
	// Nor is it taken for the primary while that is away, for longer than is waited before a fork.
	s.Server.Kill()
	kit.Until(t, 3*time.Minute, "it is refused because of what was left behind", func() bool {
		said, err := os.ReadFile(filepath.Join(s.Dir, "run.log"))
		return err == nil && strings.Contains(string(said), "it is the server that was parted from")
	})
	s.Server.Restart()
	s.insert("back", 2)
	s.archived()
	if n := len(s.timelines()); n != 2 {
		t.Errorf("%d timelines: %+v", n, s.timelines())
	}
	alive := content(s.Server)
	s.Stop()
	s.RunTo([]int{0}, "verify", "shop", "--data")
	if got := s.restored(); got != alive {
		t.Errorf("the newest timeline: %s\nthe primary: %s", got, alive)
	}
	if got := s.restored("--timeline", "1"); got != dead {
		t.Errorf("timeline 1: %s\nthe dead primary: %s", got, dead)
	}
}

// TestReset: the primary's binlog is reset. What comes then is new history, though names and numbers
// are those of before; it gets a base backup of its own.
func TestReset(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		for _, rotations := range []int{0, 2} { // the archived file has a name that there is again, or not
			t.Run(fmt.Sprint(rotations), func(t *testing.T) {
				kit.Parallel(t, kit.Servers(2))
				reset(t, b, rotations)
			})
		}
	})
}

func reset(t *testing.T, b servertest.Binaries, rotations int) {
	c := kit.StartCluster(t, b, 1)
	for range rotations {
		c.Server().Exec("FLUSH BINARY LOGS")
	}
	s := archive(t, c)
	s.insert("before", 5)
	s.archived()
	before := content(s.Server)
	first := s.Daemon.Last.LastBackup.ID
	if c.MySQL {
		s.Server.Exec("RESET BINARY LOGS AND GTIDS")
	} else {
		s.Server.Exec("RESET MASTER")
	}
	s.insert("after", 30) // as many as the log was long, and more
	s.Await("a new base backup", func(is kit.Status) bool { return is.LastBackup.ID > first })
	s.insert("last", 2)
	s.archived()
	all := s.timelines()
	if len(all) != 2 || all[1].Reason != "reset" {
		t.Fatalf("%+v", all)
	}
	s.Stop()
	s.RunTo([]int{0}, "verify", "shop", "--data")
	if got, want := s.restored(), content(s.Server); got != want {
		t.Errorf("restored: %s\nthe primary: %s", got, want)
	}
	if got := s.restored("--timeline", "1"); got != before {
		t.Errorf("timeline 1: %s\nbefore the reset: %s", got, before)
	}
}

// TestGap: binlogs are purged that were not archived. That is recorded with both its ends, a base
// backup is taken at once, and no restore goes across.
func TestGap(t *testing.T) { kit.Each(t, "", kit.Servers(2), gap) }

func gap(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 1)
	s := archive(t, c)
	s.insert("before", 5)
	end := s.archived()
	before := content(s.Server)
	first := s.Daemon.Last.LastBackup.ID
	s.Stop()
	s.insert("lost", 5)
	s.Server.Exec("FLUSH BINARY LOGS")
	kit.Until(t, time.Minute, "the server purges what it still sent a moment ago", func() bool {
		logs := s.Server.Query("SHOW BINARY LOGS")
		s.Server.Exec(fmt.Sprintf("PURGE BINARY LOGS TO '%s'", logs[len(logs)-1][0]))
		return len(s.Server.Query("SHOW BINARY LOGS")) == 1
	})
	lost := c.Position()
	s.insert("after", 5)
	s.Start()
	s.Await("a new base backup", func(is kit.Status) bool { return is.LastBackup.ID > first })
	s.insert("last", 2)
	s.archived()
	s.Stop()
	all := s.timelines()
	if len(all) != 2 || all[1].Reason != "gap" {
		t.Fatalf("%+v", all)
	}
	listed := s.Run("list", "shop")
	for _, position := range []string{end, lost} {
		if !strings.Contains(listed, position) {
			t.Errorf("%s is not named:\n%s", position, listed)
		}
	}
	if got, want := s.restored(), content(s.Server); got != want {
		t.Errorf("restored: %s\nthe primary: %s", got, want)
	}
	if got := s.restored("--to-gtid", end); got != before {
		t.Errorf("before the gap: %s\nexpected: %s", got, before)
	}
	s.Refused(fault.Unreachable.ExitCode(), "restore", "shop", "--target-dir", t.TempDir(), "--to-gtid", lost)
}

// TestOutage: the only replica that takes writes is behind while the primary is down, for longer than is
// waited before a fork. It is no primary: nothing happens until the primary is back, and then it goes on.
func TestOutage(t *testing.T) { kit.Each(t, "", kit.Servers(2), outage) }

func outage(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 2)
	s := archive(t, c)
	s.insert("common", 3)
	c.CatchUp()
	if c.MySQL {
		c.Servers[1].Exec("STOP REPLICA SQL_THREAD", "CHANGE REPLICATION SOURCE TO source_delay=3600", "START REPLICA",
			"SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF")
	} else {
		c.Servers[1].Exec("STOP SLAVE", "CHANGE MASTER TO master_delay=3600", "START SLAVE", "SET GLOBAL read_only=OFF")
	}
	s.insert("delayed", 3)
	s.archived()
	tries, died := s.Daemon.Last.Reconnects, time.Now()
	s.Server.Kill()
	s.Await("waiting, and tried for longer than the grace", func(is kit.Status) bool {
		waits := is.State == "STATE_WAITING" || is.State == "STATE_CONNECTING"
		return waits && is.Reconnects >= tries+4 && time.Since(died) > 2*time.Second
	})
	s.Server.Restart()
	s.insert("after", 3)
	s.archived()
	if n := len(s.timelines()); n != 1 {
		t.Errorf("%d timelines", n)
	}
	s.Stop()
}
