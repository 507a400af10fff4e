package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// Commit puts the manifest of a segment: from then on the segment exists. The stored object must be
// there already. The error is of kind Locked when another writer has the number. If an earlier attempt
// has put the segment already, s becomes what it put.
func (c *Catalog) Commit(ctx context.Context, s *Segment) error {
	if err := checkSegment(s); err != nil {
		return err
	}
	key := segmentKey(s.Timeline, s.First, s.Last)
	err := c.putNew(ctx, key, segmentToWire(s))
	if errors.Is(err, storage.ErrExist) {
		err = c.adopt(ctx, s)
	}
	if err != nil {
		return err
	}
	// A writer that stalled may win a number that another one has compacted away or gone past. The
	// newest segment is never compacted or expired, so whoever went past it is seen behind it.
	for r, err := range c.ranges(ctx, s.Timeline, s.First) {
		if err != nil {
			return err
		}
		if r.last >= s.First && (r.first != s.First || r.last != s.Last) {
			return takenBy(segmentKey(s.Timeline, r.first, r.last))
		}
	}
	return nil
}

// adopt makes s what the archive has in its place, if that is s as an earlier attempt of the same
// writer put it, under another data key: a put that was reported lost may have been done.
func (c *Catalog) adopt(ctx context.Context, s *Segment) error {
	there, err := c.segment(ctx, s.Timeline, span{s.First, s.Last})
	if err != nil {
		return err
	}
	if there.Writer != s.Writer || there.ChainAfter != s.ChainAfter {
		return takenBy(segmentKey(s.Timeline, s.First, s.Last))
	}
	*s = *there
	return nil
}

func takenBy(key string) error {
	return fault.New(fault.Locked, "commit", key, errors.New("another writer archives this cluster")).
		WithHint("Only one `tidemark run` may archive a cluster: stop the other one, or give this one another cluster name.")
}

// span is the range of numbers a manifest covers.
type span struct{ first, last uint64 }

// ranges lists the manifests of a timeline in key order, those first that begin at or after from.
func (c *Catalog) ranges(ctx context.Context, timeline uint32, from uint64) iter.Seq2[span, error] {
	prefix := c.key(logPrefix(timeline))
	after := ""
	if from > 0 {
		after = prefix + rangeName(from, 0)
	}
	return func(yield func(span, error) bool) {
		for o, err := range c.store.List(ctx, prefix+"0", after) {
			if err != nil {
				yield(span{}, fmt.Errorf("list segments: %w", err))
				return
			}
			if first, last, ok := parseRange(strings.TrimPrefix(o.Key, prefix), ".json"); ok && !yield(span{first, last}, nil) {
				return
			}
		}
	}
}

// cover picks from all manifests of a timeline those that make up the chain from number from on,
// the widest ones where several cover a number. With the error that a number is missing it returns
// the chain up to there.
func (c *Catalog) cover(ctx context.Context, timeline uint32, from uint64) ([]span, error) {
	return c.coverFrom(ctx, timeline, 0, from)
}

// coverFrom is cover of what begins at or after a number.
func (c *Catalog) coverFrom(ctx context.Context, timeline uint32, begins, from uint64) ([]span, error) {
	var chain []span
	next := max(from, 1)
	var best span // the widest that covers next
	for r, err := range c.ranges(ctx, timeline, begins) {
		if err != nil {
			return nil, err
		}
		if r.last < next {
			continue
		}
		if r.first > next {
			if best.last < next {
				return chain, missing(timeline, next)
			}
			chain, next, best = append(chain, best), best.last+1, span{}
			if r.last < next {
				continue
			}
			if r.first > next {
				return chain, missing(timeline, next)
			}
		}
		if r.last > best.last {
			best = r
		}
	}
	if best.last >= next {
		chain = append(chain, best)
	}
	return chain, nil
}

func missing(timeline uint32, n uint64) error {
	return fault.New(fault.Integrity, "read the chain", segmentKey(timeline, n, n), errors.New("the segment is missing")).
		WithHint("Run `tidemark verify` to see what is missing; points before it can still be restored.")
}

// Segments yields the manifests of a timeline from the one that covers number from (0: the first),
// in order, each checked by itself and against the one before it. It ends with an error at the
// first hole or contradiction.
func (c *Catalog) Segments(ctx context.Context, timeline uint32, from uint64) iter.Seq2[*Segment, error] {
	return func(yield func(*Segment, error) bool) {
		t, err := c.Timeline(ctx, timeline)
		if err != nil {
			yield(nil, err)
			return
		}
		after, _ := t.Begins()
		spans, holes := c.cover(ctx, t.Number, max(from, after+1))
		read, err := c.manifests(ctx, t.Number, spans)
		if err != nil {
			yield(nil, err)
			return
		}
		var prev *Segment
		for f := range read {
			err := f.err
			if err == nil {
				err = follows(t, prev, f.seg)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(f.seg, nil) {
				return
			}
			prev = f.seg
		}
		if holes != nil {
			yield(nil, holes)
		}
	}
}

// KeptSegments yields the manifests of a run that stays although what follows it has expired, checked as
// Segments checks them, and the first one against the record.
func (c *Catalog) KeptSegments(ctx context.Context, t *Timeline, kept KeptLog) iter.Seq2[*Segment, error] {
	return func(yield func(*Segment, error) bool) {
		spans, err := c.cover(ctx, t.Number, kept.First)
		if len(spans) == 0 {
			if err == nil {
				err = missing(t.Number, kept.First)
			}
			yield(nil, err)
			return
		}
		run := *t // as if the log began there
		run.Expired = ExpiredLog{Timeline: t.Number, Through: kept.First - 1, Chain: kept.Before}
		var prev *Segment
		for _, r := range spans {
			if r.first > kept.Last {
				return
			}
			s, err := c.segment(ctx, t.Number, r)
			if err == nil {
				err = follows(&run, prev, s)
			}
			if !yield(s, err) || err != nil {
				return
			}
			prev = s
		}
		if prev.Last < kept.Last {
			yield(nil, missing(t.Number, prev.Last+1))
		}
	}
}

// Last returns the newest segment of a timeline, or nil when there is none. A log that does not hold
// what its newest head anchors is refused.
func (c *Catalog) Last(ctx context.Context, timeline uint32) (*Segment, error) {
	var from uint64
	head, err := c.LastHead(ctx, timeline)
	if err != nil {
		return nil, err
	}
	if head != nil {
		from = head.Segment
	}
	if from == 0 {
		t, err := c.Timeline(ctx, timeline)
		if err != nil {
			return nil, err
		}
		after, _ := t.Begins()
		from = after + 1
	}
	spans, err := c.cover(ctx, timeline, from)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 {
		if head != nil && head.Segment > 0 {
			return nil, cutOff(head)
		}
		return nil, nil
	}
	if head != nil && head.Segment > 0 {
		anchored, err := c.segment(ctx, timeline, spans[0])
		if err != nil {
			return nil, err
		}
		if err := CheckHead(head, anchored.chainAt); err != nil {
			return nil, err
		}
	}
	return c.segment(ctx, timeline, spans[len(spans)-1])
}

// ChainAt returns the chain digest after a segment number, if the timeline has that. The error is
// ErrExpired for what the timeline has no more.
func (c *Catalog) ChainAt(ctx context.Context, timeline uint32, number uint64) (Digest, bool, error) {
	t, err := c.Timeline(ctx, timeline)
	if err != nil {
		return Digest{}, false, err
	}
	switch after, chain := t.Begins(); {
	case number == after && number > 0:
		return chain, true, nil
	case number <= t.Expired.Through:
		return Digest{}, false, expired(timeline, number)
	}
	spans, err := c.cover(ctx, timeline, number)
	if len(spans) == 0 {
		return Digest{}, false, err
	}
	s, err := c.segment(ctx, timeline, spans[0])
	if err != nil {
		return Digest{}, false, err
	}
	d, ok := s.chainAt(number)
	return d, ok, nil
}

func (c *Catalog) segment(ctx context.Context, timeline uint32, r span) (*Segment, error) {
	key := segmentKey(timeline, r.first, r.last)
	m, err := readObject(ctx, c.store, c.key(key), newSegment)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	s, err := segmentFromWire(m)
	if err == nil && (s.Timeline != timeline || s.First != r.first || s.Last != r.last) {
		err = fmt.Errorf("it is the manifest of segment %s of timeline %d", s.Name(), s.Timeline)
	}
	if err == nil {
		err = checkSegment(s)
	}
	if err != nil {
		return nil, damaged("read", key, err)
	}
	return s, nil
}

// SegmentReader reads the events of a segment; Scanner gives them, Close checks nothing: a reader
// that reached io.EOF has checked every byte against the manifest.
type SegmentReader struct {
	*binlog.Scanner
	seg *Segment
	r   *verified
}

// OpenSegment opens a segment for reading its events.
func (c *Catalog) OpenSegment(ctx context.Context, s *Segment) (*SegmentReader, error) {
	r, err := c.OpenPlain(ctx, s)
	if err != nil {
		return nil, err
	}
	v := r.(*verified)
	sc, err := binlog.NewFileScanner(v, binlog.DefaultBuffer, s.HeadBytes, s.Source.StartPoint())
	if err != nil {
		_ = v.Close()
		return nil, c.segmentError(s, err)
	}
	return &SegmentReader{Scanner: sc, seg: s, r: v}, nil
}

// Next is Scanner.Next with the segment named in errors.
func (r *SegmentReader) Next() (*binlog.Event, error) {
	ev, err := r.Scanner.Next()
	if err != nil && err != io.EOF {
		err = r.r.c.segmentError(r.seg, err)
	}
	return ev, err
}

// Close releases the reader.
func (r *SegmentReader) Close() error { return r.r.Close() }

// OpenPlain opens a segment as the plain binlog file it is. Reading to io.EOF has checked every
// byte against the manifest.
func (c *Catalog) OpenPlain(ctx context.Context, s *Segment) (io.ReadCloser, error) {
	r, err := c.Open(ctx, s.Stored)
	if err != nil {
		return nil, err
	}
	return newVerified(c, s, r), nil
}

// segmentError makes anything wrong with a segment's content an integrity failure that names it.
func (c *Catalog) segmentError(s *Segment, err error) error {
	if k := fault.KindOf(err); k != fault.Other {
		return err
	}
	return damaged("read segment "+s.Name()+" in", s.Stored.Key, err)
}
