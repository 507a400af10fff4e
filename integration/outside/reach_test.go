package outside

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/confine"
	"tidemark/internal/fault"
)

// TestTablespaceInLog: a tablespace that the log creates at a path outside stops the restore there, by name, and nothing is made.
func TestTablespaceInLog(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := newWorld(t, b, "--innodb-directories=FAR")
		w.Server.Exec("CREATE TABLESPACE inside ADD DATAFILE 'inside.ibd'", "CREATE TABLE d.inside (id INT PRIMARY KEY) TABLESPACE inside",
			"INSERT INTO d.inside VALUES (1)")
		before := w.Server.Position()
		w.Server.Exec(fmt.Sprintf("CREATE TABLESPACE far ADD DATAFILE '%s/far.ibd'", w.far))
		w.End()
		w.Server.Stop()
		files := content(t, w.far)
		said := w.Refused(fault.Other.ExitCode(), "restore", "--target-dir", w.target)
		if !strings.Contains(said, "3121") || !strings.Contains(said, "far.ibd") {
			t.Errorf("the restore says:\n%s", said)
		}
		if now := content(t, w.far); !maps.Equal(files, now) || len(files) != 1 {
			t.Errorf("of %d files outside the restore has changed some, or left more: %d", len(files), len(now))
		}
		must(t, os.RemoveAll(w.target))
		again := w.restored("--to-gtid", before)
		w.Server.Restart()
		equal(t, again, w.Server, "CHECKSUM TABLE d.inside")
	})
}

// TestFederated: a table that stands for one of another server, here of the living primary, is not written to by a restore.
func TestFederated(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		if err := confine.Available(); err != nil {
			t.Skip(err)
		}
		if !b.System {
			t.Skip("its plugins are installed for the system's MariaDB only")
		}
		plugins, _ := servertest.WithFileKey(t, b, t.TempDir())
		w := newWorld(t, b, "--plugin-dir="+plugins)
		w.Server.Exec("INSTALL SONAME 'ha_federatedx'", "CREATE TABLE d.real_one (id INT PRIMARY KEY)",
			"CREATE USER f IDENTIFIED BY 'f'", "GRANT ALL ON d.* TO f")
		w.Server.Exec(fmt.Sprintf("CREATE TABLE d.fed (id INT PRIMARY KEY) ENGINE=FEDERATED CONNECTION='mysql://f:f@%s/d/real_one'", w.Server.Addr))
		w.Run("backup")
		w.Server.Exec("INSERT INTO d.fed VALUES (1)")
		w.Server.Exec("DELETE FROM d.real_one") // as if it were another's, who does not know that it is restored
		w.End()
		said := w.Refused(fault.Other.ExitCode(), "restore", "--target-dir", w.target, "--plugin-dir", plugins)
		if n := w.Server.Value("SELECT COUNT(*) FROM d.real_one"); n != "0" {
			t.Errorf("the restore has written %s rows to another server:\n%s", n, said)
		}
		if !strings.Contains(said, "confined") {
			t.Errorf("the restore says:\n%s", said)
		}
	})
}
