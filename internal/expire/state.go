package expire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// state is what an archive holds, as its manifests say: all that a plan is made of.
type state struct {
	now   time.Time
	lines []*line         // by timeline
	bases []*catalog.Base // that have not expired, by the time of their start
	keeps map[string]*catalog.Keep
	last  *catalog.Expiry // the newest record
	left  []string        // base backups that it names and of which objects are left
}

// line is the log of a timeline.
type line struct {
	*catalog.Timeline
	after    uint64    // number after which it begins today
	segments []segment // that there are, in order
	holes    []catalog.Hole
	limit    uint64    // the greatest number that may expire
	end      time.Time // the newest moment that it holds
}

// segment is what a plan asks of one.
type segment struct {
	first, last uint64
	received    time.Time
	bytes       int64 // as stored
	before      catalog.Digest
}

// errMoved: another record was put while an archive was read.
var errMoved = errors.New("another run has recorded what expires, again and again")

// read reads an archive. One with manifests that do not read, or contradict each other, is refused. The error
// is errMoved where what was read first may not go with what was read last.
func read(ctx context.Context, cat *catalog.Catalog, now time.Time) (*state, error) {
	s := &state{now: now}
	begun, err := cat.Expiry(ctx)
	if err != nil {
		return nil, err
	}
	lines := make(map[uint32]*line)
	of := func(timeline uint32) *line {
		if lines[timeline] == nil {
			lines[timeline] = new(line)
		}
		return lines[timeline]
	}
	view, err := cat.Overview(ctx, func(m *catalog.Segment) {
		l := of(m.Timeline)
		l.segments = append(l.segments, segment{m.First, m.Last, m.ReceivedLast(), m.Stored.Size, m.ChainBefore})
	})
	if err != nil {
		return nil, err
	}
	if len(view.Problems) > 0 {
		return nil, fault.New(fault.Integrity, "expire", cat.URL(), fmt.Errorf("the archive is damaged: %w", view.Problems[0])).
			WithHint("Nothing is removed from an archive that is damaged: see all of it with `tidemark verify`.")
	}
	for _, v := range view.Timelines {
		l := of(v.Number)
		l.Timeline, l.holes, l.end = v.Timeline, v.Holes, v.CoveredUntil
		l.after, _ = v.Begins()
		head, err := cat.LastHead(ctx, v.Number)
		if err != nil {
			return nil, err
		}
		if n := len(l.segments); n > 0 {
			// The last one stays for ever, and so does what the newest head anchors.
			l.limit = l.segments[n-1].first - 1
			if head != nil && head.Segment > 0 {
				l.limit = min(l.limit, head.Segment-1)
			}
			for _, m := range l.segments[max(0, n-10):] {
				if m.received.After(l.end) {
					l.end = m.received
				}
			}
		}
		s.lines = append(s.lines, l)
	}
	s.bases = view.Bases
	slices.SortStableFunc(s.bases, func(a, b *catalog.Base) int { return a.Started.Compare(b.Started) })
	if s.keeps, err = cat.Keeps(ctx, s.bases); err != nil {
		return nil, err
	}
	if s.last, err = cat.Expiry(ctx); err != nil {
		return nil, err
	}
	if s.last.Sequence != begun.Sequence {
		return nil, fault.New(fault.Locked, "expire", cat.URL(), errMoved).
			WithHint("Let one run of retention at a time work on a cluster.")
	}
	for o, err := range cat.Objects(ctx, "base/") {
		if err != nil {
			return nil, err
		}
		if n := len(s.left); s.last.Has(o.Base) && (n == 0 || s.left[n-1] != o.Base) {
			s.left = append(s.left, o.Base)
		}
	}
	return s, nil
}

// line returns the line of a timeline.
func (s *state) line(timeline uint32) *line {
	i := slices.IndexFunc(s.lines, func(l *line) bool { return l.Number == timeline })
	if i < 0 {
		return nil
	}
	return s.lines[i]
}

// newest is the timeline that is archived now.
func (s *state) newest() *line { return s.lines[len(s.lines)-1] }

// kept reports whether a base backup is marked to stay.
func (s *state) kept(b *catalog.Base) bool { return s.keeps[b.ID].Holds(s.now) }

// usable reports whether the log that follows a base backup is there.
func (s *state) usable(b *catalog.Base) bool {
	l := s.line(b.Timeline)
	return l != nil && b.Segment > l.after
}

// past returns a line and those that it goes on from, up to where their log is not its past any more.
func (s *state) past(l *line) []*line {
	list := []*line{l}
	for l.Continues() {
		if l = s.line(l.Parent); l == nil {
			break
		}
		list = append(list, l)
	}
	return list
}

// serving returns the base backups with which a restore on a line can begin, by their place in its past.
func (s *state) serving(l *line) []*catalog.Base {
	var list []*catalog.Base
	past := s.past(l)
	for _, b := range s.bases {
		for i, p := range past {
			// In the segment of a fork one may hold more than what both branches have.
			if b.Timeline == p.Number && s.usable(b) && (i == 0 || b.Segment < past[i-1].ParentSegment) {
				list = append(list, b)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *catalog.Base) int {
		return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Source.Offset, b.Source.Offset))
	})
	return list
}

// last is the greatest number of the line.
func (l *line) last() uint64 {
	if n := len(l.segments); n > 0 {
		return l.segments[n-1].last
	}
	return l.after
}

// covering returns the index of the segment that covers a number, or of the next one.
func (l *line) covering(number uint64) int {
	i, _ := slices.BinarySearchFunc(l.segments, number, func(m segment, n uint64) int { return cmp.Compare(m.last, n) })
	return i
}

// begins returns the number of the segment from which on a base backup needs the log: that in which its
// position lies, and of a copy whose position lies between two, that with the lower one.
func (s *state) begins(ctx context.Context, cat *catalog.Catalog, b *catalog.Base) (uint64, error) {
	l := s.line(b.Timeline)
	end := l.covering(b.Segment)
	if end == len(l.segments) || l.segments[end].first > b.Segment {
		return 0, fault.New(fault.Integrity, "expire", cat.URL(), fmt.Errorf("base backup %s lies in segment %d of timeline %d, which is missing", b.ID, b.Segment, b.Timeline)).
			WithHint("Nothing is removed from an archive that is damaged: see all of it with `tidemark verify`.")
	}
	if b.PositionMin.Equal(b.PositionMax) || cat.Cluster.Flavor != gtid.MySQL {
		return l.segments[end].first, nil
	}
	least, err := gtid.ParseSet(b.PositionMin.GTID)
	if err != nil {
		return 0, fault.New(fault.Integrity, "read the position of base backup", b.ID, err)
	}
	lo, hi := 0, end // the last one before which there is nothing that the copy may lack
	for lo < hi {
		mid := (lo + hi + 1) / 2
		holds, err := holdsBefore(ctx, cat, l, mid, least)
		if err != nil {
			return 0, err
		}
		if holds {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return l.segments[lo].first, nil
}

func holdsBefore(ctx context.Context, cat *catalog.Catalog, l *line, i int, set *gtid.Set) (bool, error) {
	m, err := cat.SegmentAt(ctx, l.Number, l.segments[i].first, l.segments[i].last)
	if err != nil {
		return false, err
	}
	before, err := gtid.ParseSet(m.Before.GTID)
	if err != nil {
		return false, errors.Join(fmt.Errorf("the position before segment %s", m.Name()), err)
	}
	return set.ContainsSet(before), nil
}
