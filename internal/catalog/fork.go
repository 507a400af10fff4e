package catalog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// History is what a server has of a replication history.
type History interface {
	Has(gtid.GTID) bool
	HasAll(*gtid.State) bool
}

// Fork is where another history leaves a timeline: the end of the longest part of the timeline, from
// its beginning and in the order of its log, that the other history has whole.
type Fork struct {
	Apart      bool        // the histories have nothing in common: this is the end of the timeline
	Segment    uint64      // by the number that it had when it was sealed; 0: they have nothing in common
	BodyOffset uint64      // in the body of that segment, behind a whole transaction
	Position   Position    // there
	Seed       Digest      // chain digest there: the seed of the timeline that begins there
	Last       gtid.GTID   // the last transaction that both have, if it lies in that segment
	LastTime   time.Time   // its commit time
	Before     *gtid.State // position before it
	Abandoned  []string    // transactions behind the fork: MariaDB's one by one, MySQL's as a set
}

// mostAbandoned bounds what a timeline's description names of them.
const mostAbandoned = 10_000

// FindFork finds where a server's history leaves a timeline. It reads few manifests: a server that has all
// before a segment has all before the earlier ones.
func (c *Catalog) FindFork(ctx context.Context, timeline uint32, server History) (*Fork, error) {
	t, err := c.Timeline(ctx, timeline)
	if err != nil {
		return nil, err
	}
	after, _ := t.Begins()
	spans, err := c.cover(ctx, timeline, after+1)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 {
		return c.apart(ctx, timeline, nil)
	}
	last, err := c.segment(ctx, timeline, spans[len(spans)-1])
	if err != nil {
		return nil, err
	}
	var failed error
	// The first of which the server lacks something before it; the one before that is the newest whose
	// beginning it has.
	i := sort.Search(len(spans), func(i int) bool {
		s, err := c.segment(ctx, timeline, spans[i])
		if err == nil {
			var before *gtid.State
			if before, err = s.Before.LogState(c.Cluster.Flavor); err == nil {
				return !server.HasAll(before)
			}
		}
		failed = errors.Join(failed, err)
		return true
	}) - 1
	switch {
	case failed != nil:
		return nil, failed
	case i < 0:
		return c.apart(ctx, timeline, last)
	}
	common, err := c.segment(ctx, timeline, spans[i])
	if err != nil {
		return nil, err
	}
	f, err := c.forkIn(ctx, common, server)
	if err != nil {
		return nil, err
	}
	if f.Segment == 0 { // not even the first transaction of the log
		return c.apart(ctx, timeline, last)
	}
	return f, c.abandon(ctx, f, spans[i+1:], last)
}

// End returns the end of a timeline's log as a fork: what follows it there has nothing to do with it.
func (c *Catalog) End(ctx context.Context, timeline uint32) (*Fork, error) {
	last, err := c.Last(ctx, timeline)
	if err != nil {
		return nil, err
	}
	return c.apart(ctx, timeline, last)
}

func (c *Catalog) apart(ctx context.Context, timeline uint32, last *Segment) (*Fork, error) {
	if last == nil {
		t, err := c.Timeline(ctx, timeline)
		if err != nil {
			return nil, err
		}
		return &Fork{Apart: true, Seed: t.Seed}, nil
	}
	return &Fork{Apart: true, Segment: last.Last, BodyOffset: last.Members[len(last.Members)-1].BodyBytes, Position: last.After, Seed: last.ChainAfter}, nil
}

// forkIn finds the fork in a segment whose beginning both have.
func (c *Catalog) forkIn(ctx context.Context, s *Segment, server History) (*Fork, error) {
	state, err := s.Before.LogState(c.Cluster.Flavor)
	if err != nil {
		return nil, err
	}
	f := &Fork{Position: s.Before, Seed: s.ChainBefore}
	end, apart := s.Source.Start, false // of the last transaction that both have
	r, err := c.OpenSegment(ctx, s)
	if fault.Is(err, fault.WrongKey) { // encrypted: what both have of it is archived again
		return f, c.seedAt(ctx, f, s, s.Source.Start)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var g gtid.GTID
	var at time.Time
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if ev.Head {
			continue
		}
		if ev.First && ev.Begin {
			g, at = ev.GTID, ev.CommitTime()
			if apart = apart || !server.Has(g); apart {
				f.Abandoned = append(f.Abandoned, g.String())
			}
		}
		if apart {
			continue // read on: only at the end all is known to be what was archived
		}
		if ev.First {
			listed, err := binlog.ListedState(ev, r.Body(ev))
			if err != nil {
				return nil, damaged("read segment "+s.Name()+" in", s.Stored.Key, err)
			}
			if listed != nil {
				state.Follow(listed)
			}
		}
		if ev.Boundary() {
			if ev.End {
				f.Before, f.Last, f.LastTime = state.Clone(), g, at
				state.Add(g)
			}
			end = ev.EndOffset()
		}
	}
	f.Position = PositionOf(state)
	return f, c.seedAt(ctx, f, s, end)
}

// seedAt fills in the place of a fork that lies at an offset of a segment's source file.
func (c *Catalog) seedAt(ctx context.Context, f *Fork, s *Segment, end uint64) error {
	if end == s.Source.Start {
		t, err := c.Timeline(ctx, s.Timeline)
		if err != nil {
			return err
		}
		if after, _ := t.Begins(); s.First <= after+1 { // there is nothing before it that both have
			f.Segment, f.BodyOffset = 0, 0
			return nil
		}
		f.Segment, f.BodyOffset = s.First-1, 0
		prev, err := c.segmentAt(ctx, s.Timeline, s.First-1) // the fork is its end
		if err != nil {
			return err
		}
		f.BodyOffset = prev.Members[len(prev.Members)-1].BodyBytes
		if prev.Tail.GTID == "" {
			return nil
		}
		f.LastTime = prev.Commit.Last
		if f.Last, err = gtid.Parse(prev.Tail.GTID); err == nil {
			f.Before, err = prev.Tail.Before.LogState(c.Cluster.Flavor)
		}
		return err
	}
	start, before := s.Source.Start, s.ChainBefore
	for _, m := range s.Members {
		if end > start+m.BodyBytes {
			start += m.BodyBytes
			before = NextDigest(before, m.BodySHA256)
			continue
		}
		f.Segment, f.BodyOffset = m.Number, end-start
		body, err := c.bodyDigest(ctx, s, start-s.Source.Start, f.BodyOffset)
		f.Seed = NextDigest(before, body)
		return err
	}
	return fmt.Errorf("offset %d is not in segment %s", end, s.Name())
}

// segmentAt returns the segment that covers a number.
func (c *Catalog) segmentAt(ctx context.Context, timeline uint32, number uint64) (*Segment, error) {
	for s, err := range c.Segments(ctx, timeline, number) {
		if err == nil && s.First > number { // a copy may begin behind it
			break
		}
		return s, err
	}
	return nil, missing(timeline, number)
}

// bodyDigest returns the SHA-256 of length bytes of a segment's body from an offset.
func (c *Catalog) bodyDigest(ctx context.Context, s *Segment, offset, length uint64) (Digest, error) {
	r, err := c.OpenPlain(ctx, s)
	if err != nil {
		return Digest{}, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.Discard, r, int64(s.HeadBytes+offset)); err == nil {
		_, err = io.CopyN(h, r, int64(length))
		return Digest(h.Sum(nil)), err
	}
	return Digest{}, err
}

// abandon names what lies behind a fork, in the segments there and at its own.
func (c *Catalog) abandon(ctx context.Context, f *Fork, behind []span, last *Segment) error {
	if c.Cluster.Flavor == gtid.MySQL {
		f.Abandoned = nil
		all, err := gtid.ParseSet(last.After.GTID)
		if err != nil {
			return err
		}
		kept, err := gtid.ParseSet(f.Position.GTID)
		if err != nil {
			return err
		}
		if all.Subtract(kept); !all.Empty() {
			f.Abandoned = []string{all.String()}
		}
		return nil
	}
	if len(last.Stored.Recipients) > 0 { // encrypted: only the last ones are known
		f.Abandoned = strings.Split(last.After.GTID, ",")
		return nil
	}
	for _, span := range behind {
		if len(f.Abandoned) > mostAbandoned {
			break
		}
		s, err := c.segment(ctx, last.Timeline, span)
		if err != nil {
			return err
		}
		r, err := c.OpenSegment(ctx, s)
		if err != nil {
			return err
		}
		for {
			ev, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				_ = r.Close()
				return err
			}
			if ev.First && ev.Begin {
				f.Abandoned = append(f.Abandoned, ev.GTID.String())
			}
		}
		_ = r.Close()
	}
	if n := len(f.Abandoned) - mostAbandoned; n > 0 {
		f.Abandoned = append(f.Abandoned[:mostAbandoned], fmt.Sprintf("and more than %d others", n))
	}
	return nil
}

// CheckFork checks that a timeline's digest seed is the digest of its parent's chain where it begins.
// Inside a segment that takes reading the segment: without data it is not checked.
func (c *Catalog) CheckFork(ctx context.Context, t *Timeline, data bool) error {
	if t.ParentSegment == 0 || t.Skipped > 0 || t.apart { // a copy's seed is the digest behind what it skips
		return nil
	}
	s, err := c.segmentAt(ctx, t.Parent, t.ParentSegment)
	if err != nil {
		return err
	}
	before, start := s.ChainBefore, uint64(0)
	for _, m := range s.Members {
		body := m.BodySHA256
		if m.Number == t.ParentSegment {
			switch {
			case t.ParentBodyOffset > m.BodyBytes:
				return damaged("check", timelineKey(t.Number), fmt.Errorf("it begins at offset %d of segment %d, which has %d bytes", t.ParentBodyOffset, m.Number, m.BodyBytes))
			case t.ParentBodyOffset == m.BodyBytes:
			case !data:
				return nil
			default:
				if body, err = c.bodyDigest(ctx, s, start, t.ParentBodyOffset); err != nil {
					return err
				}
			}
		}
		before = NextDigest(before, body)
		start += m.BodyBytes
		if m.Number == t.ParentSegment {
			break
		}
	}
	if before != t.Seed {
		return damaged("check", timelineKey(t.Number), fmt.Errorf("its digest seed is not the digest of timeline %d where it begins", t.Parent))
	}
	return nil
}

// Continues reports whether the timeline goes on where its parent is left, so that what the parent
// holds up to there is its own past, and whether all of that is still there.
func (t *Timeline) Continues() bool {
	after, _ := t.Begins()
	return t.Parent != 0 && len(t.Gaps) == 0 && t.ParentSegment != 0 && after == 0 && !t.apart
}

// Lineage returns a timeline, its parent, and so on to the first.
func (c *Catalog) Lineage(ctx context.Context, number uint32) ([]*Timeline, error) {
	all, err := c.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	t, err := pick(all, number)
	if err != nil {
		return nil, err
	}
	list := []*Timeline{t}
	for t.Parent != 0 {
		parent, err := pick(all, t.Parent)
		if err != nil || parent.Number >= t.Number {
			return nil, damaged("read", timelineKey(t.Number), fmt.Errorf("its parent, timeline %d, is missing", t.Parent))
		}
		t = parent
		list = append(list, t)
	}
	return list, nil
}

// SamePosition reports whether a position as a server writes it is that of a log. unlogged is what of MySQL's
// is in no log.
func SamePosition(f gtid.Flavor, text string, s *gtid.State, unlogged *gtid.Set) (bool, error) {
	if f == gtid.MySQL {
		set, err := gtid.ParseSet(text)
		if err != nil || s.Set() == nil {
			return false, err
		}
		all := set.ContainsSet(s.Set())
		set.Subtract(unlogged)
		return all && s.Set().ContainsSet(set), nil
	}
	p, err := gtid.ParsePosition(text)
	return err == nil && p.Equal(s.Position()), err
}
