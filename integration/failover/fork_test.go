package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// archiving is a tidemark beside a cluster.
type archiving struct {
	t    *testing.T
	c    *cluster
	d    *harness.Daemon
	dir  string
	tool string
	cfg  string
}

// archive begins to archive a cluster and waits for the first base backup.
func archive(t *testing.T, b servertest.Binaries, c *cluster, more string) *archiving {
	t.Helper()
	a := &archiving{t: t, c: c, dir: t.TempDir()}
	var err error
	if a.tool, err = harness.Build(a.dir); err != nil {
		t.Fatal(err)
	}
	if a.cfg, err = (harness.Config{Dir: a.dir, Primary: c.hosts(), User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 300ms}\n    heartbeat: 1s\n    fork_grace: 2s\n" + more}).Write(); err != nil {
		t.Fatal(err)
	}
	a.start()
	a.await("base backup", func(s harness.Status) bool { return s.LastBackup.ID != "" })
	return a
}

func (a *archiving) start() {
	a.t.Helper()
	var err error
	if a.d, err = harness.Start(a.tool, a.cfg, filepath.Join(a.dir, "run.log")); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archiving) stop() {
	a.t.Helper()
	if err := a.d.Stop(); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archiving) await(what string, ok func(harness.Status) bool) {
	a.t.Helper()
	if err := a.d.Await(context.Background(), 90*time.Second, ok); err != nil {
		a.t.Fatalf("%s: %v", what, err)
	}
}

// archived waits until all that the primary has is archived.
func (a *archiving) archived() {
	a.t.Helper()
	end := a.c.position()
	a.await("archived to "+end, func(s harness.Status) bool {
		return s.Host == a.c.server().Addr && s.Archived == s.Primary && s.Archived.GTID == end
	})
}

// run runs a command of tidemark and returns its output, which may be an error.
func (a *archiving) run(args ...string) (string, error) {
	out, err := exec.Command(a.tool, append(args, "--config", a.cfg)...).CombinedOutput()
	return string(out), err
}

// timelines are those that the archive lists.
func (a *archiving) timelines() []timeline {
	a.t.Helper()
	out, err := exec.Command(a.tool, "list", "shop", "--json", "--config", a.cfg).Output()
	if err != nil && harness.ExitCode(err) != 3 {
		a.t.Fatalf("list: %v\n%s", err, out)
	}
	var m struct {
		Clusters []struct{ Timelines []timeline }
	}
	if err := json.Unmarshal(out, &m); err != nil {
		a.t.Fatalf("%v\n%s", err, out)
	}
	return m.Clusters[0].Timelines
}

type timeline struct {
	Number       uint32
	Parent       uint32
	Reason       string
	Transactions uint64
	Position     string
	Abandoned    []string
}

// restored restores, starts a server on the result, and returns what it holds of shop.t.
func (a *archiving) restored(args ...string) string {
	a.t.Helper()
	target := filepath.Join(a.t.TempDir(), "restored")
	if out, err := a.run(append([]string{"restore", "shop", "--target-dir", target}, args...)...); err != nil && harness.ExitCode(err) != 3 {
		a.t.Fatalf("restore %v: %v\n%s", args, err, out)
	}
	s := servertest.Start(a.t, servertest.Options{ServerID: 99, Datadir: target, Binaries: a.c.server().Binaries})
	defer s.Stop()
	return content(s)
}

func content(s *servertest.Server) string {
	return s.Value("SELECT GROUP_CONCAT(CONCAT(id, '=', what) ORDER BY id) FROM shop.t")
}

// insert writes rows on the primary, each a transaction.
func (c *cluster) insert(what string, n int) {
	for i := range n {
		c.server().Exec(fmt.Sprintf("INSERT INTO shop.t (what) VALUES ('%s %d')", what, i+1))
	}
}

// TestFork: a primary is promoted that lacks what the dead one had and what is archived. Its history
// becomes a timeline of its own, that begins where the two part; both can be restored. The server that
// was left behind is not followed when it comes back.
func TestFork(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		c := start(t, b, 2, false)
		c.server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99))")
		a := archive(t, b, c, "")
		c.insert("common", 5)
		c.catchUp()
		if c.mysql {
			c.servers[1].Exec("STOP REPLICA")
		} else {
			c.servers[1].Exec("STOP SLAVE")
		}
		c.insert("lost", 4)
		a.archived()
		dead := content(c.server())
		c.server().Kill()
		c.promote(1)
		c.insert("after", 6)
		a.archived()
		all := a.timelines()
		if len(all) != 2 || all[1].Parent != 1 || all[1].Reason != "failover" {
			t.Fatalf("%+v", all)
		}
		// It comes back, takes writes as before, and is left alone.
		c.servers[0].Restart()
		c.insert("later", 3)
		time.Sleep(3 * time.Second)
		a.archived()
		// Also by an archiver that has just begun.
		a.stop()
		a.start()
		c.insert("last", 2)
		a.archived()
		// Nor is it taken for the primary while that is away, for longer than is waited before a fork.
		c.server().Kill()
		within(t, 90*time.Second, "it is refused because of what was left behind", func() bool {
			said, err := os.ReadFile(filepath.Join(a.dir, "run.log"))
			return err == nil && strings.Contains(string(said), "it is the server that was parted from")
		})
		c.server().Restart()
		c.insert("back", 2)
		a.archived()
		if n := len(a.timelines()); n != 2 {
			t.Errorf("%d timelines: %+v", n, a.timelines())
		}
		alive := content(c.server())
		a.stop()
		if out, err := a.run("verify", "shop", "--data"); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
		if got := a.restored(); got != alive {
			t.Errorf("the newest timeline: %s\nthe primary: %s", got, alive)
		}
		if got := a.restored("--timeline", "1"); got != dead {
			t.Errorf("timeline 1: %s\nthe dead primary: %s", got, dead)
		}
	})
}

// TestReset: the primary's binlog is reset. What comes then is new history, though names and numbers
// are those of before; it gets a base backup of its own.
func TestReset(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		for _, rotations := range []int{0, 2} { // the archived file has a name that there is again, or not
			t.Run(fmt.Sprint(rotations), func(t *testing.T) { reset(t, b, rotations) })
		}
	})
}

func reset(t *testing.T, b servertest.Binaries, rotations int) {
	c := start(t, b, 1, false)
	for range rotations {
		c.server().Exec("FLUSH BINARY LOGS")
	}
	c.server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99))")
	a := archive(t, b, c, "")
	c.insert("before", 5)
	a.archived()
	before := content(c.server())
	first := a.d.Last.LastBackup.ID
	if c.mysql {
		c.server().Exec("RESET BINARY LOGS AND GTIDS")
	} else {
		c.server().Exec("RESET MASTER")
	}
	c.insert("after", 30) // as many as the log was long, and more
	a.await("a new base backup", func(s harness.Status) bool { return s.LastBackup.ID > first })
	c.insert("last", 2)
	a.archived()
	all := a.timelines()
	if len(all) != 2 || all[1].Reason != "reset" {
		t.Fatalf("%+v", all)
	}
	a.stop()
	if out, err := a.run("verify", "shop", "--data"); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if got, want := a.restored(), content(c.server()); got != want {
		t.Errorf("restored: %s\nthe primary: %s", got, want)
	}
	if got := a.restored("--timeline", "1"); got != before {
		t.Errorf("timeline 1: %s\nbefore the reset: %s", got, before)
	}
}

// TestGap: binlogs are purged that were not archived. That is recorded with both its ends, a base
// backup is taken at once, and no restore goes across.
func TestGap(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		c := start(t, b, 1, false)
		c.server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99))")
		a := archive(t, b, c, "")
		c.insert("before", 5)
		a.archived()
		end := c.position()
		before := content(c.server())
		first := a.d.Last.LastBackup.ID
		a.stop()
		c.insert("lost", 5)
		c.server().Exec("FLUSH BINARY LOGS")
		within(t, 30*time.Second, "the server purges what it still sent a moment ago", func() bool {
			logs := c.server().Query("SHOW BINARY LOGS")
			c.server().Exec(fmt.Sprintf("PURGE BINARY LOGS TO '%s'", logs[len(logs)-1][0]))
			return len(c.server().Query("SHOW BINARY LOGS")) == 1
		})
		lost := c.position()
		c.insert("after", 5)
		a.start()
		a.await("a new base backup", func(s harness.Status) bool { return s.LastBackup.ID > first })
		c.insert("last", 2)
		a.archived()
		a.stop()
		all := a.timelines()
		if len(all) != 2 || all[1].Reason != "gap" {
			t.Fatalf("%+v", all)
		}
		out, _ := a.run("list", "shop")
		for _, position := range []string{end, lost} {
			if !strings.Contains(out, position) {
				t.Errorf("%s is not named:\n%s", position, out)
			}
		}
		if got, want := a.restored(), content(c.server()); got != want {
			t.Errorf("restored: %s\nthe primary: %s", got, want)
		}
		if got := a.restored("--to-gtid", end); got != before {
			t.Errorf("before the gap: %s\nexpected: %s", got, before)
		}
		out, err := a.run("restore", "shop", "--target-dir", filepath.Join(t.TempDir(), "x"), "--to-gtid", lost)
		if harness.ExitCode(err) != 13 {
			t.Errorf("into the gap: %v\n%s", err, out)
		}
	})
}

// TestOutage: the only replica that takes writes is behind while the primary is down, for longer than is
// waited before a fork. It is no primary: nothing happens until the primary is back, and then it goes on.
func TestOutage(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		c := start(t, b, 2, false)
		c.server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99))")
		a := archive(t, b, c, "")
		c.insert("common", 3)
		c.catchUp()
		if c.mysql {
			c.servers[1].Exec("STOP REPLICA SQL_THREAD", "CHANGE REPLICATION SOURCE TO source_delay=3600", "START REPLICA", "SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF")
		} else {
			c.servers[1].Exec("STOP SLAVE", "CHANGE MASTER TO master_delay=3600", "START SLAVE", "SET GLOBAL read_only=OFF")
		}
		c.insert("delayed", 3)
		a.archived()
		c.server().Kill()
		time.Sleep(6 * time.Second)
		a.await("waiting", func(s harness.Status) bool { return s.State == "STATE_WAITING" || s.State == "STATE_CONNECTING" })
		c.server().Restart()
		c.insert("after", 3)
		a.archived()
		if n := len(a.timelines()); n != 1 {
			t.Errorf("%d timelines", n)
		}
		a.stop()
	})
}
