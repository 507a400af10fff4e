package restore

import (
	"cmp"
	"slices"
	"time"
)

// A session can forge the commit time of a MariaDB transaction, by SET timestamp, as it does when it replays an
// old log; and a statement that runs for hours has the time at which it began. When an archiver received a
// transaction nobody can forge, and it was committed before that, after all that is before it in the log. So
// of each transaction this is known: what its log claims, and between which times it was received.
//
//   - A claim that agrees with the receipt is believed: the transaction was received as it was committed.
//   - A claim later than the receipt, or earlier than a believed one before it in the log, is not believed.
//     Then the receipt tells: what was received before the target is before it, and what was received after
//     it, as it was committed, is not.
//   - A claim between the two, as of what was archived long after it was committed, is believed unless what
//     follows it in the log contradicts it.
//
// The first transaction that is at or after the target ends the restore. Whatever is applied though it claims to
// be at or after the target, and whatever else cannot be told, is named.
const (
	tolerance = time.Minute      // clocks, and a commit's way to the archiver, may differ by so much
	disorder  = 10 * time.Second // honest transactions are out of order by less
	nearby    = time.Hour        // what claims a time after the target and was received so long before it is counted only
	lookahead = 1000             // following transactions that are asked whether a claim is true
	mostNamed = 20
	mostKept  = mostNamed + 2*lookahead // of which some may turn out not to be applied
)

// commitClaim is what is known of when a transaction was committed.
type commitClaim struct {
	time        time.Time // as its log says
	first, last time.Time // between these the archiver received it, or the segment that it is in; zero: not known
}

// agrees reports whether a claim is that of a transaction received as it was committed.
func (c commitClaim) agrees() bool {
	return !c.last.IsZero() && !c.time.Before(c.first.Add(-tolerance)) && !c.time.After(c.last.Add(tolerance))
}

// closely reports whether a claim agrees with the receipt so well that clocks need not differ.
func (c commitClaim) closely() bool {
	return c.agrees() && !c.time.Before(c.first.Add(-disorder)) && !c.time.After(c.last.Add(disorder))
}

// ahead reports whether a claim is later than the receipt.
func (c commitClaim) ahead() bool { return !c.last.IsZero() && c.time.After(c.last.Add(tolerance)) }

// reason says why something of a time search is named.
type reason int

const (
	receivedBefore    reason = iota + 1 // applied, with a claim at or after the target: it was received before
	receivedAround                      // the same, but it may have been received after the target
	contradicted                        // the same: what follows it contradicts it
	undecided                           // applied, with a claim that is not believed: it may have been committed after the target
	wentBack                            // applied, with what follows it, though the log had reached later times before
	byReceipt                           // not applied, though it claims to be before the target: it was received after it
	followedByEarlier                   // not applied, and what follows it claims to be earlier, or before the target
)

// suspect is a transaction of which a time search has something to say.
type suspect struct {
	spot
	transaction *Transaction
	why         reason
}

// candidate is a transaction that may end the restore.
type candidate struct {
	spot
	transaction *Transaction
	commitClaim
	before  time.Time // the time that the log had reached before it, by what was believed
	certain bool      // what follows cannot contradict it
	seen    int       // following ones that did not contradict it
	late    bool      // one that follows is earlier, out of order
	receipt bool      // the receipt tells, not the claim
}

// judge sees transactions in log order and finds the first one at or after the target.
type judge struct {
	target   time.Time
	lo       time.Time    // the latest claim that agreed with its receipt: all that follows was committed after it
	live     bool         // what was seen last was received as it was committed
	received time.Time    // until when that was received
	recent   []time.Time  // claims of the last transactions that were passed, a ring
	next     int          // in it
	latest   [2]time.Time // the two latest of them
	open     []candidate
	doubts   []suspect   // passed with a claim that is not believed, and nothing since tells that they were before the target
	passed   []suspect   // with a claim at or after the target
	hidden   int         // more of both
	tardy    *suspect    // the last one that was passed, if it was received long after it claims to be committed,
	since    commitClaim // and the first of those without another between them
	back     *suspect    // from which on the claims have gone back, and have not come forward again; nil: they have not
	backBy   time.Duration
	backAt   time.Time // the last of these claims
	early    int       // that were received long before the target
}

// see shows the next transaction; describe is called if it is to be remembered.
func (j *judge) see(c commitClaim, s spot, describe func() *Transaction) {
	j.arrive(c.first, c.last)
	j.hear(c)
	x := candidate{spot: s, commitClaim: c}
	switch {
	case c.ahead(), !j.lo.IsZero() && c.time.Before(j.lo.Add(-tolerance)):
		j.byReceipt(x, describe)
		return
	case c.agrees():
		j.live = true
		x.certain = true
	default:
		j.live = false
	}
	if c.time.Before(j.target) {
		if j.fallBack(c, x.spot) {
			j.trust(c.time)
			if j.back.transaction == nil {
				j.back.transaction = describe()
			}
			return
		}
		j.believe(c)
		if j.delay(c, x.spot) {
			j.tardy.transaction = describe()
		}
		if x.certain && !c.closely() && !c.last.Before(j.target) {
			j.doubt(x, describe)
		}
		return
	}
	x.transaction, x.before = describe(), j.reachedBefore()
	j.open = append(j.open, x)
}

// delay notes whether a transaction that is believed was received long after it claims to be committed, and so may have
// been committed after the target. As of an archiver that catches up that is as it should be.
func (j *judge) delay(c commitClaim, s spot) bool {
	switch {
	case len(j.open) > 0:
		return false
	case c.last.IsZero() || c.agrees() || c.last.Before(j.target):
		j.tardy = nil
		return false
	case j.tardy == nil:
		j.since = c
	}
	j.tardy = &suspect{s, nil, undecided}
	return true
}

// atPace reports whether transactions from j.since up to c were received no faster than they claim to be committed: an
// archiver that catches up is faster, so these were received as they were committed, and their claims are wrong.
func (j *judge) atPace(c commitClaim) bool {
	return !c.last.IsZero() && c.last.Sub(j.since.first) > c.time.Sub(j.since.time)/2
}

// fallBack reports whether a claim that no receipt bears out is one of a run that has gone back from what the log had
// reached, and has not come forward again as far.
func (j *judge) fallBack(c commitClaim, s spot) bool {
	by := j.reachedBefore().Sub(c.time)
	switch {
	case c.agrees() || !c.last.IsZero() && c.last.Before(j.target) || len(j.open) > 0:
		return false
	case j.back == nil && by <= disorder:
		return false
	case j.back == nil:
		j.back, j.backBy = &suspect{s, nil, wentBack}, by
	case c.time.Sub(j.backAt) >= j.backBy*9/10:
		j.back = nil
		return false
	}
	j.backBy, j.backAt = max(j.backBy, by), c.time
	return true
}

// arrive notes when something was received: what comes at once after what was received live is live as well.
func (j *judge) arrive(first, last time.Time) {
	if first.IsZero() || first.After(j.received.Add(tolerance)) {
		j.live = false
	}
	if last.After(j.received) {
		j.received = last
	}
}

// believe notes a claim before the target that is believed: what is before it in the log is before the target.
func (j *judge) believe(c commitClaim) {
	j.trust(c.time)
	if c.agrees() && c.time.After(j.lo) {
		j.lo = c.time
	}
	if len(j.open) == 0 && (c.closely() || !c.agrees() && !c.time.Before(j.lo)) {
		j.doubts, j.back = nil, nil
	}
}

// doubt remembers a transaction that is passed and may have been committed after the target.
func (j *judge) doubt(x candidate, describe func() *Transaction) {
	if len(j.doubts) == mostKept {
		j.hidden++
		return
	}
	j.doubts = append(j.doubts, suspect{x.spot, describe(), undecided})
}

// byReceipt decides on a transaction whose claim is not believed.
func (j *judge) byReceipt(x candidate, describe func() *Transaction) {
	since := j.lo
	if j.live && x.first.After(since) {
		since = x.first
	}
	after := !x.time.Before(j.target) // it says
	switch {
	case !since.Before(j.target):
		x.transaction, x.certain, x.receipt = describe(), true, true
		j.open = append(j.open, x)
	case x.last.Before(j.target) && !x.last.IsZero():
		switch {
		case after && x.last.Before(j.target.Add(-nearby)):
			j.early++
		case after:
			j.pass(x, describe, receivedBefore)
		}
	case after:
		j.pass(x, describe, receivedAround)
	default:
		j.doubt(x, describe)
	}
}

// skip shows a segment that cannot hold what ends the restore, by its manifest.
func (j *judge) skip(first, last commitClaim, highest time.Time, s spot) {
	j.arrive(first.first, last.last)
	j.hear(first)
	j.hear(last)
	for _, c := range []commitClaim{first, last} {
		switch {
		case c.ahead() || !j.lo.IsZero() && c.time.Before(j.lo.Add(-tolerance)) || !c.time.Before(j.target):
		case j.fallBack(c, s):
			j.trust(c.time)
		default:
			j.live = c.agrees()
			j.believe(c)
			j.delay(c, s)
		}
	}
	if top := (commitClaim{highest, last.first, last.last}); top.agrees() && highest.Before(j.target) && highest.After(j.lo) {
		j.lo, j.live = highest, true
	}
}

// follow shows a segment behind those that are open.
func (j *judge) follow(first, last commitClaim, lowest time.Time, transactions uint64) {
	j.hear(first)
	j.hear(commitClaim{lowest, time.Time{}, time.Time{}})
	j.hear(last)
	if len(j.open) > 0 {
		j.open[0].seen += int(transactions)
	}
}

// hear asks a transaction what its claim says about those that are open.
func (j *judge) hear(c commitClaim) {
	j.open = slices.DeleteFunc(j.open, func(x candidate) bool {
		if !x.certain && contradicts(c.time, x.time, x.before) {
			j.pass(x, func() *Transaction { return x.transaction }, contradicted)
			return true
		}
		return false
	})
	if len(j.open) == 0 {
		return
	}
	x := &j.open[0]
	x.seen++
	believed := c.agrees() || !c.ahead() && !c.time.Before(x.before.Add(-tolerance))
	x.late = x.late || believed && !x.receipt && c.time.Before(x.time.Add(-disorder)) && (!x.certain || c.time.Before(j.target))
}

// contradicts reports whether a transaction that follows one of time t shows by its own time that t
// is too late; before is the time that the log had reached before t.
func contradicts(following, t, before time.Time) bool {
	return following.Before(t.Add(-tolerance)) && !following.Before(before.Add(-tolerance))
}

func (j *judge) pass(x candidate, describe func() *Transaction, why reason) {
	if len(j.passed) == mostKept {
		j.hidden++
		return
	}
	j.passed = append(j.passed, suspect{x.spot, describe(), why})
}

// trust remembers a time.
func (j *judge) trust(t time.Time) {
	if len(j.recent) < lookahead {
		j.recent = append(j.recent, t)
		j.note(t)
		return
	}
	gone := j.recent[j.next]
	j.recent[j.next] = t
	j.next = (j.next + 1) % lookahead
	if gone.Before(j.latest[1]) {
		j.note(t)
		return
	}
	j.latest = [2]time.Time{}
	for _, t := range j.recent {
		j.note(t)
	}
}

// note keeps the two latest times.
func (j *judge) note(t time.Time) {
	switch {
	case t.After(j.latest[0]):
		j.latest = [2]time.Time{t, j.latest[0]}
	case t.After(j.latest[1]):
		j.latest[1] = t
	}
}

// reachedBefore is the time that the last transactions have reached: the second latest of them, as one may be
// wrong. It is zero before the first.
func (j *judge) reachedBefore() time.Time {
	if len(j.recent) == 1 {
		return j.latest[0]
	}
	return j.latest[1]
}

// settled reports whether the first open transaction ends the restore: so many that follow did not
// contradict it.
func (j *judge) settled(enough int) bool { return len(j.open) > 0 && j.open[0].seen >= enough }

// said are all that is to be named, in log order, when the search has ended at the first open transaction, or, if
// there is none, at the end of the log: what is applied, and the one that ends the restore.
func (j *judge) said() []suspect {
	list := append(slices.Clone(j.passed), j.doubts...)
	slices.SortStableFunc(list, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(a.i, b.i), cmp.Compare(a.offset, b.offset))
	})
	if j.tardy != nil && (len(j.open) == 0 || j.open[0].certain || j.atPace(j.open[0].commitClaim)) {
		list = append(list, *j.tardy)
	}
	if j.back != nil {
		list = append(list, *j.back)
	}
	if len(j.open) == 0 {
		return list
	}
	x := j.open[0]
	list = slices.DeleteFunc(list, func(s suspect) bool { return !x.spot.after(s.spot) })
	switch {
	case x.receipt && x.first.Before(j.target.Add(tolerance)), x.certain && !x.closely() && x.first.Before(j.target.Add(disorder)):
		list = append(list, suspect{x.spot, x.transaction, byReceipt})
	case x.late:
		list = append(list, suspect{x.spot, x.transaction, followedByEarlier})
	}
	return list
}
