package restoring

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestLostXA restores a log that ends XA transactions which it does not prepare, as MariaDB leaves it when it crashes
// between the two halves of preparing one. A rollback of one is passed over. A commit is refused with its name, and can
// be left out; the commit of one that is prepared, before the base backup too, cannot and is applied.
func TestLostXA(t *testing.T) { kit.Each(t, servertest.MariaDB, kit.Servers(2), lostXA) }

func lostXA(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB")
	// half prepares a transaction of which the binlog knows nothing.
	half := func(xid, id string) {
		w.Server.Exec("SET sql_log_bin=0", "XA START "+xid, "INSERT INTO d.t VALUES ("+id+")", "XA END "+xid, "XA PREPARE "+xid)
	}
	across := w.Server.Conn()
	execute(t, across, "XA START 'across'", "INSERT INTO d.t VALUES (5)", "XA END 'across'", "XA PREPARE 'across'")
	done(w, "backup", "shop")
	execute(t, across, "XA COMMIT 'across'")
	across.Close()
	half("'back','',5", "1")
	half("X'27c3a9'", "2")
	w.Server.Kill()
	w.Server.Restart()
	if n := len(w.Server.Query("XA RECOVER")); n != 2 {
		t.Fatalf("%d transactions are prepared after the crash", n)
	}
	w.Server.Exec("INSERT INTO d.t VALUES (10)", "XA ROLLBACK 'back','',5", "INSERT INTO d.t VALUES (11)")
	conn := w.Server.Conn()
	execute(t, conn, "XA START 'whole'", "INSERT INTO d.t VALUES (12)", "XA END 'whole'", "XA PREPARE 'whole'")
	w.Server.Exec("INSERT INTO d.t VALUES (13)")
	execute(t, conn, "XA COMMIT 'whole'")
	conn.Close()
	whole := w.Server.Position()
	w.Server.Exec("XA COMMIT X'27c3a9'")
	lost := w.Server.Position()
	w.Server.Exec("INSERT INTO d.t VALUES (14)")
	end := w.End()

	target := within(t, "restored")
	check := func(rows, at string) {
		t.Helper()
		open(w, target, func(again *servertest.Server) {
			if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != rows {
				t.Errorf("rows %s, expected %s", got, rows)
			}
			if got, err := again.AppliedPosition(); err != nil || got != at {
				t.Errorf("at %s, %v, and the log restored ends at %s", got, err, at)
			}
		})
	}
	for _, threads := range []string{"0", "4"} {
		restore := func(code fault.Kind, says string, args ...string) {
			t.Helper()
			said := w.Refused(code.ExitCode(), append([]string{"restore", "shop", "--target-dir", target, "--threads", threads}, args...)...)
			for _, s := range strings.Split(says, "; ") {
				if !strings.Contains(said, s) {
					t.Fatalf("restore %v does not say %q:\n%s", args, s, said)
				}
			}
		}
		restore(fault.Warnings, "rolls back the XA transaction X'6261636b',X'',5, which the log does not prepare", "--before-gtid", lost)
		check("5,10,11,12,13", whole) // the commit is behind it
		if threads == "4" {           // the same without
			restore(fault.Integrity, "apply transaction "+lost+"; --exclude-gtid "+lost)
			// What has been applied so far is gone on from, or begun anew: other transactions are left out.
			restore(fault.Warnings, "", "--exclude-gtid", lost, "--force")
			check("5,10,11,12,13,14", end)
			restore(fault.Usage, "which is prepared before it", "--before-gtid", lost, "--exclude-gtid", whole, "--force")
		}
		if err := os.RemoveAll(target + ".tidemark"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFollowXA lets a standby follow XA transactions that are prepared in one part of the log and ended in another: while
// it runs, and after it was stopped and after it was killed in between.
func TestFollowXA(t *testing.T) { kit.Each(t, servertest.MariaDB, kit.Servers(2), followXA) }

func followXA(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB")
	target := within(t, "standby")
	f := follow(w, target)
	for i, between := range []func(){
		func() {},
		func() { f.stop(); f = follow(w, target) },
		func() { f.kill(); f = follow(w, target) },
	} {
		ends := []string{"COMMIT", "ROLLBACK"}
		conns := make([]*client.Conn, len(ends))
		for n, end := range ends {
			conns[n] = w.Server.Conn()
			defer conns[n].Close()
			xid := fmt.Sprintf("'%s-%d'", end, i)
			execute(t, conns[n], "XA START "+xid, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", 10*i+n), "XA END "+xid, "XA PREPARE "+xid)
		}
		f.applied(w.Settle())
		between()
		w.Server.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", 10*i+5))
		for n, end := range ends {
			execute(t, conns[n], fmt.Sprintf("XA %s '%[1]s-%d'", end, i))
		}
		f.applied(w.Settle())
	}
	end := w.End()
	f.applied(end)
	if report := f.stop(); report.GTID != end || len(report.Warnings) > 0 {
		t.Errorf("the primary is at %s, the standby reports %+v", end, report)
	}
	open(w, target, func(again *servertest.Server) {
		if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != "0,5,10,15,20,25" {
			t.Errorf("rows %s", got)
		}
		if rows := again.Query("XA RECOVER"); len(rows) > 0 {
			t.Errorf("prepared still: %v", rows)
		}
	})
}
