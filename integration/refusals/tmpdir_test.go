package refusals

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestNoTMPDIR: that the directory of TMPDIR is missing is said by a restore, before it fetches anything, and hinders nothing else.
func TestNoTMPDIR(t *testing.T) { kit.Each(t, "", kit.Servers(1), noTMPDIR) }

func noTMPDIR(t *testing.T, b servertest.Binaries) {
	w := kit.Archived(t, kit.Setup{Binaries: b, SQL: []string{"CREATE DATABASE d"}})
	w.End()
	target := filepath.Join(t.TempDir(), "restored")
	for _, c := range []struct {
		args  []string
		code  int
		words string
	}{
		{[]string{"restore", "shop", "--target-dir", target}, fault.Usage.ExitCode(), "or unset TMPDIR"},
		{[]string{"restore", "shop", "--target-dir", target, "--dry-run"}, fault.Usage.ExitCode(), "or unset TMPDIR"},
		{[]string{"verify", "shop", "--data"}, 0, "all is well"},
		{[]string{"backup", "shop"}, 0, "base backup"},
	} {
		if c.args[0] == "backup" {
			w.Start() // whose log must reach it
		}
		cmd := w.Command(c.args...)
		cmd.Env = append(cmd.Environ(), "TMPDIR=/none/there")
		out, err := cmd.CombinedOutput()
		if kit.ExitCode(err) != c.code || !strings.Contains(string(out), c.words) {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
	}
	if _, err := os.Stat(target); err == nil {
		t.Errorf("%s is there", target)
	}
}
