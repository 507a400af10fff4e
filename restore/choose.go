package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// chosen is the base backup that a restore starts from.
type chosen struct {
	base     *catalog.Base
	i        int         // index of the segment in which its position lies
	offset   uint64      // in that segment's source file: where the log is applied from
	position *gtid.State // of the base; MySQL: all that it holds at least
	unlogged *gtid.State // of the base, and in no log; MySQL: all that it may hold
	before   uint64      // transactions of that segment that it holds already
}

// prefer makes a base backup the first to be tried; the others follow, the newest first.
func (h *history) prefer(id string) {
	h.preferred = slices.IndexFunc(h.bases, func(b *catalog.Base) bool { return id != "" && b.ID == id })
}

// basesToTry are the indexes of the base backups in the order in which they are tried.
func (h *history) basesToTry() iter.Seq[int] {
	return func(yield func(int) bool) {
		if h.preferred >= 0 && !yield(h.preferred) {
			return
		}
		for k := len(h.bases) - 1; k >= 0; k-- {
			if k != h.preferred && !yield(k) {
				return
			}
		}
	}
}

var errTooEarly = errors.New("it is before the first point that can be restored")

// chooseBase returns the newest base backup that holds nothing behind the stop, which lies in the
// segment with the index i, with nothing of the log missing between them.
func (h *history) chooseBase(ctx context.Context, t Target, i int, stop *surroundings) (*chosen, error) {
	if h.chosen != nil {
		return h.chosen, nil
	}
	if h.c.Cluster.Flavor == gtid.MySQL {
		return h.chooseMySQL(t, i, stop)
	}
	why := errTooEarly
	if len(h.bases) == 0 {
		why = errors.New("there is no base backup")
	}
	var across error // from the newest of the base backups between which and the stop a barrier lies
	for k := range h.basesToTry() {
		b := h.bases[k]
		n, ok := h.find(b.Timeline, b.Segment)
		if !ok || h.stretchOf(n).first != h.stretchOf(i).first {
			continue
		}
		// Events that are no transactions may lie between a stop and a base that are the same point.
		if n > i && stop.before+h.transactionsOf(i+1, n) != h.segments[i].Transactions {
			continue
		}
		c, err := h.checkBase(ctx, b, n)
		if err != nil {
			return nil, err
		}
		if n > i && c.before > 0 || n == i && c.before > stop.before {
			continue
		}
		if t.kind == toTime && t.time.Before(b.Consistent) && c.before+h.transactionsOf(h.stretchOf(n).first, n) == 0 {
			// No transaction before it tells what there was at that time.
			why = fmt.Errorf("%w: base backup %s, with which that log begins, is of %s", errTooEarly, b.ID,
				b.Consistent.UTC().Format(time.RFC3339Nano))
			continue
		}
		if b, s := h.barrierBetween(c.i, c.offset, spot{i, stop.boundary}); b != nil {
			if across == nil {
				across = h.atBarrier(t, c.base, b, s)
			}
			continue
		}
		return c, nil
	}
	if across != nil {
		return nil, across
	}
	return nil, h.unreachable(t, h.before(i, why))
}

// transactionsOf counts the transactions of the segments from one index up to, but without, another.
func (h *history) transactionsOf(from, to int) (n uint64) {
	for _, s := range h.segments[from:to] {
		n += s.Transactions
	}
	return n
}

// checkBase compares what a base backup says of its position with the log there, in the segment with
// the index.
func (h *history) checkBase(ctx context.Context, b *catalog.Base, i int) (*chosen, error) {
	s := h.segments[i]
	wrong := func(err error) error {
		return fault.New(fault.Integrity, "use base backup", b.ID, err).
			WithHint("Run `tidemark verify`, and choose a target before this base backup, or take a new one.")
	}
	if s.Source.File != b.Source.File || b.Source.Offset < s.Source.Start || b.Source.Offset > s.Source.End {
		return nil, wrong(fmt.Errorf("it was taken at %s, segment %s goes from %s to %s", b.Source, s.Name(), s.Source.StartPoint(), s.Source.EndPoint()))
	}
	if b.Engine != engineMariaDB {
		return nil, unknownEngine(b)
	}
	pos, err := h.position(b.PositionMax)
	if err != nil {
		return nil, err
	}
	a, err := h.around(ctx, s, b.Source.Offset)
	if err != nil {
		return nil, err
	}
	if a.inside {
		return nil, wrong(fmt.Errorf("it was taken at %s, which is inside transaction %s", b.Source, a.next.GTID))
	}
	if len(b.PositionMax.State) == 0 && len(s.Stored.Recipients) > 0 {
		pos.Advance(a.position) // when the backup was taken, nobody could look into the segment
	}
	if !pos.Covers(a.position) {
		return nil, wrong(fmt.Errorf("it was taken at GTID position %s, and the log at %s is at %s", orNone(pos.String()), b.Source, a.position))
	}
	return &chosen{base: b, i: i, offset: b.Source.Offset, position: pos, unlogged: pos.Without(a.position), before: a.before}, nil
}
