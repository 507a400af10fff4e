package archiver

import (
	"slices"

	"tidemark/internal/catalog"
)

// Barrier is the newest one in the log, and where it lies.
type Barrier struct {
	catalog.Barrier
	Timeline uint32
	Segment  uint64
}

// HeldBy reports whether a base backup was taken behind it.
func (b *Barrier) HeldBy(base *catalog.Base) bool {
	return b.Barrier.HeldBy(base, &catalog.Segment{Timeline: b.Timeline, First: b.Segment, Last: b.Segment})
}

// noteBarrierLocked keeps the last of a segment's barriers.
func (a *Archiver) noteBarrierLocked(segment uint64, list []catalog.Barrier) {
	if n := len(list); n > 0 {
		a.stats.Barrier = &Barrier{Barrier: list[n-1], Timeline: a.o.Timeline, Segment: segment}
	}
}

// nameless are barriers without the names that they bear, for the plain manifests of an encrypted archive.
func nameless(list []catalog.Barrier) []catalog.Barrier {
	list = slices.Clone(list)
	for i := range list {
		list[i].What = "an " + list[i].Kind + ", which the encrypted log tells more of"
	}
	return list
}
