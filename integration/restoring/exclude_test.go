package restoring

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestExclude: what is left out has done nothing on the restored server, all else has, and the position
// is that of the whole log.
func TestExclude(t *testing.T) { kit.Each(t, "", kit.Servers(2), exclude) }

func exclude(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20))",
		"CREATE TABLE shop.kept (id INT PRIMARY KEY)")
	w.Server.Exec("INSERT INTO shop.t (what) VALUES ('first')")
	gone := []string{
		gtidOf(w, "BEGIN", "INSERT INTO shop.t (what) VALUES ('wrong 1'), ('wrong 2')", "DELETE FROM shop.t WHERE what = 'first'", "COMMIT"),
		gtidOf(w, "INSERT INTO shop.t (what) VALUES ('wrong 3')"),
		gtidOf(w, "DROP TABLE shop.kept"),
	}
	w.Server.Exec("INSERT INTO shop.t (what) VALUES ('last')")
	xa := gtidOf(w, "XA START 'x'", "INSERT INTO shop.t (what) VALUES ('xa')", "XA END 'x'", "XA PREPARE 'x'")
	other := w.Server.Conn()
	kit.Until(t, time.Minute, "the server notices that the session ended, and another one can commit", func() bool {
		_, err := other.Execute("XA COMMIT 'x'")
		return err == nil
	})
	end := w.End()

	target := within(t, "restored into 'this'") // as a path may be
	args := []string{"restore", "shop", "--target-dir", target}
	for _, g := range gone {
		args = append(args, "--exclude-gtid", g)
	}
	w.Refused(fault.Usage.ExitCode(), args...)
	args = append(args, "--force")
	if said := w.Refused(fault.Usage.ExitCode(), append(slices.Clone(args), "--exclude-gtid", xa)...); !strings.Contains(said, "XA") {
		t.Errorf("an XA transaction:\n%s", said)
	}
	said := warned(w, args...)
	for _, g := range gone {
		if !strings.Contains(said, "transaction "+g) {
			t.Errorf("%s is not warned of:\n%s", g, said)
		}
	}
	open(w, target, func(again *servertest.Server) {
		if got := again.Value("SELECT GROUP_CONCAT(what ORDER BY id) FROM shop.t"); got != "first,last,xa" {
			t.Errorf("shop.t holds %s", got)
		}
		if got := again.Value("SELECT COUNT(*) FROM shop.kept"); got != "0" {
			t.Errorf("shop.kept holds %s rows", got)
		}
		if got, err := again.AppliedPosition(); err != nil || got != end {
			t.Errorf("at %s, expected %s, %v", got, end, err)
		}
	})
}
