package kit

import (
	"os"
	"strconv"
	"testing"

	"tidemark/integration/kit/servertest"
)

// Count is how often a counted test repeats: TIDEMARK_N (make campaign N=20), or what is good for every day.
func Count(t testing.TB, usual int) int {
	t.Helper()
	v := os.Getenv("TIDEMARK_N")
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TIDEMARK_N=%q is not a count", v)
	}
	return n
}

// CountOn is Count, but fewer by default on versions other than the system's, on which all runs.
func CountOn(t testing.TB, b servertest.Binaries, usual, others int) int {
	t.Helper()
	if b.System {
		return Count(t, usual)
	}
	return Count(t, others)
}
