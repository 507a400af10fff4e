package daemon

import (
	"testing"

	"tidemark/internal/gtid"
)

// TestContinues: behind a torn file nothing may be missing, and one domain may be listed as it was earlier.
func TestContinues(t *testing.T) {
	for _, c := range []struct {
		reached, begins string
		want            bool
	}{
		{"0-7-10,1-7-20", "1-7-20,0-7-10", true},
		{"0-7-10,1-7-20", "1-7-20,0-7-3", true},
		{"0-7-10,1-7-20", "1-7-2,0-7-3", false},   // two domains
		{"0-7-10,1-7-20", "1-7-20,0-7-11", false}, // something is missing
		{"0-7-10,1-7-20", "1-7-21,0-7-3", false},  // the same
		{"0-7-10,1-7-20", "1-7-20", false},        // a domain is gone
		{"0-7-10", "0-7-10,1-7-1", false},         // one is new
		{"0-7-10", "0-8-3", false},                // another server's
		{"0-7-10", "", false},
	} {
		reached, err := gtid.ParseList(c.reached)
		if err != nil {
			t.Fatal(err)
		}
		got, err := continues(gtid.NewState(reached), c.begins)
		if err != nil || got != c.want {
			t.Errorf("received up to %s, and a file begins at %q: %v, %v", c.reached, c.begins, got, err)
		}
	}
}
