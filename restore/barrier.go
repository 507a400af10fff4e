package restore

import (
	"context"
	"fmt"
	"slices"

	"tidemark/internal/barrier"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// A barrier in the log is what no server can replay (see package barrier). So a base backup serves a target only if none
// lies between them. Archives of before do not name theirs: such a one is met when the log is read.

// barrierBetween returns the first barrier between a place in the segment with one index and a stop, and that segment.
func (h *history) barrierBetween(i int, offset uint64, stop spot) (*catalog.Barrier, *catalog.Segment) {
	for k := i; k <= stop.i; k++ {
		s := h.segments[k]
		for n := range s.Barriers {
			b := &s.Barriers[n]
			before, behind := k == i && b.Offset < offset, k == stop.i && b.Offset >= stop.offset
			if !before && !behind && b.Offset < s.Source.End && !h.isLeftOut(b) {
				return b, s
			}
		}
	}
	return nil, nil
}

func (h *history) isLeftOut(b *catalog.Barrier) bool {
	g, err := gtid.Parse(b.GTID)
	return err == nil && h.leftOut[g]
}

// atBarrier refuses a restore across a barrier, and says what can be restored on both its sides.
func (h *history) atBarrier(t Target, base *catalog.Base, b *catalog.Barrier, s *catalog.Segment) error {
	place := binlog.Point{File: s.Source.File, Offset: b.Offset}
	err := fmt.Errorf("no server can get past what lies at %s, between base backup %s and the target: %s", place, base.ID, describeBarrier(b.What, b.GTID))
	return fault.New(fault.Unreachable, "plan a restore to", t.String(), err).WithHint(besideBarrier(h.bases, b, s))
}

// describeBarrier is what a barrier says, with its GTID if it has one.
func describeBarrier(what, gtid string) string {
	if gtid == "" {
		return what
	}
	return what + ", of transaction " + gtid
}

// besideBarrier says what can be restored before a barrier and behind it.
func besideBarrier(bases []*catalog.Base, b *catalog.Barrier, s *catalog.Segment) string {
	before := "--to-position " + binlog.Point{File: s.Source.File, Offset: b.Offset}.String()
	if b.GTID != "" {
		before = "--before-gtid " + b.GTID
	}
	behind := "There is no base backup behind it yet: take one with `tidemark backup`."
	for _, base := range bases {
		if b.HeldBy(base, s) {
			behind = fmt.Sprintf("What came behind it can be restored from base backup %s on, of %s.", base.ID, stamp(base.Consistent))
			break
		}
	}
	return fmt.Sprintf("Restore to before it, with %s. %s", before, behind)
}

// meetBarrier refuses to go on at an event that no server can apply.
func (f *feed) meetBarrier(ctx context.Context, ev *binlog.Event, body []byte) error {
	if !ev.First || f.skipping || f.hollow || f.holds() || f.plan.excluded[f.pending] {
		return nil
	}
	kind, what := barrier.Find(ev, body)
	if kind == "" {
		return nil
	}
	b := &catalog.Barrier{Kind: string(kind), Offset: ev.Offset, Time: ev.Time(), What: what}
	if ev.Open || ev.End {
		b.GTID = f.pending.String()
	}
	place := binlog.Point{File: f.segment.Source.File, Offset: ev.Offset}
	hint := besideBarrier(f.basesNow(ctx), b, f.segment)
	if f.plan.following != nil {
		hint = "Open the standby before it, or make another from a base backup behind it. " + hint
	}
	return fault.New(fault.Unreachable, "apply the log", "", fmt.Errorf("no server can get past what lies at %s: %s", place, describeBarrier(what, b.GTID))).WithHint(hint)
}

// basesNow are the base backups of the history of the plan's timeline, ascending by place: also those that were taken since it was made.
func (f *feed) basesNow(ctx context.Context) []*catalog.Base {
	h := &history{c: f.c}
	lineage, err := f.c.Lineage(ctx, f.plan.Timeline)
	if err == nil {
		err = h.readBases(ctx, lineage)
	}
	if err != nil {
		return nil // it is only for a hint
	}
	return slices.DeleteFunc(h.bases, func(b *catalog.Base) bool { // what a timeline was left before
		for i, t := range lineage[1:] {
			if b.Timeline == t.Number {
				return b.Segment >= lineage[i].ParentSegment
			}
		}
		return false
	})
}
