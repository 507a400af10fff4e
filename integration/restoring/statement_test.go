package restoring

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestStatement: a restore stops before the last statement of a kind, in whatever form the log has it.
func TestStatement(t *testing.T) { kit.Each(t, "", kit.Servers(1), statement) }

func statement(t *testing.T, b servertest.Binaries) {
	var compress []string
	compressed := "SET SESSION binlog_format=STATEMENT"
	if b.Flavor == servertest.MySQL {
		compressed = "SET SESSION binlog_transaction_compression=ON"
	} else {
		compress = []string{"SET GLOBAL log_bin_compress=ON", "SET GLOBAL log_bin_compress_min_len=10"}
	}
	w := archive(t, b, compress...)
	srv := w.Server
	table := "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200))"
	insert := "INSERT INTO shop.orders (what) VALUES (REPEAT('x', 100)), (REPEAT('y', 100))"
	srv.Exec("CREATE DATABASE shop", table, insert, "USE shop", "DROP TABLE orders", table, insert)
	var before []string
	note := func() { before = append(before, srv.Position()) }
	note()
	srv.Exec("USE shop", "CREATE TABLE other (id INT PRIMARY KEY)", "CREATE TABLE third (id INT PRIMARY KEY)")
	note()
	srv.Exec("USE shop", "DROP TABLE other, orders")
	srv.Exec(table, insert, insert)
	note()
	srv.Exec("BEGIN", "UPDATE shop.third SET id = id + 1", "DELETE FROM shop.orders WHERE id < 3", "COMMIT")
	note()
	srv.Exec(compressed, "BEGIN", "INSERT INTO shop.third VALUES (1)", "DELETE FROM shop.orders WHERE id = 3", "COMMIT")
	moment := nextSecond(srv)
	srv.Exec("DELETE FROM shop.orders", "TRUNCATE shop.third")
	w.End()
	for _, tt := range []struct {
		args []string
		want string
		what string
	}{
		{[]string{"DROP TABLE shop.orders"}, before[1], "DROP TABLE `shop`.`orders`"},
		{[]string{"drop table other"}, before[1], "DROP TABLE `shop`.`other`"},
		{[]string{"create table shop.other"}, before[0], "CREATE TABLE `shop`.`other`"},
		{[]string{"DELETE FROM shop.orders", "--to-time", moment.Format(time.RFC3339)}, before[3], "DELETE FROM `shop`.`orders`"}, // its first change is another one
	} {
		var plan struct {
			Stop  struct{ GTID string }
			First struct{ What string } `json:"first_not_applied"`
		}
		said := done(w, append([]string{"restore", "shop", "--dry-run", "--json", "--before-statement"}, tt.args...)...)
		if err := json.Unmarshal([]byte(said), &plan); err != nil || plan.Stop.GTID != tt.want || plan.First.What != tt.what {
			t.Errorf("before %v: the plan stops at %s, expected %s, %v\n%s", tt.args, plan.Stop.GTID, tt.want, err, said)
		}
	}
	// A statement that is not there.
	w.Refused(fault.Unreachable.ExitCode(), "restore", "shop", "--dry-run", "--before-statement", "DROP DATABASE shop")
}

// TestStatementKinds: what a DEFINER goes before, REPLACE, GRANT and REVOKE are found as their server logs them; what
// two databases have is refused with both.
func TestStatementKinds(t *testing.T) { kit.Each(t, "", kit.Servers(1), statementKinds) }

func statementKinds(t *testing.T, b servertest.Binaries) {
	mysql := b.Flavor == servertest.MySQL
	w := archive(t, b, "CREATE DATABASE shop", "CREATE DATABASE old", "CREATE TABLE shop.orders (id INT PRIMARY KEY, n INT)",
		"CREATE TABLE old.orders (id INT PRIMARY KEY)", "CREATE USER app@localhost")
	srv := w.Server
	texts := "SET @x = 1" // REPLACE is told from other changes of rows by the statement beside them
	if mysql {
		texts = "SET SESSION binlog_rows_query_log_events=ON"
	}
	want := make(map[string]string)
	for _, s := range []struct{ ask, sql string }{
		{"CREATE TRIGGER shop.audit", "CREATE TRIGGER shop.audit BEFORE INSERT ON shop.orders FOR EACH ROW SET NEW.n = NEW.n + 1"},
		{"create trigger audit2", "CREATE DEFINER=root@localhost TRIGGER audit2 BEFORE UPDATE ON orders FOR EACH ROW SET NEW.n = 2"},
		{"CREATE VIEW shop.v", "CREATE VIEW shop.v AS SELECT id FROM shop.orders"},
		{"ALTER VIEW v", "ALTER DEFINER=root@localhost SQL SECURITY INVOKER VIEW v AS SELECT n FROM shop.orders"},
		{"CREATE EVENT shop.e", "CREATE EVENT shop.e ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM shop.orders"},
		{"CREATE PROCEDURE shop.p", "CREATE PROCEDURE p() DELETE FROM shop.orders"},
		{"CREATE FUNCTION shop.f", "CREATE FUNCTION shop.f() RETURNS INT DETERMINISTIC NO SQL RETURN 1"},
		{"INSERT INTO shop.orders", "INSERT INTO orders VALUES (1, 1)"},
		{"REPLACE INTO shop.orders", "REPLACE INTO orders VALUES (1, 2)"},
		{"UPDATE shop.orders", "UPDATE orders SET id = 7"},
		{"GRANT SELECT ON shop.orders TO app@localhost", "GRANT SELECT, INSERT ON shop.orders TO app@localhost"},
		{"GRANT ON shop.*", "GRANT UPDATE ON shop.* TO app@localhost"},
		{"REVOKE INSERT ON shop.orders", "REVOKE INSERT ON shop.orders FROM app@localhost"},
		{"DROP TRIGGER shop.audit", "DROP TRIGGER shop.audit"},
		{"DROP VIEW v", "DROP VIEW shop.v"},
		{"DROP EVENT e", "DROP EVENT shop.e"},
		{"DROP PROCEDURE shop.p", "DROP PROCEDURE p"},
		{"DROP FUNCTION f", "DROP FUNCTION IF EXISTS f"},
		{"CREATE INDEX i ON shop.orders", "CREATE INDEX i ON orders (n)"},
		{"DROP INDEX i ON shop.orders", "DROP INDEX i ON orders"},
		{"RENAME TABLE shop.orders", "RENAME TABLE orders TO sold"},
		{"DROP USER app@localhost", "DROP USER app@localhost"},
	} {
		want[s.ask] = srv.Position()
		srv.Exec("USE shop", texts, s.sql)
	}
	srv.Exec("DROP TABLE shop.sold", "CREATE TABLE shop.orders (id INT)", "DROP TABLE shop.orders", "DROP TABLE old.orders")
	end := srv.Position()
	w.End()
	for ask, position := range want {
		var plan struct{ Stop struct{ GTID string } }
		w.JSON(&plan, "restore", "shop", "--dry-run", "--before-statement", ask)
		if plan.Stop.GTID != position {
			t.Errorf("before %s: the plan stops at %s, expected %s", ask, plan.Stop.GTID, position)
		}
	}
	said := w.Refused(fault.Unreachable.ExitCode(), "restore", "shop", "--dry-run", "--before-statement", "DROP TABLE orders")
	for _, part := range []string{"DROP TABLE `shop`.`orders`", "DROP TABLE `old`.`orders`", "--before-gtid " + lastOf(end)} {
		if !strings.Contains(said, part) {
			t.Errorf("two tables of that name are refused without %q: %s", part, said)
		}
	}
	w.Refused(fault.Usage.ExitCode(), "restore", "shop", "--dry-run", "--before-statement", "DELETE FROM shop.orders WHERE id=5")
	w.Refused(fault.Usage.ExitCode(), "restore", "shop", "--dry-run", "--before-statement", "")
}

// lastOf is the last transaction of a position of one server.
func lastOf(position string) string {
	if i := strings.LastIndexByte(position, '-'); strings.Contains(position, ":") {
		return position[:strings.IndexByte(position, ':')+1] + position[i+1:]
	}
	return position
}

// TestReplaceWithoutText: where the log has the changes of rows alone, a REPLACE is refused with those that it may be.
func TestReplaceWithoutText(t *testing.T) { kit.Each(t, "", kit.Servers(1), replaceWithoutText) }

func replaceWithoutText(t *testing.T, b servertest.Binaries) {
	off := "SET SESSION binlog_annotate_row_events=OFF"
	if b.Flavor == servertest.MySQL {
		off = "SET SESSION binlog_rows_query_log_events=OFF"
	}
	w := archive(t, b, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, n INT)")
	w.Server.Exec(off, "INSERT INTO shop.orders VALUES (1, 1)", "REPLACE INTO shop.orders VALUES (1, 2)")
	end := w.End()
	said := w.Refused(fault.Unreachable.ExitCode(), "restore", "shop", "--dry-run", "--before-statement", "REPLACE INTO shop.orders")
	if !strings.Contains(said, "--before-gtid "+lastOf(end)) || !strings.Contains(said, "UPDATE `shop`.`orders`") {
		t.Errorf("refused with %s; the REPLACE is %s", said, lastOf(end))
	}
}
