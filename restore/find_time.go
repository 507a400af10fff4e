package restore

import (
	"context"
	"fmt"
	"time"

	"tidemark/internal/catalog"
)

// findTime finds the first transaction at or after a time, as a judge sees it. It reads only the segments that may
// hold it, and of the others only the manifests, unless they contradict it.
func (h *history) findTime(ctx context.Context, t Target) (*found, error) {
	w := &timeSearch{h: h, judge: &judge{target: t.time}, receipts: h.receipts()}
	if err := w.search(ctx); err != nil {
		return nil, err
	}
	j := w.judge
	f := &found{said: j.said(), hidden: j.hidden, early: j.early, unread: w.unread}
	for k := range f.said {
		if s := &f.said[k]; s.transaction == nil { // of a segment that was not read
			a, err := h.around(ctx, h.segments[s.i], s.offset)
			if err != nil {
				return nil, err
			}
			s.transaction = a.last
		}
	}
	if j.settled(0) {
		f.spot = h.beforeHole(t.time, j.open[0].spot)
		return f, nil
	}
	if h.broken != nil {
		return nil, h.broken
	}
	if covered := h.coveredUntil(); t.time.After(covered) && !t.open {
		why := fmt.Errorf("the archive does not reach it: it is not known to hold everything up to any time")
		if !covered.IsZero() {
			why = fmt.Errorf("the archive does not reach it: it holds everything up to %s", covered.UTC().Format(time.RFC3339Nano))
		}
		return nil, h.unreachable(t, why)
	}
	f.spot = spot{len(h.segments) - 1, h.last().Source.End}
	return f, nil
}

// timeSearch is a search for a time, segment by segment.
type timeSearch struct {
	h        *history
	judge    *judge
	receipts []time.Time // of each segment, at the latest; zero: not known
	unread   []unread
}

// unread is a segment that holds transactions that claim a time at or after the target, and that was not read.
type unread struct {
	segment *catalog.Segment
	proven  bool // it was received before the target
}

func (w *timeSearch) search(ctx context.Context) error {
	h, j := w.h, w.judge
	skipped, scan := -1, 0 // the first segment that was not read; up to where all must be
	for i := 0; i < len(h.segments) && !j.settled(lookahead); i++ {
		s := h.segments[i]
		if s.Transactions == 0 {
			continue
		}
		first, last := w.claims(i)
		if len(j.open) > 0 && i >= scan {
			if j.follow(first, last, s.Commit.Min, s.Transactions); len(j.open) > 0 {
				if skipped < 0 {
					skipped = i
				}
				continue
			}
			if skipped >= 0 { // what ends the restore may lie in them after all
				i, skipped, scan = skipped-1, -1, i
				continue
			}
		}
		if w.needless(i) {
			j.skip(first, last, s.Commit.Max, spot{i, s.Source.End})
		} else if err := w.read(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// needless reports whether the manifests tell that the segment with the index does not hold what ends the restore,
// and nothing that is to be named but by the segment itself.
func (w *timeSearch) needless(i int) bool {
	s, j := w.h.segments[i], w.judge
	received, late := w.receipts[i], !s.Commit.Max.Before(j.target)
	switch {
	case !received.IsZero() && received.Before(j.target.Add(-nearby)):
		if late {
			w.unread = append(w.unread, unread{s, true})
		}
		return true
	case late && w.forged(i):
		w.unread = append(w.unread, unread{s, false})
		return true
	case late:
		return false
	}
	// All its claims are before the target; some may be worth nothing.
	if _, last := w.claims(i); last.agrees() && !last.closely() && !received.Before(j.target) {
		return false
	}
	return j.lo.IsZero() || received.Before(j.target) || !s.Commit.Min.Before(j.lo.Add(-tolerance))
}

// forged reports whether everything that the segment with the index claims to hold at or after the
// target is contradicted, by its manifest and those that follow, and too far from the target to be named.
func (w *timeSearch) forged(i int) bool {
	h, j := w.h, w.judge
	before := j.reachedBefore()
	if before.IsZero() || before.After(j.target.Add(-nearby)) {
		return false
	}
	if first, last := w.claims(i); first.agrees() || last.agrees() {
		return false
	}
	for _, s := range h.segments[i+1 : min(len(h.segments), i+1+lookahead/2)] {
		for _, t := range []time.Time{s.Commit.First, s.Commit.Last} {
			if s.Transactions > 0 && contradicts(t, j.target, before) {
				return true
			}
		}
	}
	return false
}

// read shows a segment's transactions to the judge, until that has found the one that ends the restore.
func (w *timeSearch) read(ctx context.Context, i int) error {
	s := w.h.segments[i]
	for tx, err := range transactions(ctx, w.h.c, s, nil) {
		if err != nil {
			return err
		}
		w.judge.see(w.claim(i, member(s, tx.start), tx.time), spot{i, tx.start}, func() *Transaction { return describe(tx) })
		if w.judge.settled(lookahead) {
			break
		}
	}
	return nil
}

// claims are those of the first and the last transaction of the segment with the index.
func (w *timeSearch) claims(i int) (first, last commitClaim) {
	s := w.h.segments[i]
	return w.claim(i, s.Members[0], s.Commit.First), w.claim(i, s.Members[len(s.Members)-1], s.Commit.Last)
}

// claim is a commit time in a member of the segment with the index.
func (w *timeSearch) claim(i int, m catalog.Member, t time.Time) commitClaim {
	c := commitClaim{time: t, first: m.ReceivedFirst, last: m.ReceivedLast}
	if most := w.receipts[i]; c.last.After(most) {
		c.last = most
	}
	if c.first.IsZero() || c.last.IsZero() {
		return commitClaim{time: t}
	}
	if c.first.After(c.last) {
		c.first = c.last
	}
	return c
}

// receipts says of each segment when it was received at the latest: before what follows it, should the archiver's
// clock have been ahead for a while.
func (h *history) receipts() []time.Time {
	list := make([]time.Time, len(h.segments))
	var least time.Time
	for i := len(list) - 1; i >= 0; i-- {
		s := h.segments[i]
		if t := s.ReceivedLast(); !t.IsZero() && s.Transactions > 0 {
			if least.IsZero() || t.Before(least) {
				least = t
			}
			list[i] = least
		}
	}
	return list
}

// beforeHole moves a spot with which the log begins again behind a hole to the end of what is before it,
// if that is known to be all there was until the target.
func (h *history) beforeHole(target time.Time, s spot) spot {
	for k, r := range h.stretches {
		if k > 0 && s.i >= r.first && s.i < r.end && h.transactionsOf(r.first, s.i) == 0 && !target.After(h.stretches[k-1].covered) {
			last := h.stretches[k-1].end - 1
			return spot{last, h.segments[last].Source.End}
		}
	}
	return s
}
