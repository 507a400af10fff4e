package restore

import (
	"context"
	"io"
	"iter"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// transaction is one that its server finished.
type transaction struct {
	gtid       gtid.GTID
	time       time.Time // commit time
	start, end uint64    // offsets in the source file
	what       *summary  // valid until the next transaction
	xa         bool      // it is prepared, or ends one that was
	xaEnd      bool      // it ends one
}

// transactions reads a segment and yields its transactions in log order. It ends with the first
// error. Having read to the end it has checked every byte; a consumer may stop earlier. pos, unless
// nil, must be the position before the segment; it is kept at that before the transaction in hand.
func transactions(ctx context.Context, c *catalog.Catalog, s *catalog.Segment, pos *gtid.State) iter.Seq2[transaction, error] {
	return func(yield func(transaction, error) bool) {
		r, err := c.OpenSegment(ctx, s)
		if err != nil {
			yield(transaction{}, err)
			return
		}
		defer r.Close()
		var tx transaction
		var what summary
		for {
			ev, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(transaction{}, err)
				return
			}
			switch {
			case ev.Head || !ev.First && !ev.Last, ev.Offset >= s.Source.End: // the segment may be cut
				continue
			case ev.First && ev.Begin:
				tx = transaction{gtid: ev.GTID, time: ev.CommitTime(), start: ev.Offset, what: &what}
				what.reset()
			case ev.First && (ev.Open || ev.End):
				what.observe(ev.Type, r.Body(ev))
				tx.xa = tx.xa || ev.End && endsXA(ev.Type, r.Body(ev))
				tx.xaEnd = tx.xaEnd || tx.xa && ev.Type == binlog.TypeQuery
			case pos != nil && ev.First:
				listed, err := binlog.ListedState(ev, r.Body(ev))
				if err != nil {
					yield(transaction{}, fault.New(fault.Integrity, "read segment "+s.Name()+" in", s.Stored.Key, err))
					return
				}
				if listed != nil {
					pos.Follow(listed)
				}
			}
			if ev.Last && ev.End {
				tx.end = ev.EndOffset()
				if !yield(tx, nil) {
					return
				}
				if pos != nil {
					pos.Add(tx.gtid)
				}
			}
		}
	}
}

// surroundings are what lies around a place in a segment.
type surroundings struct {
	boundary uint64       // the end of the last transaction before the place, or the segment's start
	position *gtid.State  // there
	before   uint64       // transactions of the segment before it
	last     *Transaction // the last of them
	next     *Transaction // the first of the segment after it
	inside   bool         // the place lies inside the next one
}

// around reads a segment as far as needed to say what lies around an offset in it.
func (h *history) around(ctx context.Context, s *catalog.Segment, offset uint64) (*surroundings, error) {
	pos, err := h.position(s.Before)
	if err != nil {
		return nil, err
	}
	a := &surroundings{boundary: s.Source.Start, position: pos}
	var last transaction
	var what summary
	for tx, err := range transactions(ctx, h.c, s, pos) {
		if err != nil {
			return nil, err
		}
		if tx.end > offset {
			a.next, a.inside = describe(tx), tx.start < offset
			break
		}
		a.boundary = tx.end
		a.before++
		what.set(tx.what)
		last = tx
	}
	if a.before > 0 {
		last.what = &what
		a.last = describe(last)
	}
	return a, nil
}
