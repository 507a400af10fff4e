package restoring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestGoneXA restores a log that prepares an XA transaction and never ends it, and then writes the same row, as MariaDB leaves it
// that crashes between the two halves of ending one. The restore rolls it back and says so, and no other: not one that the log
// ends later, and none where the primary has not crashed.
func TestGoneXA(t *testing.T) { kit.Each(t, servertest.MariaDB, kit.Servers(2), goneXA) }

func goneXA(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, of INT) ENGINE=InnoDB")
	done(w, "backup", "shop")
	prepare := func(xid, id string) {
		conn := w.Server.Conn()
		defer conn.Close()
		execute(t, conn, "XA START "+xid, "INSERT INTO d.t VALUES ("+id+", 0)", "XA END "+xid, "XA PREPARE "+xid)
	}
	// lose ends it behind the log's back.
	lose := func(xid string) {
		conn := w.Server.Conn()
		defer conn.Close()
		execute(t, conn, "SET sql_log_bin=0")
		kit.Until(t, time.Minute, "the session that has prepared it has ended", func() bool {
			_, err := conn.Execute("XA ROLLBACK " + xid)
			return err == nil
		})
	}
	prepare("'gone'", "1")
	prepare("'kept'", "2")
	lose("'gone'")
	w.Settle()
	w.Server.Kill()
	w.Server.Restart()
	w.Server.Exec("INSERT INTO d.t VALUES (1, 1)", "XA COMMIT 'kept'", "INSERT INTO d.t VALUES (3, 0)")
	crashed := w.Server.Position()
	prepare("'never'", "4")
	lose("'never'")
	w.Server.Exec("INSERT INTO d.t VALUES (4, 1)")
	w.End()

	restore := func(target string, args ...string) []string {
		return append([]string{"restore", "shop", "--target-dir", target}, args...)
	}
	target := within(t, "restored")
	said := w.Refused(fault.Warnings.ExitCode(), restore(target, "--to-gtid", crashed)...)
	if !strings.Contains(said, "the XA transaction X'676f6e65',X'',1, which the log prepares and does not end") || strings.Contains(said, "X'6b657074'") {
		t.Errorf("it does not say what was rolled back:\n%s", said)
	}
	open(w, target, func(again *servertest.Server) {
		if got := again.Value("SELECT GROUP_CONCAT(id, ':', of ORDER BY id) FROM d.t"); got != "1:1,2:0,3:0" {
			t.Errorf("rows %s", got)
		}
	})

	// There was no crash: what is prepared might still be there on the primary, whatever it is that holds a lock.
	options := filepath.Join(t.TempDir(), "extra.cnf")
	if err := os.WriteFile(options, []byte("[mysqld]\ninnodb_lock_wait_timeout=14\nslave_transaction_retries=0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	said = w.Refused(fault.Other.ExitCode(), restore(within(t, "refused"), "--defaults-extra-file", options)...)
	if !strings.Contains(said, "1205") {
		t.Errorf("it does not say that a lock is waited for:\n%s", said)
	}
}
