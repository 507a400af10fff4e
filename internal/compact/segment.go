package compact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/seal"
	"tidemark/storage"
)

// compact writes a run of segments as one. Its data is read back before its manifest is put.
func (r *run) compact(ctx context.Context, g []*catalog.Segment) (err error) {
	if r.sealer == nil {
		if r.sealer, err = seal.New(seal.Options{SkipPlainHash: true, Recipients: r.o.Recipients}); err != nil {
			return err
		}
	}
	s := merge(g)
	s.Writer, s.CreatedBy, s.Sealed = r.o.Writer, r.o.Version, r.o.Clock.Now().UTC()
	in := &joined{ctx: ctx, run: r, left: g, body: sha256.New(), tail: sha256.New(), head: s.HeadBytes,
		skip: s.HeadBytes + s.Tail.Offset - s.Source.Start}
	defer in.close()
	key := catalog.SegmentDataKey(s.Timeline, s.First, s.Last, uuid.NewString())
	stored, _, err := r.c.SealData(ctx, r.sealer, key, in)
	if err != nil {
		return err
	}
	s.Stored, s.BodySHA256, s.Tail.SHA256 = stored, catalog.Digest(in.body.Sum(nil)), catalog.Digest(in.tail.Sum(nil))
	err = r.c.PutSegment(ctx, s)
	if errors.Is(err, storage.ErrExist) { // another run's, of the same members, or our own before a lost reply
		return nil
	}
	if err != nil {
		return err
	}
	// Who compacts at the same time does it in the same way, unless told other sizes; then one of them would
	// begin inside what the other has written, and no chain could be read. Whoever puts last sees both.
	if err := r.alone(ctx, s); err != nil {
		return errors.Join(err, r.c.Discard(ctx, catalog.SegmentKey(s.Timeline, s.First, s.Last)))
	}
	return nil
}

// alone checks that no other segment crosses the ends of one, and that the log does not begin inside it by now.
func (r *run) alone(ctx context.Context, s *catalog.Segment) error {
	t, err := r.c.Timeline(ctx, s.Timeline)
	if err != nil {
		return err
	}
	if before, _ := t.Begins(); before >= s.First {
		return fault.New(fault.Locked, "compact segments", s.Name(), fmt.Errorf("the log has expired through segment %d meanwhile", before)).
			WithHint("What has not expired is compacted by the next run.")
	}
	for l, err := range r.c.Objects(ctx, catalog.LogPrefix(s.Timeline)) {
		if err != nil {
			return err
		}
		if l.Class == catalog.ClassSegment && l.First > s.Last {
			break
		}
		apart := l.Last < s.First
		inside := l.First >= s.First && l.Last <= s.Last
		if l.Class == catalog.ClassSegment && !apart && !inside {
			return fault.New(fault.Locked, "compact segments", s.Name(), fmt.Errorf("%w: segment %d-%d is there", errChanged, l.First, l.Last)).
				WithHint("Let one `tidemark compact` at a time work on a cluster.")
		}
	}
	return nil
}

// merge makes one manifest of those of a run, but for what is known only when its data is stored.
func merge(g []*catalog.Segment) *catalog.Segment {
	first, last := g[0], g[len(g)-1]
	s := *first
	s.Last, s.Source.End, s.After, s.ChainAfter = last.Last, last.Source.End, last.After, last.ChainAfter
	tail := catalog.Tail{Offset: first.Source.Start, Before: first.Before}
	s.Members, s.ServerIDs, s.Barriers, s.Commit = nil, nil, nil, catalog.TimeRange{}
	s.Transactions, s.Events, s.BodyBytes = 0, 0, 0
	for _, m := range g {
		s.Members = append(s.Members, m.Members...)
		s.ServerIDs = append(s.ServerIDs, m.ServerIDs...)
		for _, b := range m.Barriers {
			s.Barriers = catalog.AddBarrier(s.Barriers, b)
		}
		s.Transactions += m.Transactions
		s.Events += m.Events
		s.BodyBytes += m.BodyBytes
		s.Commit = span(s.Commit, m.Commit)
		if m.Tail.GTID != "" {
			tail = *m.Tail
		}
	}
	tail.Bytes = s.Source.End - tail.Offset
	s.Tail = &tail
	slices.Sort(s.ServerIDs)
	s.ServerIDs = slices.Compact(s.ServerIDs)
	return &s
}

// span is the range of the commit times of two segments, one behind the other.
func span(a, b catalog.TimeRange) catalog.TimeRange {
	switch {
	case b.First.IsZero():
		return a
	case a.First.IsZero():
		return b
	}
	a.Last, a.Precision = b.Last, max(a.Precision, b.Precision)
	for _, t := range []time.Time{b.Min, b.Max} {
		if t.Before(a.Min) {
			a.Min = t
		}
		if t.After(a.Max) {
			a.Max = t
		}
	}
	return a
}

// joined reads the plain bytes of a run of segments: the head of the first, then the bodies. Each segment is
// checked against its manifest before the last byte of it is given.
type joined struct {
	ctx  context.Context
	run  *run
	left []*catalog.Segment
	now  io.ReadCloser

	body, tail hash.Hash
	head       uint64 // bytes to come before the first body
	skip       uint64 // bytes to come before the tail
	begun      bool
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.now == nil {
			if len(j.left) == 0 {
				return 0, io.EOF
			}
			if err := j.open(j.left[0]); err != nil {
				return 0, err
			}
			j.left = j.left[1:]
		}
		n, err := j.now.Read(p)
		if n > 0 {
			j.count(p[:n])
		}
		if err == io.EOF {
			j.close()
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (j *joined) open(s *catalog.Segment) (err error) {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if j.now, err = j.run.source.OpenPlain(j.ctx, s); err != nil {
		return err
	}
	if j.begun {
		_, err = io.CopyN(io.Discard, j.now, int64(s.HeadBytes))
	}
	j.begun = true
	return err
}

func (j *joined) count(p []byte) {
	n := uint64(len(p))
	j.body.Write(p[min(n, j.head):])
	j.tail.Write(p[min(n, j.skip):])
	j.head -= min(n, j.head)
	j.skip -= min(n, j.skip)
	r := j.run
	if r.done.Bytes = min(r.done.Bytes+int64(n), r.done.AllBytes); r.o.Progress != nil {
		r.o.Progress(r.done)
	}
}

func (j *joined) close() {
	if j.now != nil {
		_ = j.now.Close()
		j.now = nil
	}
}
