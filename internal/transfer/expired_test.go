package transfer

import (
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/storage"
)

// expire records that the first segments of timeline 1 have expired, and removes them.
func expire(t *testing.T, c *catalog.Catalog, through uint64, bases ...string) {
	t.Helper()
	digest, ok, err := c.ChainAt(ctx, 1, through)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	e := &catalog.Expiry{Sequence: 1, Decided: begun, DeleteAfter: begun, Logs: []catalog.ExpiredLog{{Timeline: 1, Through: through, Chain: digest}}, Bases: bases}
	must(t, c.PutExpiry(ctx, e))
	var gone []string
	for l, err := range c.Objects(ctx, "") {
		must(t, err)
		if e.Covers(l.Key) {
			gone = append(gone, l.Key)
		}
	}
	for _, key := range gone {
		must(t, c.Discard(ctx, key))
	}
	verified(t, c)
}

// TestExpired: a copy has what has not expired, and goes on when more expires, here or there.
func TestExpired(t *testing.T) {
	for name, test := range map[string]func(*archive, storage.Store){
		"before":                func(a *archive, _ storage.Store) { expire(t, a.Catalog, 1) },
		"before, with the fork": func(a *archive, _ storage.Store) { expire(t, a.Catalog, 3, "b1") },
		"after": func(a *archive, to storage.Store) {
			a.copied(to, Options{})
			expire(t, a.Catalog, 3, "b1")
		},
		"there": func(a *archive, to storage.Store) {
			a.copied(to, Options{})
			expire(t, open(t, to), 3, "b1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, to := sample(t), empty(t)
			test(a, to)
			a.copied(to, Options{})
			a.more()
			a.copied(to, Options{})
			v, err := open(t, to).Overview(ctx, nil)
			must(t, err)
			one := v.Timelines[0]
			if one.Last != 7 || len(one.Holes) > 0 || len(v.Problems) > 0 || !one.CoveredUntil.Equal(begun.Add(29*time.Minute)) {
				t.Errorf("last %d, holes %v, problems %v, covered until %s", one.Last, one.Holes, v.Problems, one.CoveredUntil)
			}
		})
	}
}
