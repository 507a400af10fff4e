package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/catalog"
)

// A session can forge the commit time of a MariaDB transaction. So the first transaction that claims
// a time at or after the target's ends the restore only if it is not suspect: later than it can have
// been received, or later than one that follows it and is itself in line with what came before.
const (
	tolerance = time.Minute
	nearby    = time.Hour // suspects this close to the stop are named
	lookahead = 1000      // following transactions that are asked whether one is suspect
	mostNamed = 20
)

// suspect is a transaction that would have ended the restore, had its time been believed.
type suspect struct {
	transaction *Transaction
	received    bool // later than its receipt; else, than what follows it
}

// findTime finds the first transaction at or after a time. It reads only the segments that claim to
// hold one, and of those behind it only the manifests, unless they contradict it.
func (h *history) findTime(ctx context.Context, t Target) (*found, error) {
	j := &judge{target: t.time}
	skipped, scan := -1, 0 // the first segment that was not read; up to where all must be
	for i := 0; i < len(h.segments) && !j.settled(lookahead); i++ {
		s := h.segments[i]
		if s.Transactions == 0 {
			continue
		}
		if len(j.open) > 0 && i >= scan {
			if j.follow(s.Commit, s.Transactions); len(j.open) > 0 {
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
		if s.Commit.Max.Before(t.time) || h.forged(j, i) {
			j.pass(s.Commit.First)
			j.pass(s.Commit.Last)
		} else if err := h.judgeSegment(ctx, j, i); err != nil {
			return nil, err
		}
	}
	f := &found{passed: j.passed, hidden: j.hidden}
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

// forged reports whether everything that the segment with the index claims to hold at or after the
// target is suspect, by its manifest and those that follow, and too far from the target to be named.
func (h *history) forged(j *judge, i int) bool {
	before := j.trusted()
	if before.IsZero() || before.After(j.target.Add(-nearby)) {
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

// judgeSegment shows a segment's transactions to the judge, until that has found the one that ends
// the restore.
func (h *history) judgeSegment(ctx context.Context, j *judge, i int) error {
	s := h.segments[i]
	for tx, err := range transactions(ctx, h.c, s, nil) {
		if err != nil {
			return err
		}
		j.see(tx, spot{i, tx.start}, latest(member(s, tx.start)))
		if j.settled(lookahead) {
			break
		}
	}
	return nil
}

// latest is the latest commit time that a transaction of a member can have; zero if unknown.
func latest(m catalog.Member) time.Time {
	if !m.Live || m.ReceivedLast.IsZero() {
		return time.Time{}
	}
	return m.ReceivedLast.Add(tolerance)
}

// contradicts reports whether a transaction that follows one of time t shows by its own time that t
// is too late; before is the time that was trusted before t.
func contradicts(following, t, before time.Time) bool {
	return following.Before(t.Add(-tolerance)) && !following.Before(before.Add(-tolerance))
}

// judge sees transactions in log order and finds the first one that is at or after the target and
// not suspect. Transactions at or after the target are open until enough following ones have not
// contradicted them.
type judge struct {
	target time.Time
	recent []time.Time // of the last transactions that were passed
	open   []candidate
	passed []suspect
	hidden int
}

// candidate is a transaction that may end the restore.
type candidate struct {
	spot
	transaction *Transaction
	before      time.Time // trusted before it
	seen        int       // following ones that did not contradict it
}

// see shows the next transaction.
func (j *judge) see(tx transaction, s spot, latest time.Time) {
	j.hear(tx.time)
	if tx.time.Before(j.target) {
		j.trust(tx.time)
		return
	}
	c := candidate{spot: s, transaction: describe(tx), before: j.trusted()}
	if !latest.IsZero() && tx.time.After(latest) {
		j.dismiss(c, true)
		return
	}
	j.open = append(j.open, c)
}

// pass shows the time of a transaction that is known not to end the restore.
func (j *judge) pass(t time.Time) {
	j.hear(t)
	if t.Before(j.target) {
		j.trust(t)
	}
}

// follow shows the times of the transactions of a segment behind those still open.
func (j *judge) follow(r catalog.TimeRange, transactions uint64) {
	j.hear(r.First)
	j.hear(r.Min)
	j.hear(r.Last)
	if len(j.open) > 0 {
		j.open[0].seen += int(transactions)
	}
}

// hear asks a time what it says about those still open.
func (j *judge) hear(t time.Time) {
	j.open = slices.DeleteFunc(j.open, func(c candidate) bool {
		if contradicts(t, c.transaction.Time, c.before) {
			j.dismiss(c, false)
			return true
		}
		return false
	})
	if len(j.open) > 0 {
		j.open[0].seen++
	}
}

func (j *judge) dismiss(c candidate, received bool) {
	switch {
	case c.before.Before(j.target.Add(-nearby)) && !c.before.IsZero():
	case len(j.passed) == mostNamed:
		j.hidden++
	default:
		j.passed = append(j.passed, suspect{c.transaction, received})
	}
}

// trust remembers a time. A few of them make up for one that is wrong.
func (j *judge) trust(t time.Time) {
	const few = 5
	if len(j.recent) == few {
		j.recent = append(j.recent[:0], j.recent[1:]...)
	}
	j.recent = append(j.recent, t)
}

// trusted is the time that the last transactions agree on; zero before the first.
func (j *judge) trusted() time.Time {
	if len(j.recent) == 0 {
		return time.Time{}
	}
	sorted := slices.SortedFunc(slices.Values(j.recent), time.Time.Compare)
	return sorted[len(sorted)/2]
}

// settled reports whether the first open transaction ends the restore: so many that follow did not
// contradict it.
func (j *judge) settled(enough int) bool { return len(j.open) > 0 && j.open[0].seen >= enough }
