package backup

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestImported copies a server with a table whose tablespace was imported, which mariadb-backup leaves out while it says that
// all went well. Such a copy is refused, until the table is built anew as the hint says.
func TestImported(t *testing.T) { kit.Each(t, servertest.MariaDB, kit.Servers(2), imported, tools...) }

func imported(t *testing.T, b servertest.Binaries) {
	s := newSite(t, b)
	s.srv.Exec("CREATE TABLE d.i (id INT PRIMARY KEY)", "INSERT INTO d.i VALUES (1), (2)",
		"CREATE TABLE d.p (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2", "CREATE TABLE d.q LIKE d.i", "INSERT INTO d.q VALUES (4)")
	s.importAgain(t, "d.i")
	refused := func(table string) {
		t.Helper()
		var stream bytes.Buffer
		_, err := s.engine().Stream(context.Background(), &stream)
		if !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "the copy has lost d/"+table) ||
			!strings.Contains(fault.HintOf(err), "ALTER TABLE `d`.`"+table+"` FORCE") {
			t.Fatalf("%v; %s", err, fault.HintOf(err))
		}
	}
	refused("i")
	s.srv.Exec("INSERT INTO d.i VALUES (3)", "FLUSH TABLES")
	refused("i")
	s.srv.Exec("ALTER TABLE d.i FORCE")
	s.importAgain(t, "d.q")
	refused("q")
	s.srv.Stop()
	s.srv.Restart()

	var stream bytes.Buffer
	info, err := s.engine().Stream(context.Background(), &stream)
	if err != nil || len(info.UncopiedFiles) > 0 {
		t.Fatalf("%v, uncopied %v", err, info.UncopiedFiles)
	}
	again := s.start(&stream)
	defer again.Close()
	for table, rows := range map[string]string{"i": "1,2,3", "q": "4"} {
		if got, err := again.Process.Query("SELECT GROUP_CONCAT(id ORDER BY id) FROM d." + table); err != nil || got[0][0] != rows {
			t.Errorf("d.%s on the copy has %v, %v, expected %s", table, got, err, rows)
		}
	}
}

// importAgain discards a table's tablespace and imports a copy of it.
func (s *site) importAgain(t *testing.T, table string) {
	t.Helper()
	files := s.exported(t, table)
	s.srv.Exec("ALTER TABLE " + table + " DISCARD TABLESPACE")
	for ext, data := range files {
		if err := os.WriteFile(filepath.Join(s.srv.Datadir, strings.ReplaceAll(table, ".", "/")+ext), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.srv.Exec("ALTER TABLE " + table + " IMPORT TABLESPACE")
}

// exported returns the files of a table as the server exports them, by the ends of their names.
func (s *site) exported(t *testing.T, table string) map[string][]byte {
	t.Helper()
	conn := s.srv.Conn()
	defer conn.Close()
	if _, err := conn.Execute("FLUSH TABLES " + table + " FOR EXPORT"); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, ext := range []string{".ibd", ".cfg"} {
		data, err := os.ReadFile(filepath.Join(s.srv.Datadir, strings.ReplaceAll(table, ".", "/")+ext))
		if err != nil {
			t.Fatal(err)
		}
		files[ext] = data
	}
	return files
}

// TestUncopied copies a server with files in the directories of its databases that no part of the tool copies: they are named.
// What is no table's, or not for long, is not, and a tablespace that InnoDB does not know makes no copy wrong.
func TestUncopied(t *testing.T) { kit.Each(t, servertest.MariaDB, kit.Servers(1), uncopied, tools...) }

func uncopied(t *testing.T, b servertest.Binaries) {
	s := newSite(t, b, "--slow-query-log-file=logs/slow.log")
	s.srv.Exec("CREATE VIEW d.v AS SELECT 1", "CREATE SEQUENCE d.s", "CREATE TABLE d.c (id INT NOT NULL) ENGINE=CSV", "CREATE TABLE d.mem (id INT) ENGINE=MEMORY",
		"CREATE TRIGGER d.tr BEFORE INSERT ON d.t FOR EACH ROW SET @a=1", "CREATE TABLE d.f (id INT PRIMARY KEY, x TEXT, FULLTEXT (x))",
		"CREATE TABLE d.`odd-ä #x` (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2", "CREATE TABLE d.mrg (id INT) ENGINE=MERGE")
	put := func(name string, data string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(s.srv.Datadir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.srv.Datadir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		var stream bytes.Buffer
		info, err := s.engine().Stream(context.Background(), &stream)
		if err != nil || strings.Join(info.UncopiedFiles, ";") != strings.Join(want, ";") {
			t.Fatalf("%v, uncopied %q, expected %q", err, info.UncopiedFiles, want)
		}
		files, err := s.engine().Uncopied(context.Background())
		if stray := "d/stray.ibd"; err != nil || strings.Join(files, ";") != strings.ReplaceAll(strings.Join(want, ";"), ";"+stray, "") {
			t.Fatalf("%v, beforehand %q, expected %q", err, files, want)
		}
	}
	check()
	put("logs/slow.log", "")
	put("#rocksdb/CURRENT", "x")
	put(".hidden/x", "x")
	put("d/t.cfg", "x")
	check()
	put("d/data.csv", "1\n")
	put("d/\xff.dos", "1\n")
	check("d/data.csv", "d/?.dos")
	s.srv.Exec("CREATE TABLE d.was (id INT PRIMARY KEY)")
	was := s.exported(t, "d.was")
	s.srv.Exec("DROP TABLE d.was")
	put("d/stray.ibd", string(was[".ibd"]))
	check("d/data.csv", "d/stray.ibd", "d/?.dos")
}
