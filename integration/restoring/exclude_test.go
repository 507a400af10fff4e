package restoring

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// TestExclude: what is left out has done nothing on the restored server, all else has, and the position
// is that of the whole log.
func TestExclude(t *testing.T) { servertest.Each(t, "", exclude) }

func exclude(t *testing.T, b servertest.Binaries) {
	a := archive(t, b, "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20))", "CREATE TABLE shop.kept (id INT PRIMARY KEY)")
	srv, mysql := a.srv, b.Flavor == servertest.MySQL
	// last runs statements and returns the GTID of the last transaction.
	last := func(sql ...string) string {
		before := a.at()
		srv.Exec(sql...)
		if mysql {
			return srv.Value("SELECT GTID_SUBTRACT(REPLACE(@@GLOBAL.gtid_executed, '\n', ''), '" + before + "')")
		}
		return a.at()
	}
	srv.Exec("INSERT INTO shop.t (what) VALUES ('first')")
	gone := []string{
		last("BEGIN", "INSERT INTO shop.t (what) VALUES ('wrong 1'), ('wrong 2')", "DELETE FROM shop.t WHERE what = 'first'", "COMMIT"),
		last("INSERT INTO shop.t (what) VALUES ('wrong 3')"),
		last("DROP TABLE shop.kept"),
	}
	srv.Exec("INSERT INTO shop.t (what) VALUES ('last')")
	xa := last("XA START 'x'", "INSERT INTO shop.t (what) VALUES ('xa')", "XA END 'x'", "XA PREPARE 'x'")
	// Another session can commit it when the server has noticed that the first one has ended.
	other := srv.Conn()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := other.Execute("XA COMMIT 'x'")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	end := a.end(t)
	target := filepath.Join(a.dir, "restored into 'this'") // as a path may be
	args := []string{"restore", "shop", "--config", a.cfg, "--target-dir", target}
	for _, g := range gone {
		args = append(args, "--exclude-gtid", g)
	}
	if out, err := exec.Command(a.tool, args...).CombinedOutput(); harness.ExitCode(err) != 2 {
		t.Errorf("without --force: %v\n%s", err, out)
	}
	if out, err := exec.Command(a.tool, append(args, "--force", "--exclude-gtid", xa)...).CombinedOutput(); harness.ExitCode(err) != 2 || !strings.Contains(string(out), "XA") {
		t.Errorf("an XA transaction: %v\n%s", err, out)
	}
	out, err := exec.Command(a.tool, append(args, "--force")...).CombinedOutput()
	if harness.ExitCode(err) != 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, g := range gone {
		if !strings.Contains(string(out), "transaction "+g) {
			t.Errorf("%s is not warned of:\n%s", g, out)
		}
	}
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
	if got := again.Value("SELECT GROUP_CONCAT(what ORDER BY id) FROM shop.t"); got != "first,last,xa" {
		t.Errorf("shop.t holds %s", got)
	}
	if got := again.Value("SELECT COUNT(*) FROM shop.kept"); got != "0" {
		t.Errorf("shop.kept holds %s rows", got)
	}
	ask := a.position
	if !mysql {
		ask = "SELECT @@gtid_slave_pos"
	}
	if got := again.Value(ask); got != end {
		t.Errorf("at %s, expected %s", got, end)
	}
}
