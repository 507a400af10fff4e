package harness

import (
	"os"
	"strconv"
	"testing"
)

// Count is how often a counted test repeats: TIDEMARK_N (make test N=20), or what is good for every day.
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
