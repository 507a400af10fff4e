package archiver

import (
	"context"
	"slices"

	"go.uber.org/zap"

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

// barrierAfter returns the newest barrier that the archive names behind a segment, which our record does not have: a crash came
// before it, or another spool was used. What is before the newest base backup is of no interest. Damage does not end the
// archiver: verify names it.
func (a *Archiver) barrierAfter(ctx context.Context, archived uint64) (newest *Barrier) {
	from := archived + 1
	bases, err := a.o.Catalog.Bases(ctx)
	for _, b := range bases {
		if b.Timeline == a.o.Timeline {
			from = max(from, b.Segment)
		}
	}
	if err == nil {
		for s, serr := range a.o.Catalog.Segments(ctx, a.o.Timeline, from) {
			if err = serr; err != nil {
				break
			}
			if n := len(s.Barriers); n > 0 {
				newest = &Barrier{Barrier: s.Barriers[n-1], Timeline: s.Timeline, Segment: s.Last}
			}
		}
	}
	if err != nil {
		a.o.Log.Warn("cannot tell whether the archive holds what no restore gets past", zap.Error(err))
	}
	return newest
}

// nameless are barriers without the names that they bear, for the plain manifests of an encrypted archive.
func nameless(list []catalog.Barrier) []catalog.Barrier {
	list = slices.Clone(list)
	for i := range list {
		list[i].What = "an " + list[i].Kind + ", which the encrypted log tells more of"
	}
	return list
}
