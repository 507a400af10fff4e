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

// ExitCode is that of the program whose run ended with err; -1 if it did not come to one.
func ExitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}
