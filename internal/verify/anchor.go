package verify

import (
	"tidemark/internal/catalog"
)

// An archive that loses its end together with the heads that anchor it looks like itself at an earlier
// time. Who archives it knows better.

// anchor returns what is known from elsewhere of a timeline, or nil.
func (v *verifier) anchor(timeline uint32) *catalog.Anchor {
	if a := v.o.Anchor; a != nil && a.Timeline == timeline {
		return a
	}
	return nil
}

// checkAnchor holds a timeline to what is known of it.
func (v *verifier) checkAnchor(c *chain, l *log, a *catalog.Anchor) {
	if a == nil {
		return
	}
	key := catalog.SegmentKey(a.Timeline, a.Segment, a.Segment)
	switch {
	case a.Segment == 0:
	case !c.reached[a.Segment] && !v.covered(a.Timeline, a.Segment) && !v.leftOut(a.Timeline, a.Segment):
		v.add(Damage, key, kindMissing, "the archive reached segment %d, as %s says, and ends at %d now", a.Segment, a.From, c.last)
	case c.reached[a.Segment] && c.digests[a.Segment] != a.Chain:
		v.add(Damage, key, kindInconsistent, "the chain digest after it is not the one that %s has", a.From)
	}
	newest := uint64(0)
	if n := len(l.heads); n > 0 {
		newest = l.heads[n-1]
	}
	if newest < a.Head {
		v.add(Damage, catalog.HeadKey(a.Timeline, a.Head), kindMissing, "the head is missing: %s knows of it, and the newest one is %d", a.From, newest)
	}
}

// checkAnchored finds that the whole timeline is missing of which something is known.
func (v *verifier) checkAnchored() {
	a := v.o.Anchor
	if a == nil || a.Segment == 0 || v.o.Timeline != 0 && v.o.Timeline != a.Timeline || v.found.logs[a.Timeline] != nil {
		return
	}
	v.add(Damage, catalog.TimelineKey(a.Timeline), kindMissing, "%s knows of the timeline up to segment %d, and nothing of it is here", a.From, a.Segment)
}
