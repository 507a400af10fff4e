package restoring

import (
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestAcrossTheBase restores what the base backup has only half: an XA transaction that was prepared
// before it and committed after it. A row of 64 MiB follows.
func TestAcrossTheBase(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), acrossTheBase)
}

func acrossTheBase(t *testing.T, b servertest.Binaries) {
	w := kit.Archived(t, kit.Setup{Binaries: b, Options: []string{"--max-allowed-packet=256M", redo(b)},
		Cluster: []string{"segment: {max_age: 200ms, max_size: 1MiB}", "heartbeat: 1s"},
		SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, b LONGBLOB)", "INSERT INTO d.t VALUES (1, 'before')",
			"XA START 'across'", "INSERT INTO d.t VALUES (2, 'prepared before the base')", "XA END 'across'", "XA PREPARE 'across'"}})
	committed := gtidOf(w, "XA COMMIT 'across'")
	w.Server.Exec("INSERT INTO d.t VALUES (3, REPEAT(RANDOM_BYTES(1024), 65536))")
	sum := w.Server.Query("CHECKSUM TABLE d.t")[0][1]
	end := w.End()

	target := within(t, "restored")
	done(w, "restore", "shop", "--target-dir", target)
	open(w, target, func(all *servertest.Server) {
		if got := all.Query("CHECKSUM TABLE d.t")[0][1]; got != sum {
			t.Errorf("restored %s; the primary has %s", got, sum)
		}
		if got := all.Position(); got != end {
			t.Errorf("restored to %s, not %s", got, end)
		}
	})
	if said := warned(w, "restore", "shop", "--target-dir", target, "--before-gtid", committed); !strings.Contains(said, "prepared") {
		t.Errorf("the report does not name the XA transaction:\n%s", said)
	}
	open(w, target, func(half *servertest.Server) {
		const count = "SELECT COUNT(*) FROM d.t"
		if got := half.Value(count); got != "1" {
			t.Errorf("%s rows before the commit", got)
		}
		half.Exec("XA COMMIT 'across'") // it was left prepared
		if got := half.Value(count); got != "2" {
			t.Errorf("%s rows after it", got)
		}
	})
}
