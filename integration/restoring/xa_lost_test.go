package restoring

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestLostXA restores a log that ends XA transactions which it does not prepare, as MariaDB leaves it when it crashes
// between the two halves of preparing one. A rollback of one is passed over. A commit is refused with its name, and can
// be left out; the commit of one that is prepared, before the base backup too, cannot and is applied.
func TestLostXA(t *testing.T) { servertest.Each(t, servertest.MariaDB, lostXA) }

func lostXA(t *testing.T, b servertest.Binaries) {
	a := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB")
	execute := func(conn *client.Conn, statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if _, err := conn.Execute(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	// half prepares a transaction of which the binlog knows nothing.
	half := func(xid, id string) {
		conn := a.srv.Conn()
		defer conn.Close()
		execute(conn, "SET sql_log_bin=0", "XA START "+xid, "INSERT INTO d.t VALUES ("+id+")", "XA END "+xid, "XA PREPARE "+xid)
	}
	across := a.srv.Conn()
	execute(across, "XA START 'across'", "INSERT INTO d.t VALUES (5)", "XA END 'across'", "XA PREPARE 'across'")
	if out, err := exec.Command(a.tool, "backup", "shop", "--config", a.cfg).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	execute(across, "XA COMMIT 'across'")
	across.Close()
	half("'back','',5", "1")
	half("X'27c3a9'", "2")
	a.srv.Kill()
	a.srv.Restart()
	if n := len(a.srv.Query("XA RECOVER")); n != 2 {
		t.Fatalf("%d transactions are prepared after the crash", n)
	}
	a.srv.Exec("INSERT INTO d.t VALUES (10)", "XA ROLLBACK 'back','',5", "INSERT INTO d.t VALUES (11)")
	conn := a.srv.Conn()
	execute(conn, "XA START 'whole'", "INSERT INTO d.t VALUES (12)", "XA END 'whole'", "XA PREPARE 'whole'")
	a.srv.Exec("INSERT INTO d.t VALUES (13)")
	execute(conn, "XA COMMIT 'whole'")
	conn.Close()
	whole := a.at()
	a.srv.Exec("XA COMMIT X'27c3a9'")
	lost := a.at()
	a.srv.Exec("INSERT INTO d.t VALUES (14)")
	end := a.end(t)

	rows := func(target string) (string, string) {
		t.Helper()
		again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(target)
		defer again.Close()
		got, err := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t")
		if err != nil {
			t.Fatal(err)
		}
		at, err := again.Value("SELECT @@gtid_slave_pos")
		if err != nil {
			t.Fatal(err)
		}
		return got, at
	}
	for _, threads := range []string{"0", "4"} {
		target := filepath.Join(a.dir, "restored")
		restore := func(args ...string) (string, int) {
			t.Helper()
			out, err := exec.Command(a.tool, append([]string{"restore", "shop", "--config", a.cfg, "--target-dir", target, "--threads", threads}, args...)...).CombinedOutput()
			if err == nil {
				return string(out), 0
			}
			return string(out), harness.ExitCode(err)
		}
		out, code := restore("--before-gtid", lost)
		if code != fault.Warnings.ExitCode() || !strings.Contains(out, "rolls back the XA transaction X'6261636b',X'',5, which the log does not prepare") {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		if got, at := rows(target); got != "5,10,11,12,13" || at != whole {
			t.Errorf("rows %s at %s, and the commit is behind %s", got, at, whole)
		}
		if threads == "0" {
			if err := os.RemoveAll(target + ".tidemark"); err != nil {
				t.Fatal(err)
			}
			continue // the rest is the same
		}
		if out, code = restore(); code != fault.Integrity.ExitCode() || !strings.Contains(out, "apply transaction "+lost) || !strings.Contains(out, "--exclude-gtid "+lost) {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		// What has been applied so far is gone on from, or begun anew: other transactions are left out.
		if out, code = restore("--exclude-gtid", lost, "--force"); code != fault.Warnings.ExitCode() {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		if got, at := rows(target); got != "5,10,11,12,13,14" || at != end {
			t.Errorf("rows %s at %s, and the primary is at %s", got, at, end)
		}
		if out, code = restore("--before-gtid", lost, "--exclude-gtid", whole, "--force"); code != fault.Usage.ExitCode() || !strings.Contains(out, "which is prepared before it") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		for _, dir := range []string{target, target + ".tidemark"} {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFollowXA lets a standby follow XA transactions that are prepared in one part of the log and ended in another: while
// it runs, and after it was stopped and after it was killed in between.
func TestFollowXA(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
		a := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB")
		target := filepath.Join(a.dir, "standby")
		f := follow(t, a.tool, a.cfg, target)
		for i, between := range []func(){
			func() {},
			func() { f.stop(); f = follow(t, a.tool, a.cfg, target) },
			func() { f.kill(); f = follow(t, a.tool, a.cfg, target) },
		} {
			ends := []string{"COMMIT", "ROLLBACK"}
			conns := make([]*client.Conn, len(ends))
			execute := func(n int, sql string) {
				if _, err := conns[n].Execute(sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			for n, end := range ends {
				conns[n] = a.srv.Conn()
				defer conns[n].Close()
				xid := fmt.Sprintf("'%s-%d'", end, i)
				for _, sql := range []string{"XA START " + xid, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", 10*i+n), "XA END " + xid, "XA PREPARE " + xid} {
					execute(n, sql)
				}
			}
			a.settled(t)
			f.caughtUp()
			between()
			a.srv.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", 10*i+5))
			for n, end := range ends {
				execute(n, fmt.Sprintf("XA %s '%[1]s-%d'", end, i))
			}
			a.settled(t)
			f.caughtUp()
		}
		end := a.end(t)
		f.caughtUp()
		if report := f.stop(); report.GTID != end || len(report.Warnings) > 0 {
			t.Errorf("the primary is at %s, the standby reports %+v", end, report)
		}
		again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
		if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != "0,5,10,15,20,25" {
			t.Errorf("rows %s", got)
		}
		if rows := again.Query("XA RECOVER"); len(rows) > 0 {
			t.Errorf("prepared still: %v", rows)
		}
	})
}
