package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Follow lets a restore go on with what is archived later: a standby that never touches the primary. It ends
// where the target is reached, or when it is told to.
type Follow struct {
	Delay time.Duration // transactions are applied so long after their commit time; 0: at once
	Dir   string        // of the standby; what it has applied already is not gone back behind, whatever the delay
	Clock clock.Clock   // the machine's if nil
}

// every is the time between two looks at the archive.
func (f *Follow) every() time.Duration {
	return min(max(f.Delay/60, time.Second), time.Minute)
}

// following makes one plan after the other, each going on from the one before.
type following struct {
	h     *history
	o     PlanOptions
	clock clock.Clock
	floor place // plans stop there at the earliest
	last  bool  // the last plan made stops at the target
}

// follow checks what is to be followed. The error is of kind Usage.
func (o PlanOptions) follow(h *history) (*following, error) {
	f := &following{h: h, o: o, clock: o.Follow.Clock}
	if f.clock == nil {
		f.clock = clock.System{}
	}
	var why error
	switch t := o.Target; {
	case len(o.Exclude) > 0:
		why = errors.New("no transaction can be left out")
	case t.kind == toPosition || t.kind == beforeStatement || len(t.gtids) > 1:
		why = errors.New("it is not known beforehand where that will be")
	default:
		if st := interrupted(o.Follow.Dir); st != nil {
			f.floor = st.HandedTo.place()
			if st.Applied.place().compare(f.floor) > 0 {
				f.floor = st.Applied.place()
			}
		}
		return f, nil
	}
	return nil, fault.New(fault.Usage, "follow the archive to", o.Target.String(), why).
		WithHint("Follow to no target, or to one of --to-time, --to-gtid with one GTID, and --before-gtid; another one can be given when the standby is opened.")
}

// seek finds where a plan stops: for one that does not follow, at its target.
func (f *following) seek(ctx context.Context, h *history, t Target) (*found, error) {
	if f == nil {
		return h.seek(ctx, t)
	}
	f.last = false
	stop, err := f.due(ctx)
	if err != nil {
		return nil, err
	}
	if i, ok := f.h.find(f.floor.timeline, f.floor.number); ok && f.floor.offset <= f.h.segments[i].Source.End {
		if least := (spot{i, f.floor.offset}); least.after(stop.spot) {
			stop = &found{spot: least}
		}
	}
	if t.kind == toLatest {
		return stop, nil
	}
	target, err := f.h.seek(ctx, t)
	switch {
	case fault.Is(err, fault.Unreachable) && !f.passed(t):
		return stop, nil // not archived yet
	case err != nil:
		return nil, err
	case target.after(stop.spot):
		return stop, nil
	}
	f.last = true
	return target, nil
}

// due is where what is due by now ends.
func (f *following) due(ctx context.Context) (*found, error) {
	if f.o.Follow.Delay <= 0 {
		return f.h.seek(ctx, ToLatest())
	}
	return f.h.seek(ctx, Target{kind: toTime, time: f.clock.Now().Add(-f.o.Follow.Delay), open: true})
}

func (s spot) after(q spot) bool {
	return cmp.Or(cmp.Compare(s.i, q.i), cmp.Compare(s.offset, q.offset)) > 0
}

// passed reports whether the log has gone past a target by its GTID, so that it will never hold it.
func (f *following) passed(t Target) bool {
	end, err := f.h.position(f.h.last().After)
	if err != nil {
		return false
	}
	if t.set != nil {
		set, err := f.h.logged(t.set)
		return err == nil && end.Covers(gtid.NewSetState(set))
	}
	for _, g := range t.gtids {
		if end.Position()[g.Domain].Seq < g.Seq {
			return false
		}
	}
	return len(t.gtids) > 0
}

// refresh looks for what has been archived since, and reports whether there is any.
func (f *following) refresh(ctx context.Context) (bool, error) {
	h := f.h
	t, err := h.c.Timeline(ctx, f.o.Timeline)
	if err != nil {
		return false, err
	}
	if t.Number == h.timeline.Number && h.last().Timeline == t.Number {
		if grown, err := h.extend(ctx); !fault.Is(err, fault.Integrity) {
			return grown, err
		}
	}
	fresh, err := readHistory(ctx, h.c, f.o.Timeline)
	if err != nil {
		return false, err
	}
	if fresh.last() == nil {
		return false, fresh.broken
	}
	fresh.prefer(h.chosen.base.ID)
	f.h = fresh
	return fresh.timeline.Number != h.timeline.Number || fresh.last().Last != h.last().Last || fresh.broken != nil, nil
}

// next makes the plan that goes on from p with what is archived and due by now; nil if that is nothing.
func (p *Plan) next(ctx context.Context) (*Plan, error) {
	f := p.following
	grown, err := f.refresh(ctx)
	if err != nil {
		return nil, err
	}
	if !grown && f.o.Follow.Delay == 0 && f.o.Target.kind != toTime {
		return nil, nil
	}
	f.floor = p.end() // also where a clock is set back
	q, err := p.again(ctx)
	if err != nil || !f.last && q.end().compare(p.end()) <= 0 {
		return nil, err
	}
	return q, nil
}

// again plans anew, from the same base backup.
func (p *Plan) again(ctx context.Context) (*Plan, error) {
	f := p.following
	stop, err := f.seek(ctx, f.h, f.o.Target)
	if err != nil {
		return nil, err
	}
	q := f.h.newPlan(f.o)
	q.following = f
	if err := q.fill(ctx, f.h, f.o.Target, stop.spot); err != nil {
		return nil, err
	}
	if f.last {
		q.name(stop, f.o.Target)
	}
	switch {
	case q.Base.ID != p.Base.ID || !q.holds(p.end()):
		return nil, fault.New(fault.Unreachable, "follow", "timeline "+fmt.Sprint(q.Timeline), fmt.Errorf("it does not go on from %s, which was applied", orNone(p.Position()))).
			WithHint(fmt.Sprintf("Open this standby as it is with --timeline %d and without --follow, or let it begin again from a base backup: by the same command.", p.Timeline))
	case q.Transactions < p.Transactions:
		return nil, fault.New(fault.Unreachable, "follow to", q.Target, fmt.Errorf("transactions behind it have been applied: the position is %s", orNone(p.Position()))).
			WithHint("Restore to it into another directory.")
	}
	return q, nil
}

// holds reports whether a place lies in the part of the log that the plan applies.
func (p *Plan) holds(c place) bool {
	segments, err := p.after(checkpoint{Timeline: c.timeline, Segment: c.number})
	return err == nil && c.offset <= segments[0].Source.End
}

// behind is how much later the last archived transaction was committed than the last one of the plan.
func (p *Plan) behind() time.Duration {
	h := p.following.h
	if p.end().compare(h.end()) >= 0 {
		return 0
	}
	applied := p.base.Consistent
	if p.LastApplied != nil {
		applied = p.LastApplied.Time
	}
	return max(0, h.newest().Sub(applied))
}

// end is the place at which the log ends.
func (h *history) end() place { return at(h.last(), h.last().Source.End) }

// newest is the commit time of the last transaction in the log; zero if there is none.
func (h *history) newest() time.Time {
	for i := len(h.segments) - 1; i >= 0; i-- {
		if s := h.segments[i]; s.Transactions > 0 {
			return s.Commit.Last
		}
	}
	return time.Time{}
}

// extend adds what has been archived since, and reports whether there is any. Only a newest timeline that has
// a log of its own can be extended. An error of kind Integrity asks for the history to be read anew.
func (h *history) extend(ctx context.Context) (bool, error) {
	head, err := h.c.LastHead(ctx, h.timeline.Number) // before what it anchors
	if err != nil {
		return false, err
	}
	var list []*catalog.Segment
	if list, err = h.c.Following(ctx, h.last()); err != nil {
		return false, err
	}
	from := len(h.segments)
	for _, s := range list {
		h.keep(s, true)
	}
	h.stretches[len(h.stretches)-1].end = len(h.segments)
	if err := h.keepGrowing(from); err != nil {
		return false, err
	}
	h.head = head
	return len(list) > 0, h.checkHead()
}
