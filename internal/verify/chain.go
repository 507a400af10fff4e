package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// readHeads reads the heads of every timeline, before the segments are listed: what they anchor must
// be there then. Heads that are pruned meanwhile are passed over.
func (v *verifier) readHeads() (map[uint32][]*catalog.Head, error) {
	heads := make(map[uint32][]*catalog.Head)
	for l, err := range v.cat.Objects(v.ctx, "timelines/") {
		if err != nil {
			return nil, err
		}
		if l.Class != catalog.ClassTimeline || v.o.Timeline != 0 && l.Timeline != v.o.Timeline {
			continue
		}
		for h, err := range v.cat.Objects(v.ctx, strings.TrimSuffix(catalog.HeadKey(l.Timeline, 0), "0000000000000000.json")) {
			if err != nil {
				return nil, err
			}
			if h.Class != catalog.ClassHead {
				continue
			}
			head, err := v.cat.HeadAt(v.ctx, h.Timeline, h.First)
			if errors.Is(err, storage.ErrNotExist) {
				continue
			}
			if err != nil {
				if err := v.blame(h.Key, err); err != nil {
					return nil, err
				}
				continue
			}
			heads[l.Timeline] = append(heads[l.Timeline], head)
		}
	}
	return heads, nil
}

// timeline checks one timeline: its description, its chain, and what anchors it.
func (v *verifier) timeline(n uint32, heads []*catalog.Head, bases []*base) error {
	v.report.Timelines++
	l := v.found.logs[n]
	t := v.described(n, l)
	if err := v.ctx.Err(); err != nil {
		return err
	}
	expired := v.expiry.Log(n)
	first := expired.Through + 1
	if t != nil {
		after, _ := t.Begins()
		first = after + 1
	}
	c := &chain{v: v, t: t, number: n, digests: make(map[uint64]catalog.Digest), bodies: make(map[uint64]catalog.Digest)}
	for _, h := range heads {
		c.digests[h.Segment] = catalog.Digest{}
	}
	anchor := v.anchor(n)
	if anchor != nil && anchor.Segment > 0 {
		c.digests[anchor.Segment] = catalog.Digest{}
	}
	for _, k := range expired.Kept {
		if err := v.kept(n, t, l, k, bases); err != nil {
			return err
		}
	}
	spans, others, holes := catalog.Cover(first, slices.DeleteFunc(slices.Clone(l.manifests), func(s catalog.Span) bool {
		gone := expired.Gone(s.First, s.Last)
		if gone {
			v.passOver(1, 0)
		}
		_, kept := expired.Keeps(s.First)
		return gone || kept && s.Last <= expired.Through
	}))
	for _, o := range others {
		for i := o.First; i <= o.Last; i++ {
			c.bodies[i] = catalog.Digest{}
		}
	}
	for _, h := range holes {
		problem := "the segment is missing"
		if h.First != h.Last {
			problem = fmt.Sprintf("segments %d to %d are missing", h.First, h.Last)
		}
		v.add(Damage, catalog.SegmentKey(n, h.First, h.First), kindMissing, "%s", problem)
	}
	for _, b := range bases {
		if b.Timeline == n {
			c.wanted = append(c.wanted, b)
		}
	}
	c.indexes = &indexes{v: v, timeline: n, left: l.indexes}
	if err := c.walk(spans, others); err != nil {
		return err
	}
	v.checkHeads(c, l, heads)
	v.checkAnchor(c, l, anchor)
	return c.indexes.rest()
}

// described reads the timeline's description and checks the one it hangs on; nil after a finding.
func (v *verifier) described(n uint32, l *log) *catalog.Timeline {
	if !l.described {
		return nil // said already
	}
	key := catalog.TimelineKey(n)
	t, err := v.cat.TimelineAt(v.ctx, n)
	v.progress(1, 0)
	if err != nil {
		if err := v.blame(key, err); err != nil {
			v.stop(err)
		}
		return nil
	}
	v.expiry.Mark(t)
	parent := v.found.logs[t.Parent]
	switch {
	case t.Parent >= n:
		v.add(Damage, key, kindInconsistent, "its parent is timeline %d", t.Parent)
	case t.Parent == 0 || v.o.Timeline != 0:
	case parent == nil:
		v.add(Damage, key, kindInconsistent, "its parent, timeline %d, is missing", t.Parent)
	case t.ParentSegment > 0 && !v.covered(t.Parent, t.ParentSegment) && !v.leftOut(t.Parent, t.ParentSegment):
		v.add(Damage, key, kindInconsistent, "it forks from segment %d of timeline %d, which is missing", t.ParentSegment, t.Parent)
	default:
		// What is wrong with the parent itself is found there.
		if err := v.cat.CheckFork(v.ctx, t, v.o.Data); fault.Is(err, fault.Integrity) && strings.Contains(err.Error(), key) {
			v.add(Damage, key, kindInconsistent, "%s", cause(err))
		}
	}
	return t
}

// chain is the walk along one timeline.
type chain struct {
	v       *verifier
	t       *catalog.Timeline // nil: not readable
	number  uint32
	last    uint64
	digests map[uint64]catalog.Digest // chain digest after the numbers that heads anchor
	reached map[uint64]bool           // of those, the ones that the chain has
	bodies  map[uint64]catalog.Digest // body digests of the numbers that other manifests cover too
	indexes *indexes
	wanted  []*base // base backups that lie in this timeline
}

// read is a manifest, or why there is none.
type read struct {
	span    catalog.Span
	seg     *catalog.Segment
	indexed *indexed // nil: no index has it
	err     error
}

// walk reads the manifests of the chain in order and checks each against the one before it, and
// then those that other manifests cover.
func (c *chain) walk(spans, others []catalog.Span) error {
	c.reached = make(map[uint64]bool)
	var prev *catalog.Segment
	for r := range c.manifests(spans) {
		key := catalog.SegmentKey(c.number, r.span.First, r.span.Last)
		if r.err != nil {
			if err := c.v.blame(key, r.err); err != nil {
				return err
			}
			prev = nil
			c.v.unread[key] = true
			continue
		}
		if prev != nil && prev.Last+1 < r.seg.First {
			prev = nil // behind a hole, which is named already
		}
		if prev != nil && prev.Last+1 > r.seg.First {
			c.v.add(Damage, key, kindInconsistent, "it overlaps segment %s", prev.Name())
		} else if prev != nil || c.t != nil {
			if err := catalog.Follows(c.t, prev, r.seg); err != nil {
				c.v.add(Damage, key, kindInconsistent, "%s", cause(err))
			}
		}
		c.note(r.seg, prev == nil)
		c.v.checkIndexed(r.indexed, r.seg)
		if err := c.v.segment(key, r.seg); err != nil {
			return err
		}
		prev, c.last = r.seg, r.seg.Last
	}
	for r := range c.manifests(others) {
		key := catalog.SegmentKey(c.number, r.span.First, r.span.Last)
		err := r.err
		if errors.Is(err, storage.ErrNotExist) {
			continue // removed meanwhile: others cover its numbers
		}
		if err == nil {
			for _, m := range r.seg.Members {
				if d, ok := c.bodies[m.Number]; ok && d != (catalog.Digest{}) && d != m.BodySHA256 {
					c.v.add(Damage, key, kindInconsistent, "its segment %d is not that of the manifest that covers it", m.Number)
				}
			}
			err = c.v.segment(key, r.seg)
		}
		if err != nil {
			c.v.unread[key] = true
			if err := c.v.blame(key, err); err != nil {
				return err
			}
		}
	}
	return c.v.ctx.Err()
}

// manifests reads several at the same time and yields them in order.
func (c *chain) manifests(spans []catalog.Span) iter.Seq[read] {
	return func(yield func(read) bool) {
		ctx, cancel := context.WithCancel(c.v.ctx)
		defer cancel()
		slots := make(chan chan read, c.v.o.Workers)
		go func() {
			defer close(slots)
			for _, s := range spans {
				one := make(chan read, 1)
				select {
				case slots <- one:
				case <-ctx.Done():
					return
				}
				known, err := c.indexes.at(s)
				if err != nil {
					one <- read{span: s, err: err}
					return
				}
				go func() {
					seg, err := c.v.cat.SegmentAs(ctx, c.number, s.First, s.Last, c.v.trusted(known))
					one <- read{s, seg, known, err}
				}()
			}
		}()
		for one := range slots {
			r := <-one
			c.v.progress(1, 0)
			if !yield(r) {
				break
			}
		}
		cancel()
		for one := range slots {
			<-one
		}
	}
}

// note remembers of a segment, which may begin a run of the log, what heads, base backups and other manifests will be compared with.
func (c *chain) note(s *catalog.Segment, begins bool) {
	c.v.report.Segments++
	c.v.report.Transactions += s.Transactions
	c.v.report.Events += s.Events
	digest := s.ChainBefore
	for _, m := range s.Members {
		digest = catalog.NextDigest(digest, m.BodySHA256)
		if _, ok := c.digests[m.Number]; ok {
			c.digests[m.Number] = digest
			c.reached[m.Number] = true
		}
		if _, ok := c.bodies[m.Number]; ok {
			c.bodies[m.Number] = m.BodySHA256
		}
	}
	for i := range s.Barriers {
		c.barrier(s, &s.Barriers[i])
	}
	for _, b := range c.wanted {
		if s.First <= b.Segment && b.Segment <= s.Last {
			b.lies = s
		}
		if begins && s.First <= b.Segment {
			b.from = b.mayBegin(s)
		}
	}
}

// segment checks a segment's data, as far as the options say.
func (v *verifier) segment(key string, s *catalog.Segment) error {
	ok, err := v.stored(key, s.Stored)
	switch {
	case err != nil || !ok || !v.o.Subset.holds(s.Stored.Key):
		return err
	case v.o.Data:
		v.background(func() error { return v.events(s) })
	case v.o.Stored:
		v.background(func() error { return v.bytes(s.Stored) })
	}
	return nil
}

// checkHeads holds the chain to every head, newest first: a chain that is shorter than one of them
// was cut off.
func (v *verifier) checkHeads(c *chain, l *log, heads []*catalog.Head) {
	cut, first := false, uint64(1)
	if c.t != nil {
		after, _ := c.t.Begins()
		first = after + 1
	}
	for _, h := range slices.Backward(heads) {
		v.progress(1, 0)
		if h.Segment > 0 && h.Segment < first {
			if after, chain := c.t.Begins(); h.Segment == after && h.Chain != chain {
				v.add(Damage, catalog.HeadKey(h.Timeline, h.Sequence), kindInconsistent, "the chain has another digest at segment %d, with which the log begins now", h.Segment)
			}
			continue // what it anchors has expired
		}
		at := func(n uint64) (catalog.Digest, bool) { return c.digests[n], c.reached[n] }
		if err := catalog.CheckHead(h, at); err != nil {
			if short := !c.reached[h.Segment]; short && cut {
				continue // one is enough
			} else if short {
				cut = true
			}
			v.add(Damage, catalog.HeadKey(h.Timeline, h.Sequence), kindInconsistent, "%s", cause(err))
		}
	}
	for i := 1; i < len(l.heads); i++ {
		if l.heads[i] != l.heads[i-1]+1 {
			v.add(Damage, catalog.HeadKey(c.number, l.heads[i-1]+1), kindMissing, "the head is missing")
		}
	}
	// Old heads are pruned, but not before there are many; two may come and go while they are listed.
	if n := len(l.heads); n > 0 && n < catalog.KeepHeads-2 && l.heads[0] != 1 {
		v.add(Damage, catalog.HeadKey(c.number, l.heads[0]-1), kindMissing, "the head is missing")
	}
	if len(l.heads) == 0 && len(l.manifests) > 0 {
		v.add(Note, catalog.HeadKey(c.number, 1), kindMissing, "there is no head yet: nothing says how far the archive must reach")
	}
}

// barrier names a place that no restore gets past. While no base backup is behind it, nothing that came after it can be restored.
func (c *chain) barrier(s *catalog.Segment, b *catalog.Barrier) {
	severity, since := Warning, "no base backup is behind it yet: what came after it cannot be restored"
	for _, base := range c.wanted {
		if b.HeldBy(base.Base, s) {
			severity, since = Note, "what came after it is restored from a base backup behind it"
		}
	}
	c.v.add(severity, catalog.SegmentKey(s.Timeline, s.First, s.Last), kindBarrier, "no server can get past %s:%d, %s; %s", s.Source.File, b.Offset, b.What, since)
}
