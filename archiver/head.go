package archiver

import (
	"context"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// headLoop writes a head whenever anything changed, at most every HeadAge.
func (a *Archiver) headLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.o.Clock.After(a.o.HeadAge):
		}
		err := a.putHead(ctx)
		if fault.Is(err, fault.Locked) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			a.o.Log.Warn("head not written, trying again", zap.Error(err))
		}
	}
}

// putHead writes a head that anchors the last archived segment and says until when that is all.
func (a *Archiver) putHead(ctx context.Context) error {
	a.mu.Lock()
	covered := a.coveredUntil()
	h := &catalog.Head{Timeline: a.o.Timeline, Segment: a.state.Archived, Chain: a.state.Chain,
		Position: catalog.Position{GTID: a.stats.Archived.GTID}, CoveredUntil: covered, Written: a.o.Clock.Now(),
		Writer: a.state.Writer}
	changed := a.stats.Head == nil || a.stats.Head.Segment != h.Segment || !a.stats.Head.CoveredUntil.Equal(covered)
	a.mu.Unlock()
	if !changed || h.Segment == 0 {
		return nil
	}
	if err := a.sure(ctx); err != nil {
		return err
	}
	if err := a.o.Catalog.PutHead(ctx, h); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Head = h
	next := *a.state
	next.Head = h.Sequence
	if err := next.save(a.o.FS, a.o.Dir); err != nil {
		return a.fail("record a head in", err)
	}
	a.state = &next
	return nil
}

// coveredUntil returns the time, by the primary's clock, up to which nothing is missing behind the
// last archived segment: when the primary last said that it has nothing after it. It never goes
// back.
func (a *Archiver) coveredUntil() time.Time {
	if a.src != nil && len(a.queue) == 0 && (a.open == nil || a.open.tally.body == 0) {
		p, at := a.src.CaughtUp()
		end := a.stats.Archived.Point
		if p.File == end.File && uint32(p.Offset) == uint32(end.Offset) && at.After(a.covered) {
			a.covered = at.Truncate(time.Microsecond)
		}
	}
	return a.covered
}
