package failpoint

import (
	"slices"
	"testing"
)

// TestOff: where it is compiled out no step ends anything, whatever the environment says.
func TestOff(t *testing.T) {
	for _, s := range Steps() {
		for _, when := range []string{"before:", "after:"} {
			t.Setenv("TIDEMARK_FAILPOINT", when+string(s)+":1")
			Before(s)
			After(s)
		}
	}
}

// TestSteps: each step has a name of its own.
func TestSteps(t *testing.T) {
	all := slices.Sorted(slices.Values(Steps()))
	if once := slices.Compact(slices.Clone(all)); len(once) != len(all) || once[0] == "" {
		t.Error(all)
	}
}
