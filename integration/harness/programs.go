package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tidemark/integration/servertest"
)

// Use lets all that looks for a server's programs find these, until the test ends: tidemark finds
// them in PATH.
func Use(t *testing.T, b servertest.Binaries) {
	t.Helper()
	t.Setenv("PATH", filepath.Dir(b.Mysqld)+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// CountOn is Count, but fewer by default on versions other than the system's, on which all runs.
func CountOn(t testing.TB, b servertest.Binaries, usual, others int) int {
	t.Helper()
	if b.System {
		return Count(t, usual)
	}
	return Count(t, others)
}

// Restored restores all of the cluster shop, and starts a server on the result, which ends with the test.
func Restored(t *testing.T, b servertest.Binaries, tool, cfg, target string) *servertest.Server {
	t.Helper()
	if out, err := exec.Command(tool, "restore", "shop", "--config", cfg, "--target-dir", target).CombinedOutput(); err != nil && ExitCode(err) != 3 {
		t.Fatalf("tidemark restore: %v\n%s", err, out)
	}
	return servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
}

// ExitCode is that of the program whose run ended with err; -1 if it did not come to one.
func ExitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}
