package verify

import (
	"context"
	"slices"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/restore/archivetest"
)

// TestAnchor: what is known of the archive from elsewhere shows that its end was lost with all that says so.
func TestAnchor(t *testing.T) {
	for _, test := range []struct {
		name   string
		do     func(*testing.T, *archivetest.Archive, *catalog.Anchor)
		object func(*archivetest.Archive) string // "": nothing is found
	}{
		{"whole", func(*testing.T, *archivetest.Archive, *catalog.Anchor) {}, nil},
		{"nothing is known", func(_ *testing.T, _ *archivetest.Archive, k *catalog.Anchor) { *k = catalog.Anchor{} }, nil},
		{"the archive went on", func(t *testing.T, a *archivetest.Archive, k *catalog.Anchor) {
			k.Segment, k.Chain, k.Head = 3, a.Segments[2].ChainAfter, 1
		}, nil},
		{"end and heads lost", func(t *testing.T, a *archivetest.Archive, _ *catalog.Anchor) {
			for _, s := range a.Segments[3:] {
				remove(t, a, manifest(s))
				remove(t, a, s.Stored.Key)
			}
			remove(t, a, catalog.HeadKey(1, 2))
		}, func(a *archivetest.Archive) string { return manifest(a.Segments[4]) }},
		{"newest head lost", func(t *testing.T, a *archivetest.Archive, _ *catalog.Anchor) {
			remove(t, a, catalog.HeadKey(1, 2))
		}, func(*archivetest.Archive) string { return catalog.HeadKey(1, 2) }},
		{"another archive", func(t *testing.T, a *archivetest.Archive, k *catalog.Anchor) {
			k.Chain = catalog.Digest{1}
		}, func(a *archivetest.Archive) string { return manifest(a.Segments[4]) }},
		{"another timeline", func(t *testing.T, a *archivetest.Archive, k *catalog.Anchor) {
			k.Timeline = 2
		}, func(*archivetest.Archive) string { return catalog.TimelineKey(2) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, _ := sample(t)
			last := a.Segments[4]
			known := &catalog.Anchor{Timeline: 1, Segment: last.Last, Chain: last.ChainAfter, Head: 2, From: "the spool"}
			test.do(t, a, known)
			r, err := Run(context.Background(), a.Catalog, Options{Anchor: known, Clock: clock.System{}})
			if test.object == nil {
				if err != nil || len(r.Findings) > 0 {
					t.Errorf("%v, %+v", err, r)
				}
				return
			}
			if !fault.Is(err, fault.Integrity) || !slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Object == test.object(a) && f.Severity == Damage
			}) {
				t.Errorf("%v, %+v", err, r)
			}
		})
	}
}
