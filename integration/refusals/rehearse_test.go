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

// TestDryRunRefuses: what a restore refuses before it fetches anything, the dry run refuses with the same exit code and words,
// and it changes nothing.
func TestDryRunRefuses(t *testing.T) { kit.Each(t, "", kit.Servers(1), dryRunRefuses) }

func dryRunRefuses(t *testing.T, b servertest.Binaries) {
	w := kit.Archived(t, kit.Setup{Binaries: b, SQL: []string{"CREATE DATABASE d"}})
	w.End()
	dir := t.TempDir()
	full, done := filepath.Join(dir, "full"), filepath.Join(dir, "done")
	if err := os.MkdirAll(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "ibdata1"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Run("restore", "shop", "--target-dir", done)
	fresh := filepath.Join(dir, "fresh")
	for name, c := range map[string]struct {
		args  []string
		kind  fault.Kind
		words string
	}{
		"not empty":       {[]string{"--target-dir", full}, fault.TargetNotEmpty, "it is not empty"},
		"complete":        {[]string{"--target-dir", done}, fault.TargetNotEmpty, "a restore that is complete"},
		"no option file":  {[]string{"--target-dir", fresh, "--defaults-extra-file", dir + "/none.cnf"}, fault.Usage, "none.cnf"},
		"too much memory": {[]string{"--target-dir", fresh, "--memory", "900TiB"}, fault.Usage, "the machine has"},
		"no plugin dir":   {[]string{"--target-dir", fresh, "--plugin-dir", dir + "/none"}, fault.Usage, "/none"},
	} {
		for _, how := range [][]string{nil, {"--dry-run"}} {
			said := w.Refused(c.kind.ExitCode(), append(append([]string{"restore", "shop"}, c.args...), how...)...)
			if !strings.Contains(said, c.words) {
				t.Errorf("%s %v: it does not say %q:\n%s", name, how, c.words, said)
			}
		}
	}
	if said := w.RunTo([]int{0}, "restore", "shop", "--target-dir", fresh, "--dry-run"); !strings.Contains(said, "base backup") {
		t.Errorf("it shows no plan: %s", said)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Errorf("%s is there", fresh)
	}
}
