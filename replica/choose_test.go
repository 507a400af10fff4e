package replica

import (
	"errors"
	"slices"
	"testing"
)

// TestRank: of several hosts the primary is chosen, of several that look like one the one that replicates from nobody,
// then the one of before; and none that takes no writes or lacks what is archived, whatever speaks for it.
func TestRank(t *testing.T) {
	const last = 7
	host := func(id uint32, change func(*candidate)) *candidate {
		h := &candidate{server: &Server{ID: id}}
		if change != nil {
			change(h)
		}
		return h
	}
	replica := func(h *candidate) { h.replicates = true }
	readOnly := func(h *candidate) { h.server.ReadOnly = true }
	lacking := func(h *candidate) { h.lacks = "0-1-9" }
	dead := func(h *candidate) { h.server, h.err = nil, errors.New("connection refused") }
	for _, c := range []struct {
		what string
		all  []*candidate
		any  bool
		want int // index; -1: none is fit
	}{
		{"the one of before", []*candidate{host(8, nil), host(last, nil)}, false, 1},
		{"the first, where that is gone", []*candidate{host(8, nil), host(9, nil), host(last, dead)}, false, 0},
		{"one that does not replicate", []*candidate{host(last, replica), host(8, nil)}, false, 1},
		{"one that replicates, where there is no other", []*candidate{host(8, readOnly), host(9, replica)}, false, 1},
		{"one that has all that is archived", []*candidate{host(last, lacking), host(8, replica)}, false, 1},
		{"none that lacks what is archived", []*candidate{host(last, lacking), host(8, readOnly)}, false, -1},
		{"none that takes no writes", []*candidate{host(last, readOnly)}, false, -1},
		{"one that takes no writes, where any will do", []*candidate{host(8, replica), host(last, readOnly)}, true, 1},
		{"none that lacks what is archived, also where any will do", []*candidate{host(last, lacking)}, true, -1},
	} {
		choice := Choice{LastID: last, Any: c.any}
		best := slices.MinFunc(c.all, func(a, b *candidate) int { return choice.rank(a) - choice.rank(b) })
		got := slices.Index(c.all, best)
		if choice.rank(best) >= unfit {
			got = -1
		}
		if got != c.want {
			t.Errorf("%s: chose %d, want %d", c.what, got, c.want)
		}
	}
}
