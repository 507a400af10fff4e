package outside

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// directories creates tables whose files lie in a directory of their own.
func directories(flavor, far string) []string {
	statements := []string{
		fmt.Sprintf("CREATE TABLE d.f (id INT PRIMARY KEY, v TEXT) DATA DIRECTORY='%s'", far),
		fmt.Sprintf("CREATE TABLE d.p (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10) DATA DIRECTORY='%s', "+
			"PARTITION p1 VALUES LESS THAN (20))", far),
		fmt.Sprintf("ALTER TABLE d.p ADD PARTITION (PARTITION p2 VALUES LESS THAN (30) DATA DIRECTORY='%s')", far),
		"INSERT INTO d.f VALUES (1, REPEAT('x', 50000))", "INSERT INTO d.p VALUES (1), (11), (21)",
	}
	if flavor == servertest.MySQL {
		return statements
	}
	return append(statements,
		fmt.Sprintf("CREATE TABLE d.m (id INT PRIMARY KEY, v TEXT) ENGINE=MyISAM DATA DIRECTORY='%s' INDEX DIRECTORY='%[1]s'", far),
		"INSERT INTO d.m VALUES (1, 'x')")
}

func tables(flavor string) []string {
	checks := []string{"CHECKSUM TABLE d.f, d.p", "CHECK TABLE d.f, d.p", "SELECT * FROM d.p"}
	if flavor == servertest.MySQL {
		return checks
	}
	return append(checks, "CHECKSUM TABLE d.m", "CHECK TABLE d.m", "SELECT * FROM d.m")
}

// TestDataDirectoryInBase restores tables that lie outside of the primary's data directory, beside a primary that is stopped,
// or runs, or was never there. They are in the result, and altered there.
func TestDataDirectoryInBase(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := newWorld(t, b)
		w.Server.Exec(directories(b.Flavor, w.far)...)
		w.Server.Exec(fmt.Sprintf("CREATE TABLE d.`odd-ä #x` (id INT PRIMARY KEY, v TEXT, FULLTEXT (v)) DATA DIRECTORY='%s'", w.far),
			"INSERT INTO d.`odd-ä #x` VALUES (1, 'hello')",
			fmt.Sprintf("CREATE TABLE d.v (id INT PRIMARY KEY) WITH SYSTEM VERSIONING DATA DIRECTORY='%s'", w.far),
			"INSERT INTO d.v VALUES (1)", "DELETE FROM d.v")
		w.Run("backup")
		w.Server.Exec("INSERT INTO d.f VALUES (2, 'y')", "ALTER TABLE d.f ADD COLUMN n INT DEFAULT 7, FORCE",
			"INSERT INTO d.p VALUES (2), (12), (22)",
			"ALTER TABLE d.p REORGANIZE PARTITION p0 INTO (PARTITION p00 VALUES LESS THAN (2), PARTITION p01 VALUES LESS THAN (10))")
		w.End()
		w.Server.Stop()
		before := content(t, w.far)
		again := w.restored()
		if after := content(t, w.far); !maps.Equal(before, after) || len(before) == 0 {
			t.Errorf("of %d files outside the restore has changed some, or left more: %d", len(before), len(after))
		}
		w.Server.Restart()
		equal(t, again, w.Server, append(tables(b.Flavor), "SELECT id FROM d.`odd-ä #x` WHERE MATCH (v) AGAINST ('hello')",
			"SELECT *, row_start, row_end FROM d.v FOR SYSTEM_TIME ALL")...)
		again.Exec("ALTER TABLE d.f FORCE", "OPTIMIZE TABLE d.p, d.`odd-ä #x`, d.v") // which MariaDB crashed at
	})
}

// TestDataDirectoryInLog restores the making of such tables on the primary's host, where their files are there already, and where
// their directory is not.
func TestDataDirectoryInLog(t *testing.T) {
	t.Run("beside", func(t *testing.T) {
		kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) { inLog(t, b, true) })
	})
	t.Run("elsewhere", func(t *testing.T) {
		kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) { inLog(t, b, false) })
	})
}

func inLog(t *testing.T, b servertest.Binaries, beside bool) {
	option := "--log-bin-compress"
	if b.Flavor == servertest.MySQL {
		option = "--innodb-directories=FAR"
	}
	w := newWorld(t, b, option)
	// What is stored with a mode comes before, between and after, so close that one batch could hold all of it.
	stored := func(n int) []string {
		return []string{fmt.Sprintf("CREATE PROCEDURE d.p%d() SELECT 'DATA DIRECTORY'", n),
			fmt.Sprintf("CREATE FUNCTION d.f%d() RETURNS INT DETERMINISTIC RETURN 1", n),
			fmt.Sprintf("CREATE EVENT d.e%d ON SCHEDULE EVERY 1 DAY DO SELECT 1", n)}
	}
	statements := append([]string{"SET GLOBAL log_bin_trust_function_creators=1"}, stored(0)...)
	for i, sql := range directories(b.Flavor, w.far) {
		statements = append(append(statements, sql), stored(i+1)...)
	}
	statements = append(statements, "CREATE TRIGGER d.g BEFORE INSERT ON d.f FOR EACH ROW SET @x=1")
	w.Server.Exec(statements...)
	w.End()
	w.Server.Stop()
	away := w.far
	if !beside { // for as long as the restore takes
		away += ".away"
		must(t, os.Rename(w.far, away))
	}
	before := content(t, away)
	again := w.restored()
	if after := content(t, away); !maps.Equal(before, after) || len(before) == 0 {
		t.Errorf("of %d files outside the restore has changed some, or left more: %d", len(before), len(after))
	}
	if _, err := os.Stat(w.far); !beside {
		if err == nil {
			t.Errorf("the restore has made %v", content(t, w.far))
		}
		must(t, os.Rename(away, w.far))
	}
	w.Server.Restart()
	equal(t, again, w.Server, append(tables(b.Flavor),
		"SELECT routine_name, sql_mode FROM information_schema.routines WHERE routine_schema='d' ORDER BY 1",
		"SELECT trigger_name, sql_mode FROM information_schema.triggers WHERE trigger_schema='d'",
		"SELECT event_name, sql_mode FROM information_schema.events WHERE event_schema='d' ORDER BY 1")...)
}

// TestAriaElsewhere backs up no server that has a table of Aria whose files are elsewhere, which the tool cannot copy, and says what
// to do; then it does.
func TestAriaElsewhere(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := newWorld(t, b)
		for _, option := range []string{"DATA DIRECTORY", "INDEX DIRECTORY"} {
			w.Server.Exec(fmt.Sprintf("CREATE OR REPLACE TABLE d.a (id INT PRIMARY KEY) ENGINE=Aria %s='%s'", option, w.far), "INSERT INTO d.a VALUES (1)")
			for _, command := range []string{"check", "backup"} {
				code := map[string]fault.Kind{"check": fault.Warnings, "backup": fault.Primary}[command]
				said := w.Refused(code.ExitCode(), command)
				for _, want := range []string{"tables of Aria have files elsewhere, which mariadb-backup does not copy: d/a", "CREATE TABLE new LIKE old"} {
					if !strings.Contains(said, want) {
						t.Errorf("%s, %s: it does not say %q:\n%s", option, command, want, said)
					}
				}
			}
		}
		w.Server.Exec("CREATE TABLE d.b LIKE d.a", "INSERT INTO d.b SELECT * FROM d.a", "DROP TABLE d.a", "RENAME TABLE d.b TO d.a")
		w.Run("backup")
	})
}

// TestLinkedDatabase restores a database whose directory is a link.
func TestLinkedDatabase(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := &world{far: filepath.Join(t.TempDir(), "far")}
		srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b})
		srv.Exec("CREATE DATABASE d", "CREATE TABLE d.i (id INT PRIMARY KEY)",
			"CREATE TABLE d.m (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE d.a (id INT PRIMARY KEY) ENGINE=Aria")
		srv.Stop()
		must(t, os.Rename(filepath.Join(srv.Datadir, "d"), w.far))
		must(t, os.Symlink(w.far, filepath.Join(srv.Datadir, "d")))
		srv.Restart()
		w.archive(t, srv, "INSERT INTO d.i VALUES (1)", "INSERT INTO d.m VALUES (1)", "INSERT INTO d.a VALUES (1)")
		w.Server.Exec("INSERT INTO d.i VALUES (2)", "INSERT INTO d.m VALUES (2)", "INSERT INTO d.a VALUES (2)",
			"CREATE TABLE d.later (id INT PRIMARY KEY)")
		w.End()
		srv.Stop()
		before := content(t, w.far)
		again := w.restored()
		if after := content(t, w.far); !maps.Equal(before, after) {
			t.Error("the restore has changed files outside")
		}
		srv.Restart()
		equal(t, again, w.Server, "CHECKSUM TABLE d.i, d.m, d.a, d.later")
	})
}
