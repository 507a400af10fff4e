package basebackup

import (
	"strings"
	"testing"

	"tidemark/internal/fault"
)

// TestWhole: a copy with any fault in it is refused, by a word that says what to do about it, and of several the worst.
func TestWhole(t *testing.T) {
	lost, old, torn := []string{"d/lost.frm"}, []string{"d/old.MAI"}, []string{"d/torn.MYD"}
	for what, c := range map[string]struct {
		lost, old, torn []string
		want            string
	}{
		"nothing":             {},
		"a lost table":        {lost: lost, want: "the copy has lost d/lost"},
		"an old log of Aria":  {old: old, want: "the log of Aria does not fit the copy of d/old"},
		"a torn file":         {torn: torn, want: "the copy was made while these were written to: d/torn.MYD"},
		"a lost and a torn":   {lost: lost, torn: torn, want: "has lost"},
		"an old and a torn":   {old: old, torn: torn, want: "does not fit"},
		"all kinds of faults": {lost, old, torn, "has lost"},
	} {
		err := new(MariaDB).whole(&job{tool: "/usr/bin/mariadb-backup"}, c.lost, c.old, c.torn)
		switch {
		case c.want == "":
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), "again"):
			t.Errorf("%s: %v", what, err)
		}
	}
}
