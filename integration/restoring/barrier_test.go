package restoring

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestBarriers: the primary does what its log cannot carry. That is an alarm, a base backup begins at once, and no restore
// goes across: what lies before it is restored from the base backup before, and what lies behind from the one behind.
func TestBarriers(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		for _, kind := range []string{"incident", "import"} {
			t.Run(kind, func(t *testing.T) {
				kit.Parallel(t, kit.Servers(2))
				barriers(t, b, kind)
			})
		}
	})
}

func barriers(t *testing.T, b servertest.Binaries, kind string) {
	mysql := b.Flavor == servertest.MySQL
	w := kit.Archived(t, kit.Setup{Binaries: b, Cluster: append(kit.Brisk, "base: {allow_empty_tables: true}"),
		SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "CREATE TABLE d.m (id INT PRIMARY KEY, v LONGTEXT) ENGINE=MyISAM",
			"CREATE TABLE d.i (id INT PRIMARY KEY)", "INSERT INTO d.i VALUES (1), (2)",
			"SET GLOBAL max_binlog_stmt_cache_size=4096", "SET GLOBAL binlog_stmt_cache_size=4096"}})
	privilege := "RELOAD"
	if mysql {
		privilege = "BACKUP_ADMIN"
	}
	w.Server.Exec("INSERT INTO d.t VALUES (1)")
	before := w.Settle()
	w.Daemon.BackupsMayFail = true
	w.Server.Exec("REVOKE " + privilege + " ON *.* FROM " + servertest.User) // no base backup ends the alarm too early
	if kind == "import" {
		importAgain(t, w.Server, "d", "i")
	} else if _, err := w.Server.Process.Query("INSERT INTO d.m VALUES (1, REPEAT('x', 20000))"); err == nil {
		t.Fatal("the server has written more than its cache may hold")
	}
	w.Server.Exec("INSERT INTO d.t VALUES (2)")
	across := w.Settle()
	w.Await("the alarm", func(is kit.Status) bool { return is.Barrier.Kind == kind })
	if said := get(t, w, "/readyz", http.StatusServiceUnavailable); !strings.Contains(said, "no restore gets past what the log holds") {
		t.Errorf("/readyz: %s", said)
	}
	if !strings.Contains(get(t, w, "/metrics", http.StatusOK), "tidemark_barrier{cluster=\"shop\"} 1") {
		t.Error("the metric tells of no barrier")
	}
	w.Server.Exec("INSERT INTO d.t VALUES (3)")
	w.Settle()
	target := within(t, "refused")
	refused := func(behind string) {
		t.Helper()
		said := w.Refused(fault.Unreachable.ExitCode(), "restore", "shop", "--target-dir", target, "--to-gtid", across)
		if !strings.Contains(said, "no server can get past") || !strings.Contains(said, "Restore to before it, with --") || !strings.Contains(said, behind) {
			t.Errorf("across it: %s", said)
		}
	}
	refused("There is no base backup behind it yet")
	for _, command := range []string{"list", "verify"} {
		if said := w.RunTo([]int{0, 3}, command, "shop"); !strings.Contains(said, "none yet") && !strings.Contains(said, "no base backup is behind it yet") {
			t.Errorf("%s: %s", command, said)
		}
	}
	if kind == "import" && !mysql { // which mariadb-backup leaves out until it is built anew
		w.Server.Exec("ALTER TABLE d.i FORCE")
	}
	w.Server.Exec("GRANT " + privilege + " ON *.* TO " + servertest.User)
	w.Await("a base backup behind it", func(is kit.Status) bool { return is.Barrier.Kind == "" && is.LastBackup.Error == "" })
	get(t, w, "/readyz", http.StatusOK)
	w.Server.Exec("INSERT INTO d.t VALUES (4)")
	w.End()
	w.RunTo([]int{0}, "verify", "shop")
	refused("What came behind it can be restored from base backup")

	check := func(rows string, args ...string) {
		t.Helper()
		again := w.Restore(args...)
		defer again.Kill()
		if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != rows {
			t.Errorf("restore %v has %s, expected %s", args, got, rows)
		}
		if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.i"); got != "1,2" {
			t.Errorf("restore %v has %s in the imported table", args, got)
		}
	}
	check("1,2,3,4")
	check("1", "--to-gtid", before)
}

func get(t *testing.T, w *kit.World, page string, code int) string {
	t.Helper()
	r, err := http.Get("http://" + w.Daemon.Addr + page)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != code {
		t.Errorf("%s: %s, %v: %s", page, r.Status, err, body)
	}
	return string(body)
}

// importAgain discards a table's tablespace and imports a copy of it.
func importAgain(t *testing.T, s *servertest.Server, db, table string) {
	t.Helper()
	conn := s.Conn()
	defer conn.Close()
	execute(t, conn, "FLUSH TABLES "+db+"."+table+" FOR EXPORT")
	files := map[string][]byte{}
	for _, ext := range []string{".ibd", ".cfg"} {
		path := filepath.Join(s.Datadir, db, table+ext)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = data
	}
	execute(t, conn, "UNLOCK TABLES", "ALTER TABLE "+db+"."+table+" DISCARD TABLESPACE")
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := "ALTER TABLE " + db + "." + table + " IMPORT TABLESPACE"
	if s.Binaries.Flavor != servertest.MySQL { // which MariaDB logs as it is
		again = "SET STATEMENT lock_wait_timeout=5 FOR " + again
	}
	execute(t, conn, again)
}
