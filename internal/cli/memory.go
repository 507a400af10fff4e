package cli

import (
	"os"
	"runtime/debug"
)

// enough is what a command takes of memory, in bytes, before its garbage is collected more often than usual.
// A plan for a restore from an archive of a hundred thousand segments fits into it; one of more takes more, and
// then up to twice the time.
const enough = 150 << 20

// beFrugal is for commands that end soon, on machines that are there for something else. GOMEMLIMIT in the
// environment decides otherwise.
func beFrugal() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(enough)
	}
}
