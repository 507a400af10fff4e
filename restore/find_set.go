package restore

import (
	"context"
	"fmt"

	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// findSet finds the point of MySQL's log at which it holds exactly a set; of a set of one transaction,
// the point after that.
func (h *history) findSet(ctx context.Context, t Target) (spot, error) {
	if t.set.Count() == 1 {
		_, end, err := h.locateOne(ctx, t)
		return end, err
	}
	set, err := h.logged(t.set)
	if err != nil {
		return spot{}, err
	}
	t.set = set
	for i, s := range h.segments {
		after, err := h.position(s.After)
		if err != nil {
			return spot{}, err
		}
		if after.Set().ContainsSet(t.set) {
			return h.findSetIn(ctx, t, i)
		}
	}
	if h.broken != nil {
		return spot{}, h.broken
	}
	last, err := h.position(h.last().After)
	if err != nil {
		return spot{}, err
	}
	missing := t.set.Clone()
	missing.Subtract(last.Set())
	return spot{}, h.unreachable(t, fmt.Errorf("the archived log has no %s", missing))
}

// findSetIn looks in the first segment at whose end all of the set is there.
func (h *history) findSetIn(ctx context.Context, t Target, i int) (spot, error) {
	s := h.segments[i]
	pos, err := h.position(s.Before)
	if err != nil {
		return spot{}, err
	}
	if r := h.stretchOf(i); i == r.first && pos.Set().ContainsSet(t.set) {
		if pos.Set().Equal(t.set) {
			return spot{i, s.Source.Start}, nil
		}
		return spot{}, h.unreachable(t, fmt.Errorf("the archived log begins later, at %s", pos))
	}
	for tx, err := range transactions(ctx, h.c, s, pos) {
		if err != nil {
			return spot{}, err
		}
		at := pos.Clone()
		at.Add(tx.gtid)
		switch {
		case !at.Set().ContainsSet(t.set):
		case at.Set().Equal(t.set):
			return spot{i, tx.end}, nil
		default:
			more := at.Set().Clone()
			more.Subtract(t.set)
			return spot{}, h.unreachable(t, fmt.Errorf("the log was never exactly there: when it had all of that, it had %s as well", more))
		}
	}
	return spot{}, h.unreachable(t, fmt.Errorf("segment %s does not hold what its manifest says", s.Name()))
}

// locateOne finds the one transaction that a target names: the points before and after it.
func (h *history) locateOne(ctx context.Context, t Target) (before, after spot, err error) {
	for i, s := range h.segments {
		has, err := h.brings(s, t.set)
		if err != nil {
			return before, after, err
		}
		if !has {
			continue
		}
		for tx, err := range transactions(ctx, h.c, s, nil) {
			if err != nil {
				return before, after, err
			}
			one := new(gtid.Set)
			one.Add(tx.gtid)
			if one.Equal(t.set) {
				return spot{i, tx.start}, spot{i, tx.end}, nil
			}
		}
	}
	if h.broken != nil {
		return before, after, h.broken
	}
	return before, after, h.unreachable(t, fmt.Errorf("transaction %s is not in the archived log, which goes from %s to %s", t.set,
		orNone(h.segments[0].Before.GTID), orNone(h.last().After.GTID)))
}

// brings reports whether a set is there behind a segment and not before it.
func (h *history) brings(s *catalog.Segment, set *gtid.Set) (bool, error) {
	after, err := h.position(s.After)
	if err != nil || !after.Set().ContainsSet(set) {
		return false, err
	}
	before, err := h.position(s.Before)
	// Before the first file of an archive only the file itself says what was there.
	return err == nil && (s.Before.GTID == "" || !before.Set().ContainsSet(set)), err
}
