package restoring

import (
	"encoding/json"
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
	}{
		{[]string{"DROP TABLE shop.orders"}, before[1]},
		{[]string{"drop table other"}, before[1]},
		{[]string{"create table shop.other"}, before[0]},
		{[]string{"DELETE FROM shop.orders", "--to-time", moment.Format(time.RFC3339)}, before[3]},
	} {
		var plan struct{ Stop struct{ GTID string } }
		said := done(w, append([]string{"restore", "shop", "--dry-run", "--json", "--before-statement"}, tt.args...)...)
		if err := json.Unmarshal([]byte(said), &plan); err != nil || plan.Stop.GTID != tt.want {
			t.Errorf("before %v: the plan stops at %s, expected %s, %v\n%s", tt.args, plan.Stop.GTID, tt.want, err, said)
		}
	}
	// A statement that is not there.
	w.Refused(fault.Unreachable.ExitCode(), "restore", "shop", "--dry-run", "--before-statement", "DROP DATABASE shop")
}
