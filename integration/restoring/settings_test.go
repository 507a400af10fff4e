package restoring

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/restore"
)

// TestChangedSettings: the primary's settings change while it is archived, and each part of the log is applied under its own:
// what a running server takes, and what takes a start.
func TestChangedSettings(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := archive(t, b, "CREATE DATABASE d", makeT)
		rows(w, 2)
		again := func() { // a connection is made anew, and the server looked at
			w.SettleFiles()
			w.Stop()
			w.Start()
			w.Await("the stream", func(s kit.Status) bool { return s.State == "STATE_STREAMING" || s.State == "STATE_IDLE" })
		}
		w.Server.Exec("SET GLOBAL default_storage_engine=MyISAM", "SET GLOBAL character_set_server=latin1")
		again()
		w.Server.Exec("CREATE TABLE d.m (id INT PRIMARY KEY)", "CREATE DATABASE l", "CREATE TABLE l.c (c CHAR(3))", "INSERT INTO d.m VALUES (1)")
		rows(w, 2)
		w.Server.Exec("SET GLOBAL default_storage_engine=InnoDB")
		again()
		w.Server.Exec("CREATE TABLE d.i (id INT PRIMARY KEY)")
		rows(w, 2)
		w.SettleFiles()
		before := w.Truth("before the restart")
		w.Server.Restart("--innodb-ft-min-token-size=1", "--div-precision-increment=9")
		w.Await("the stream", func(s kit.Status) bool { return s.State == "STATE_STREAMING" || s.State == "STATE_IDLE" })
		w.Server.Exec("CREATE TABLE d.f (id INT PRIMARY KEY, v TEXT, FULLTEXT (v)) ENGINE=InnoDB", "INSERT INTO d.f VALUES (1, 'q w xy long')")
		rows(w, 2)
		w.End()
		w.Run("verify", "shop", "--data")

		queries := []string{"SELECT table_schema, table_name, engine FROM information_schema.tables WHERE table_schema IN ('d', 'l') ORDER BY 1, 2",
			"SELECT character_set_name FROM information_schema.columns WHERE table_schema='l'",
			"SELECT id FROM d.f WHERE MATCH (v) AGAINST ('w')", "CHECKSUM TABLE d.t, d.m, d.i, l.c"}
		own := within(t, "own.cnf") // which goes over what is recorded, at a start only
		if err := os.WriteFile(own, []byte("[mysqld]\nmax_connections=50\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, extra := range [][]string{nil, {"--defaults-extra-file", own}} {
			target := within(t, "restored")
			var report restore.Report
			w.JSON(&report, append([]string{"restore", "shop", "--target-dir", target}, extra...)...)
			if report.Resumed != nil || report.HasWarnings() {
				t.Errorf("the restore was resumed: %v; it warns of %q", report.Resumed, report.Warnings)
			}
			srv := servertest.Start(t, servertest.Options{ServerID: 99, Binaries: b, Datadir: target, Extra: []string{"--innodb-ft-min-token-size=1"}})
			for _, sql := range queries {
				if got, want := fmt.Sprint(srv.Query(sql)), fmt.Sprint(w.Server.Query(sql)); got != want {
					t.Errorf("%s: %s, not %s", sql, got, want)
				}
			}
			if tables := fmt.Sprint(srv.Query(queries[0])); !strings.Contains(tables, "[d m MyISAM]") {
				t.Errorf("restored %s", tables)
			}
			srv.Stop()
		}
		w.RestoreEquals(before, "--to-gtid", before.GTIDPos)
	})
}
