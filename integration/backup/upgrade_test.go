package backup

import (
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestUpgrade: a primary is upgraded in place while it is archived. A base backup is taken at once; a restore to before the upgrade takes the
// old series, one to after it the new one, and a plan across it says so. (mariadb-upgrade, which brings tables of the system up to date, is not in the
// log of either.)
func TestUpgrade(t *testing.T) {
	if !servertest.Matrix() {
		t.Skip("it takes two versions, which the tier of all versions has")
	}
	find := func(name string) (b servertest.Binaries) {
		for _, v := range servertest.Versions() {
			if v.Name == name {
				var err error
				if b, err = v.Find(); err != nil {
					t.Skip(err)
				}
			}
		}
		return b
	}
	from, to := find("mariadb-10.11"), find("mariadb-11.8")
	kit.Parallel(t, kit.Servers(2))
	w := kit.Archived(t, kit.Setup{Binaries: from, SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)"}})
	w.Server.Exec("INSERT INTO d.t VALUES (1)")
	before := w.End()
	first := w.Daemon.Last.LastBackup.ID
	old := w.Server
	old.Stop()
	w.Server = servertest.Start(t, servertest.Options{ServerID: kit.PrimaryID, Binaries: to, Datadir: old.Datadir, Port: old.Port})
	w.Tool = kit.ToolFor(t, to)
	w.Server.Exec("INSERT INTO d.t VALUES (2)")
	w.Start()
	across := w.Settle()
	w.Await("a base backup of the new series", func(is kit.Status) bool { return is.LastBackup.ID > first })
	w.Server.Exec("INSERT INTO d.t VALUES (3)")
	w.End()

	check := func(b servertest.Binaries, rows string, args ...string) {
		t.Helper()
		w.Tool = kit.ToolFor(t, b)
		target := t.TempDir() + "/restored"
		w.RunTo([]int{0}, append([]string{"restore", "shop", "--target-dir", target}, args...)...)
		again := servertest.Start(t, servertest.Options{Binaries: b, Datadir: target})
		defer again.Kill()
		if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != rows {
			t.Errorf("restore %v has %s, expected %s", args, got, rows)
		}
	}
	check(to, "1,2,3")
	check(from, "1", "--to-gtid", before)
	said := w.RunTo([]int{0, 3}, "restore", "shop", "--to-gtid", across, "--dry-run")
	if !strings.Contains(said, "was written by mariadb 11.8") && !strings.Contains(said, "11.8.9") {
		t.Errorf("across it: %s", said)
	}
}
