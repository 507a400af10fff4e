package restore

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidemark/internal/catalog"
)

// name records what a search has to say, and warns of it.
func (p *Plan) name(f *found, t Target) {
	p.SuspectCount = len(f.said) + f.hidden + f.early
	list := f.said
	if n := len(list); n > mostNamed { // the last one may be the one that ends the restore
		list = append(slices.Clone(list[:mostNamed-1]), list[n-1])
		f.hidden += n - mostNamed
	}
	for _, s := range list {
		why, warning := s.say()
		p.Suspects = append(p.Suspects, Suspect{*s.transaction, why})
		p.Warnings = append(p.Warnings, warning)
	}
	if f.hidden > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d more transactions are applied whose commit times are not believed", f.hidden))
	}
	p.nameUnread(f)
	p.nameFraction(t)
	if f.statement != nil && p.FirstNotApplied != nil && f.statement.GTID == p.FirstNotApplied.GTID {
		p.FirstNotApplied = f.statement
	}
}

// say says why a transaction is named, and what can be done about it.
func (s suspect) say() (why, warning string) {
	g, claims := s.transaction.GTID, stamp(s.transaction.Time)
	before := fmt.Sprintf("to stop before it, use --before-gtid %s", g)
	after := fmt.Sprintf("to apply it as well, use --to-gtid %s", g)
	applied := fmt.Sprintf("transaction %s is applied although it claims to be of %s: ", g, claims)
	if s.why == undecided || s.why == wentBack {
		applied = fmt.Sprintf("transaction %s is applied, as it claims to be of %s: ", g, claims)
	}
	switch s.why {
	case receivedBefore:
		why = "it claims a commit time later than it was received"
	case receivedAround:
		why = "it claims a commit time later than it was received, which was about the time of the target"
	case contradicted:
		why = "it claims a commit time later than that of transactions that follow it"
	case undecided:
		why = "that does not agree with when it was received, and it may have been committed after the target"
	case wentBack:
		why = "its commit time, and those that follow it, are earlier than those before it in the log, and it may have been committed after the target"
	case byReceipt:
		why = "its commit time does not agree with when it was received, which was about the time of the target"
		return why, fmt.Sprintf("the restore stops before transaction %s, which claims to be of %s: %s; %s", g, claims, why, after)
	case followedByEarlier:
		why = "transactions that follow it in the log, and are not applied, claim to be earlier"
		return why, fmt.Sprintf("the restore stops before transaction %s of %s: %s, as one does that ran long when it was committed, "+
			"or the time of this one is wrong; %s", g, claims, why, after)
	}
	return why, applied + why + "; " + before
}

// nameUnread tells of segments that claim a time at or after the target and lie long before it.
func (p *Plan) nameUnread(f *found) {
	var proven, not []*catalog.Segment
	for _, u := range f.unread {
		if u.proven {
			proven = append(proven, u.segment)
		} else {
			not = append(not, u.segment)
		}
	}
	if len(proven) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s transactions that claim to be of the target or later, up to %s: "+
			"all that they hold was received more than an hour before it, and is applied",
			segmentsHold(proven), stamp(highest(proven))))
	}
	if f.early > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d transactions are applied that claim to be of the target or later, "+
			"and were received more than an hour before it", f.early))
	}
	if len(not) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s transactions that claim to be of the target or later, up to %s: "+
			"they are applied, as what follows them is of more than an hour before it",
			segmentsHold(not), stamp(highest(not))))
	}
}

// segmentsHold names segments: "segments 3, 9 and 40 others hold".
func segmentsHold(list []*catalog.Segment) string {
	const few = 5
	var names []string
	for _, s := range list[:min(few, len(list))] {
		names = append(names, s.Name())
	}
	text := "segment " + names[0] + " holds"
	if len(list) > 1 {
		text = "segments " + strings.Join(names, ", ") + " hold"
	}
	if n := len(list) - few; n > 0 {
		text = fmt.Sprintf("segments %s and %d more hold", strings.Join(names, ", "), n)
	}
	return text
}

func highest(list []*catalog.Segment) (t time.Time) {
	for _, s := range list {
		if s.Commit.Max.After(t) {
			t = s.Commit.Max
		}
	}
	return t
}

// nameFraction warns of a target inside a second that the log does not divide, if it has transactions of it.
func (p *Plan) nameFraction(t Target) {
	second := t.time.Truncate(time.Second)
	if t.kind != toTime || p.TimePrecision != time.Second.String() || second.Equal(t.time) {
		return
	}
	if p.LastApplied == nil || !p.LastApplied.Time.Equal(second) {
		return
	}
	p.Warnings = append(p.Warnings, fmt.Sprintf("transactions of %s are applied, the last of them %s: the log has whole seconds, "+
		"and does not tell which of them were before the target; to leave them out, use --to-time %s", stamp(second), p.LastApplied.GTID, stamp(second)))
}
