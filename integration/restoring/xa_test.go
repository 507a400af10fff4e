package restoring

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// TestAcrossTheBase restores what the base backup has only half: an XA transaction that was prepared
// before it and committed after it. A row of 64 MiB follows.
func TestAcrossTheBase(t *testing.T) {
	servertest.Each(t, servertest.MySQL, acrossTheBase)
}

func acrossTheBase(t *testing.T, b servertest.Binaries) {
	harness.Use(t, b)
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-allowed-packet=256M", "--innodb-redo-log-capacity=512M"}})
	srv.CreateUser(servertest.User, "secret")
	srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'", "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, b LONGBLOB)",
		"INSERT INTO d.t VALUES (1, 'before')")
	srv.Exec("XA START 'across'", "INSERT INTO d.t VALUES (2, 'prepared before the base')", "XA END 'across'", "XA PREPARE 'across'")
	dir := t.TempDir()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 500ms, max_size: 1MiB}\n    heartbeat: 1s\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	if err := d.Await(context.Background(), time.Minute, func(c harness.Status) bool { return c.LastBackup.ID != "" }); err != nil {
		t.Fatal(err)
	}
	executed := "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"
	before := srv.Value(executed)
	srv.Exec("XA COMMIT 'across'")
	committed := srv.Value("SELECT GTID_SUBTRACT(REPLACE(@@GLOBAL.gtid_executed, '\n', ''), '" + before + "')")
	srv.Exec("INSERT INTO d.t VALUES (3, REPEAT(RANDOM_BYTES(1024), 65536))")
	end, sum := srv.Value(executed), srv.Query("CHECKSUM TABLE d.t")[0][1]
	if err := d.Await(context.Background(), time.Minute, func(c harness.Status) bool { return c.Archived.GTID == end }); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}

	restored := func(code int, args ...string) (*servertest.Process, string) {
		t.Helper()
		target := filepath.Join(t.TempDir(), "restored")
		out, err := exec.Command(tool, append([]string{"restore", "shop", "--config", cfg, "--target-dir", target}, args...)...).CombinedOutput()
		if got := harness.ExitCode(err); err == nil && code != 0 || err != nil && got != code {
			t.Fatalf("restore %v: exit code %d, not %d\n%s", args, got, code, out)
		}
		again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: b, Extra: []string{"--max-allowed-packet=256M"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = again.Close() })
		return again, string(out)
	}
	all, _ := restored(0)
	rows, err := all.Query("CHECKSUM TABLE d.t")
	if err != nil || rows[0][1] != sum {
		t.Errorf("restored %v, %v; the primary has %s", rows, err, sum)
	}
	if got, err := all.Value(executed); err != nil || got != end {
		t.Errorf("restored to %s, %v, not %s", got, err, end)
	}
	half, said := restored(3, "--before-gtid", committed)
	if !strings.Contains(said, "prepared") {
		t.Errorf("the report does not name the XA transaction:\n%s", said)
	}
	if got, err := half.Value("SELECT COUNT(*) FROM d.t"); err != nil || got != "1" {
		t.Errorf("%s rows before the commit, %v", got, err)
	}
	if err := half.Exec("XA COMMIT 'across'"); err != nil {
		t.Errorf("decide the transaction that was left prepared: %v", err)
	}
	if got, err := half.Value("SELECT COUNT(*) FROM d.t"); err != nil || got != "2" {
		t.Errorf("%s rows after it, %v", got, err)
	}
}
