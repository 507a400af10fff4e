package restoring

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
	"tidemark/restore"
)

// inMemory makes tables of MEMORY with rows, and others beside them.
var inMemory = []string{
	"CREATE DATABASE d", "CREATE DATABASE e",
	"CREATE TABLE d.m (id INT PRIMARY KEY, v INT) ENGINE=MEMORY", "INSERT INTO d.m VALUES (1, 0), (2, 0), (3, 0)",
	"CREATE TABLE e.m (id INT PRIMARY KEY, v INT) ENGINE=InnoDB", "INSERT INTO e.m VALUES (1, 0), (2, 0), (3, 0)",
	"CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT) ENGINE=InnoDB", "INSERT INTO d.t VALUES (1, 0), (2, 0), (3, 0)",
	"CREATE TABLE d.counted (id INT PRIMARY KEY, v INT) ENGINE=InnoDB", "INSERT INTO d.counted VALUES (1, 0)",
	"CREATE TRIGGER d.counts AFTER INSERT ON d.counted FOR EACH ROW UPDATE d.m SET v = v + 1 WHERE id = 2",
	"CREATE TABLE d.`alter``ed` LIKE d.m", "INSERT INTO d.`alter``ed` VALUES (1, 0), (2, 0)",
	"CREATE TABLE d.named LIKE d.m", "INSERT INTO d.named VALUES (1, 0), (2, 0)",
	"CREATE TABLE d.made LIKE d.m", "INSERT INTO d.made VALUES (1, 0), (2, 0)",
	"CREATE TABLE d.emptied LIKE d.m", "INSERT INTO d.emptied VALUES (1, 0), (2, 0)",
	"CREATE TABLE d.`read` (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
}

// changed is what the log does to them. The tables of InnoDB are the same on a server that applies it without the rows, but for
// `alter“ed` and `read`.
var changed = []string{
	"UPDATE d.m SET v = 1 WHERE id = 1", "DELETE FROM d.m WHERE id = 3", "INSERT INTO d.m VALUES (4, 1)",
	"UPDATE e.m SET v = 2 WHERE id = 2", "DELETE FROM e.m WHERE id = 3",
	"INSERT INTO d.t (v) SELECT v FROM d.m",

	"ALTER TABLE d.`alter``ed` ENGINE=InnoDB", "UPDATE d.`alter``ed` SET v = 1 WHERE id = 1", "INSERT INTO d.`alter``ed` VALUES (3, 3)",
	"RENAME TABLE d.named TO d.tmp, d.tmp TO e.named", "UPDATE e.named SET v = 1 WHERE id = 1",
	"DROP TABLE d.made", "CREATE TABLE d.made (id INT PRIMARY KEY, v INT) ENGINE=InnoDB", "INSERT INTO d.made VALUES (1, 1), (2, 2)", "UPDATE d.made SET v = 5",
	"TRUNCATE TABLE d.emptied", "INSERT INTO d.emptied VALUES (7, 7), (8, 8)", "UPDATE d.emptied SET v = 9 WHERE id = 7", "ALTER TABLE d.emptied ENGINE=InnoDB", "UPDATE d.emptied SET v = 10 WHERE id = 8",
	"CREATE TABLE d.fresh (id INT PRIMARY KEY, v INT) ENGINE=MEMORY", "INSERT INTO d.fresh VALUES (1, 1), (2, 2)", "UPDATE d.fresh SET v = 3 WHERE id = 1", "ALTER TABLE d.fresh ENGINE=InnoDB", "DELETE FROM d.fresh WHERE id = 2",

	"SET SESSION binlog_format = STATEMENT", "UPDATE d.m SET v = v + 1", "INSERT INTO d.`read` SELECT * FROM d.m", "SET SESSION binlog_format = ROW",
}

// mixed is what MariaDB lets a transaction, a statement and a trigger do to tables of both kinds, and to partitions. MySQL refuses that, to be
// consistent in its GTIDs.
var mixed = []string{
	"BEGIN", "INSERT INTO d.t (v) VALUES (10)", "UPDATE d.m SET v = v + 10", "UPDATE d.t SET v = 11 WHERE id = 1", "DELETE FROM d.m WHERE id = 4", "COMMIT",
	"UPDATE d.t JOIN d.m USING (id) SET d.t.v = d.t.v + 100, d.m.v = d.m.v + 100",
	"DELETE d.t, d.m FROM d.t JOIN d.m USING (id) WHERE id = 2",
	"INSERT INTO d.m VALUES (2, 0)",
	"INSERT INTO d.counted VALUES (2, 5)",
	"UPDATE d.parts SET v = 1 WHERE id = 3",
}

// TestMemoryTables restores a server whose base backup was taken with rows in tables of MEMORY, which no restored server has. What the log
// changes of them is passed over, all other tables are as on the primary, and these are named.
func TestMemoryTables(t *testing.T) { kit.Each(t, "", kit.Servers(2), memoryTables) }

func memoryTables(t *testing.T, b servertest.Binaries) {
	before, statements := inMemory, slices.Concat([]string{"SET SESSION binlog_transaction_compression = ON"}, changed)
	memory := []string{"`d`.`m`", "`e`.`named`"}
	if b.Flavor == servertest.MariaDB {
		before = slices.Concat(before, []string{"CREATE TABLE d.parts (id INT PRIMARY KEY, v INT) ENGINE=MEMORY PARTITION BY HASH (id) PARTITIONS 4",
			"INSERT INTO d.parts VALUES (1, 0), (2, 0), (3, 0)"})
		statements = slices.Concat([]string{"SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"}, mixed, changed)
		memory = slices.Insert(memory, 1, "`d`.`parts`")
	}
	w := inMemoryWorld(t, b, before...)
	run(w, statements...)
	w.End()
	target := within(t, "restored")
	said := warned(w, "restore", "shop", "--target-dir", target)
	for _, what := range []string{"tables are empty that are of the engine MEMORY", strings.Join(memory, ", "), "1 tables lack rows", "`d`.`alter``ed`", "reads `d`.`m` by a statement"} {
		if !strings.Contains(said, what) {
			t.Errorf("the report lacks %q:\n%s", what, said)
		}
	}
	open(w, target, func(again *servertest.Server) {
		same(w, again, "e.m", "d.t", "d.counted", "d.made", "d.emptied", "d.fresh")
		for _, table := range []string{"d.m", "e.named", "d.`alter``ed`", "d.`read`"} {
			if n := again.Value("SELECT COUNT(*) FROM " + table); n != "0" {
				t.Errorf("%s has %s rows", table, n)
			}
		}
	})
}

// TestMemoryTablesFollowed lets a standby follow, stops it, and starts it again: what it had applied to tables of MEMORY is gone too.
func TestMemoryTablesFollowed(t *testing.T) { kit.Each(t, "", kit.Servers(2), memoryFollowed) }

func memoryFollowed(t *testing.T, b servertest.Binaries) {
	w := inMemoryWorld(t, b, inMemory...)
	target := within(t, "standby")
	f := follow(w, target)
	f.await("follow", func(s standingBy) bool { return s.Phase == "follow" })
	run(w, "CREATE TABLE d.fresh LIKE d.m", "INSERT INTO d.fresh VALUES (1, 1), (2, 2)", "CREATE TABLE d.later LIKE d.m", "INSERT INTO d.later VALUES (1, 1)")
	last := gtidOf(w, "UPDATE d.t SET v = 3 WHERE id = 1")
	f.applied(last)
	run(w, "UPDATE d.fresh SET v = 2 WHERE id = 1") // these it has
	run(w, "ALTER TABLE d.later ENGINE=InnoDB", "UPDATE d.later SET v = 7", "UPDATE d.m SET v = 1 WHERE id = 2")
	last = gtidOf(w, "UPDATE d.t SET v = 4 WHERE id = 1")
	f.applied(last)
	f.stop()

	f = follow(w, target)
	run(w, "UPDATE d.fresh SET v = 3 WHERE id = 1", "DELETE FROM d.m WHERE id = 1", "UPDATE d.later SET v = 8")
	last = gtidOf(w, "UPDATE d.t SET v = 5 WHERE id = 1")
	f.applied(last)
	w.End()
	f.stop()
	said := w.RunTo([]int{fault.Warnings.ExitCode()}, "restore", "shop", "--target-dir", target, "--json")
	var report restore.Report
	if err := json.Unmarshal([]byte(said), &report); err != nil || report.Restarted || strings.Join(report.EmptyTables, " ") !=
		"`d`.`alter``ed` `d`.`emptied` `d`.`fresh` `d`.`m` `d`.`made` `d`.`named`" {
		t.Errorf("opened: %v, %s", err, said)
	}
	open(w, target, func(again *servertest.Server) { same(w, again, "d.t", "d.later", "e.m") })
}

// TestMissingRow: a row that the log changes, and that is missing in a table of InnoDB, ends a restore, whatever is passed over.
func TestMissingRow(t *testing.T) { kit.Each(t, "", kit.Servers(2), missingRow) }

func missingRow(t *testing.T, b servertest.Binaries) {
	w := inMemoryWorld(t, b, inMemory...)
	run(w, "SET SESSION sql_log_bin = 0", "INSERT INTO d.t VALUES (100, 0)", "SET SESSION sql_log_bin = 1",
		"UPDATE d.m SET v = 1 WHERE id = 1", "UPDATE d.t SET v = 1 WHERE id = 100")
	w.End()
	said := w.Refused(fault.Other.ExitCode(), "restore", "shop", "--target-dir", within(t, "restored"))
	if !strings.Contains(said, "error 1032") {
		t.Errorf("a missing row: %s", said)
	}
}

// inMemoryWorld is an archived primary that has executed statements before its base backup.
func inMemoryWorld(t *testing.T, b servertest.Binaries, statements ...string) *kit.World {
	t.Helper()
	lines := kit.Brisk
	if b.Flavor == servertest.MySQL {
		lines = append([]string{"base: {allow_empty_tables: true}"}, lines...)
	}
	return kit.Archived(t, kit.Setup{Binaries: b, SQL: statements, Cluster: lines})
}

// run executes statements in one session.
func run(w *kit.World, statements ...string) {
	w.T.Helper()
	conn := w.Server.Conn()
	defer conn.Close()
	execute(w.T, conn, statements...)
}

// same compares tables of the primary and of what was restored.
func same(w *kit.World, again *servertest.Server, tables ...string) {
	w.T.Helper()
	for _, table := range tables {
		ask := "SELECT GROUP_CONCAT(id, '=', v ORDER BY id) FROM " + table
		if want, got := w.Server.Value(ask), again.Value(ask); got != want {
			w.T.Errorf("%s has %s restored, %s on the primary", table, got, want)
		}
	}
}
