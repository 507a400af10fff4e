package catalog

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"tidemark/internal/fault"
	"tidemark/storage"
)

// Overview is what an archive holds and what can be restored from it, as the manifests say.
type Overview struct {
	Timelines []*TimelineView // by number
	Bases     []*Base         // by ID, which is the order of their start
	Problems  []error         // manifests that do not read; what they stand for is left out above
}

// TimelineView is one timeline as a whole.
type TimelineView struct {
	*Timeline
	Segments     int
	Last         uint64 // number of the last segment
	Transactions uint64
	BodyBytes    uint64
	StoredBytes  int64
	Commit       TimeRange // of all transactions
	End          Position  // after the last segment
	CoveredUntil time.Time // what the newest head says
	Windows      []Window
	Holes        []Hole
	Barriers     []BarrierIn
}

// BarrierIn is a barrier, and the segment that holds it.
type BarrierIn struct {
	*Barrier
	Segment *Segment
}

// Window is a stretch of time to every moment of which the cluster can be restored.
type Window struct {
	From, To time.Time
	Base     string // ID of the base backup that it begins with

	last uint64 // the last segment
}

// Hole is a run of segments that are missing or unreadable.
type Hole struct {
	First, Last   uint64
	Before, After Position // of the segments around it, where they are known
}

// Overview reads all manifests. Each segment in the chain is shown to each, if it is not nil.
func (c *Catalog) Overview(ctx context.Context, each func(*Segment)) (*Overview, error) {
	var o Overview
	timelines, err := c.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	for l, err := range c.Objects(ctx, "base/") {
		if err != nil {
			return nil, err
		}
		if l.Class != ClassBase {
			continue
		}
		b, err := c.BaseAt(ctx, l.Base)
		if err := o.problem(err); err != nil {
			return nil, err
		}
		if err == nil {
			o.Bases = append(o.Bases, b)
		}
	}
	e, err := c.Expiry(ctx)
	if err != nil {
		return nil, err
	}
	e.Mark(timelines...)
	o.Bases = slices.DeleteFunc(o.Bases, func(b *Base) bool { return e.Has(b.ID) })
	for _, t := range timelines {
		v := &TimelineView{Timeline: t}
		if err := c.view(ctx, v, o.inherited(t), &o, each); err != nil {
			return nil, err
		}
		o.Timelines = append(o.Timelines, v)
	}
	return &o, nil
}

// problem keeps what is wrong with one object and returns what is wrong beyond that.
func (o *Overview) problem(err error) error {
	if fault.Is(err, fault.Integrity) {
		o.Problems = append(o.Problems, err)
		return nil
	}
	if errors.Is(err, storage.ErrNotExist) {
		return nil // removed after it was listed
	}
	return err
}

// stretch is a run of segments without a hole, as far as it has been read.
type stretch struct {
	prev *Segment
	base *Base     // the first one in it
	last time.Time // newest commit
}

// inherited is the base backup of its past with which a timeline can be restored from its beginning.
func (o *Overview) inherited(t *Timeline) *Base {
	if !t.Continues() {
		return nil
	}
	for _, parent := range o.Timelines {
		for _, w := range parent.Windows {
			i := slices.IndexFunc(o.Bases, func(b *Base) bool { return b.ID == w.Base })
			if i < 0 || parent.Number != t.Parent || w.last < t.ParentSegment {
				continue
			}
			if b := o.Bases[i]; b.Timeline != t.Parent || b.Segment < t.ParentSegment {
				return b
			}
		}
	}
	return nil
}

// view fills in what the segments of a timeline say. base is one that it has inherited.
func (c *Catalog) view(ctx context.Context, v *TimelineView, base *Base, o *Overview, each func(*Segment)) error {
	head, err := c.LastHead(ctx, v.Number)
	if err := o.problem(err); err != nil {
		return err
	}
	var manifests []Span
	for r, err := range c.ranges(ctx, v.Number, 0) {
		if err != nil {
			return err
		}
		manifests = append(manifests, Span{r.first, r.last})
	}
	v.Last, _ = v.Begins()
	chain, _, _ := Cover(v.Last+1, manifests)
	spans := make([]span, len(chain))
	for i, s := range chain {
		spans[i] = span{s.First, s.Last}
	}
	read, err := c.manifests(ctx, v.Number, spans)
	if err != nil {
		return err
	}
	run := stretch{base: base}
	for f := range read {
		if f.err != nil {
			if err := o.problem(f.err); err != nil {
				return err
			}
			continue // a hole, as the next one will show
		}
		s := f.seg
		if s.First > v.Last+1 {
			v.close(run, time.Time{})
			h := Hole{First: v.Last + 1, Last: s.First - 1, Before: v.End, After: s.Before}
			v.Holes, run = append(v.Holes, h), stretch{}
		} else if err := follows(v.Timeline, run.prev, s); err != nil {
			v.close(run, time.Time{})
			run = stretch{}
			o.Problems = append(o.Problems, err)
		}
		run.addParts(v, o.Bases, s)
		v.add(s)
		if each != nil {
			each(s)
		}
	}
	if head != nil {
		v.CoveredUntil = head.CoveredUntil
		if head.Segment > v.Last {
			v.Holes = append(v.Holes, Hole{First: v.Last + 1, Last: head.Segment, Before: v.End})
			v.close(run, time.Time{})
			return nil
		}
	}
	v.close(run, v.CoveredUntil)
	return nil
}

// addParts goes on to the next segment of the run, which ends at each barrier: behind it another one begins.
func (r *stretch) addParts(v *TimelineView, bases []*Base, s *Segment) {
	between := func(from, to uint64) (list []*Base) {
		for _, b := range bases {
			if b.Source.Offset >= from && b.Source.Offset < to {
				list = append(list, b)
			}
		}
		return list
	}
	from := uint64(0)
	for i := range s.Barriers {
		b := &s.Barriers[i]
		v.Barriers = append(v.Barriers, BarrierIn{b, s})
		before := *s
		before.Commit.Max = b.Time
		r.add(v, between(from, b.Offset+1), &before)
		v.close(*r, time.Time{})
		*r = stretch{}
		from = b.Offset + 1
	}
	r.add(v, between(from, math.MaxUint64), s)
}

// add goes on to the next segment of the run.
func (r *stretch) add(v *TimelineView, bases []*Base, s *Segment) {
	for _, b := range bases {
		if r.base == nil && b.Timeline == v.Number && b.Segment >= s.First && b.Segment <= s.Last {
			r.base = b
		}
	}
	if s.Commit.Max.After(r.last) {
		r.last = s.Commit.Max
	}
	r.prev = s
}

// add counts a segment in.
func (v *TimelineView) add(s *Segment) {
	v.Segments++
	v.Last, v.End = s.Last, s.After
	v.Transactions += s.Transactions
	v.BodyBytes += s.BodyBytes
	v.StoredBytes += s.Stored.Size
	if s.Transactions == 0 {
		return
	}
	if v.Commit.First.IsZero() {
		v.Commit = s.Commit
	}
	v.Commit.Last = s.Commit.Last
	if s.Commit.Min.Before(v.Commit.Min) {
		v.Commit.Min = s.Commit.Min
	}
	if s.Commit.Max.After(v.Commit.Max) {
		v.Commit.Max = s.Commit.Max
	}
}

// close ends a run: from its first base backup to its last commit, or to covered if that is later.
func (v *TimelineView) close(r stretch, covered time.Time) {
	if r.base == nil {
		return
	}
	w := Window{From: r.base.Consistent, To: r.base.Consistent, Base: r.base.ID, last: v.Last}
	for _, t := range []time.Time{r.last, covered} {
		if t.After(w.To) {
			w.To = t
		}
	}
	v.Windows = append(v.Windows, w)
}
