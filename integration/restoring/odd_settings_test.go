package restoring

import (
	"fmt"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestOddSettings: what a primary with settings of its own could do, the server that applies its log can do too, and comes to the same
// tables, definitions, accounts and results of searches.
func TestOddSettings(t *testing.T) { kit.Each(t, "", kit.Servers(2), oddSettings) }

func oddSettings(t *testing.T, b servertest.Binaries) {
	mysql := b.Flavor == servertest.MySQL
	options := []string{"--innodb-ft-min-token-size=2", "--ft-min-word-len=2", "--default-week-format=3", "--explicit-defaults-for-timestamp=OFF"}
	before := []string{"CREATE DATABASE d", "CREATE TABLE d.stop (value VARCHAR(30)) ENGINE=InnoDB", "INSERT INTO d.stop VALUES ('hello')",
		"SET GLOBAL innodb_ft_server_stopword_table='d/stop'", "CREATE TABLE d.z (s VARCHAR(30)) ENGINE=InnoDB",
		"INSERT INTO d.z VALUES ('2026-07-01 12:00:00'), ('2026-01-01 12:00:00')"}
	if mysql {
		options = append(options, "--partial-revokes=ON", "--ngram-token-size=3")
	} else {
		options = append(options, "--default-storage-engine=Aria")
	}
	w := kit.Archived(t, kit.Setup{Binaries: b, Options: options, SQL: before, Env: []string{"TZ=Asia/Kolkata"}})
	conn := w.Server.Conn()
	defer conn.Close()

	columns := make([]string, 60)
	for i := range columns {
		columns[i] = fmt.Sprintf("c%d CHAR(200) CHARACTER SET latin1", i)
	}
	execute(t, conn, "SET SESSION innodb_strict_mode=0", "SET SESSION max_heap_table_size=64*1024*1024",
		"CREATE TABLE d.wide ("+strings.Join(columns, ", ")+") ENGINE=InnoDB ROW_FORMAT=COMPACT",
		"CREATE TABLE d.pressed (id INT PRIMARY KEY) ENGINE=InnoDB ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=4",
		"CREATE TABLE d.mem (id INT PRIMARY KEY, v VARCHAR(200) CHARACTER SET latin1) ENGINE=MEMORY")
	for i := range 12 { // 24 MB, more than what a MEMORY table may have by default
		rows := make([]string, 10_000)
		for k := range rows {
			rows[k] = fmt.Sprintf("(%d, REPEAT('x', 200))", i*len(rows)+k)
		}
		execute(t, conn, "INSERT INTO d.mem VALUES "+strings.Join(rows, ","))
	}
	execute(t, conn, "CREATE TABLE d.f (id INT PRIMARY KEY, x TEXT, FULLTEXT (x)) ENGINE=InnoDB",
		"INSERT INTO d.f VALUES (1, 'hello ox'), (2, 'the world'), (3, 'hello')",
		"CREATE TABLE d.m (id INT PRIMARY KEY, x TEXT, FULLTEXT (x)) ENGINE=MyISAM", "INSERT INTO d.m VALUES (1, 'go on'), (2, 'an ox')",
		"CREATE TABLE d.plain (id INT PRIMARY KEY)",
		// A definition that fills a TIMESTAMP, and a change of its rows, which have no key.
		"ALTER TABLE d.z MODIFY s TIMESTAMP", "UPDATE d.z SET s = s + INTERVAL 1 DAY")
	if mysql {
		execute(t, conn, "CREATE TABLE d.n (id INT PRIMARY KEY, x TEXT, FULLTEXT (x) WITH PARSER ngram)", "INSERT INTO d.n VALUES (1, 'abcdef')",
			"CREATE USER u", "GRANT SELECT ON *.* TO u", "REVOKE SELECT ON mysql.* FROM u")
	} else {
		execute(t, conn, "SET GLOBAL enforce_storage_engine=NULL", "CREATE USER u IDENTIFIED BY 'x'")
	}
	questions := []string{"SELECT GROUP_CONCAT(UNIX_TIMESTAMP(s) ORDER BY s) FROM d.z", "SELECT GROUP_CONCAT(id ORDER BY id) FROM d.f WHERE MATCH (x) AGAINST ('hello' IN BOOLEAN MODE)",
		"SELECT GROUP_CONCAT(id ORDER BY id) FROM d.f WHERE MATCH (x) AGAINST ('ox' IN BOOLEAN MODE)", "SELECT GROUP_CONCAT(id ORDER BY id) FROM d.f WHERE MATCH (x) AGAINST ('the' IN BOOLEAN MODE)",
		"SELECT GROUP_CONCAT(id ORDER BY id) FROM d.m WHERE MATCH (x) AGAINST ('ox' IN BOOLEAN MODE)",
		"SELECT GROUP_CONCAT(table_name, '=', engine ORDER BY table_name) FROM information_schema.tables WHERE table_schema='d'"}
	if mysql {
		questions = append(questions, "SELECT COUNT(*) FROM d.n WHERE MATCH (x) AGAINST ('bcd' IN BOOLEAN MODE)", "SELECT user_attributes FROM mysql.user WHERE user='u'")
	}
	want := make([]string, len(questions))
	for i, sql := range questions {
		want[i] = w.Server.Value(sql)
	}
	w.Server.Exec("DROP TABLE d.mem") // whose rows no server keeps
	truth := w.Truth("the end")
	w.End()
	if want[1] != "" && want[1] != "NULL" || want[2] != "1" {
		t.Errorf("the test shows nothing: the primary finds %q", want)
	}
	w.RestoreEquals(truth)
	target := within(t, "asked")
	w.RunTo([]int{0, 3}, "restore", "shop", "--target-dir", target)
	again := servertest.Start(t, servertest.Options{Binaries: b, Datadir: target, Extra: options, Env: []string{"TZ=Asia/Kolkata"}})
	for i, sql := range questions {
		if strings.Contains(sql, "table_name") {
			want[i] = w.Server.Value(sql)
		}
		if got := again.Value(sql); got != want[i] {
			t.Errorf("%s: %q, on the primary %q", sql, got, want[i])
		}
	}
}
