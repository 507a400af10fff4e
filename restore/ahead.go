package restore

import (
	"bytes"
	"context"
	"io"
	"iter"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/ordered"
)

// Segments up to this size, plain, are read whole and several at a time: storage answers each
// request late, and there may be thousands of them. Larger ones are streamed.
const (
	smallSegment = 8 << 20
	atATime      = 8
)

// source is a segment that is about to be read.
type source struct {
	c     *catalog.Catalog
	index int
	seg   *catalog.Segment
	whole bool // data is all of it, or err why not; else it is streamed
	data  []byte
	err   error
}

// ahead yields the segments in order, while the next ones are already being read.
func ahead(ctx context.Context, c *catalog.Catalog, segments []*catalog.Segment) iter.Seq[*source] {
	sources := func(yield func(*source) bool) {
		for i, seg := range segments {
			if !yield(&source{c: c, index: i, seg: seg, whole: seg.BodyBytes <= smallSegment}) {
				return
			}
		}
	}
	return ordered.Map(ctx, atATime, sources, func(ctx context.Context, s *source) *source {
		if s.whole {
			s.data, s.err = s.read(ctx)
		}
		return s
	})
}

func (s *source) read(ctx context.Context) ([]byte, error) {
	r, err := s.openPlain(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// openPlain opens the segment. When it is gone, it may have been put together with others meanwhile;
// then those are opened.
func (s *source) openPlain(ctx context.Context) (io.ReadCloser, error) {
	r, err := s.c.OpenPlain(ctx, s.seg)
	if !fault.Is(err, fault.Integrity) {
		return r, err
	}
	for wider, werr := range s.c.Segments(ctx, s.seg.Timeline, s.seg.First) {
		if werr != nil || wider.First > s.seg.First || wider.Last < s.seg.Last || wider.Stored.Key == s.seg.Stored.Key ||
			!wider.Source.SameFile(s.seg.Source) {
			break
		}
		s.seg = wider
		return s.c.OpenPlain(ctx, wider)
	}
	return nil, err
}

// events are those of a segment being read.
type events struct {
	*binlog.Scanner
	r io.Closer
}

func (e *events) close() { e.r.Close() }

// open returns the segment's events.
func (s *source) open(ctx context.Context) (*events, error) {
	if s.err != nil {
		return nil, s.err
	}
	r := io.NopCloser(io.Reader(bytes.NewReader(s.data)))
	if !s.whole {
		var err error
		if r, err = s.openPlain(ctx); err != nil {
			return nil, err
		}
	}
	sc, err := binlog.NewFileScanner(r, binlog.DefaultBuffer, s.seg.HeadBytes, s.seg.Source.StartPoint())
	if err != nil {
		r.Close()
		return nil, s.wrong(err)
	}
	return &events{sc, r}, nil
}

// wrong makes anything that is wrong with the segment's content an integrity failure that names it.
func (s *source) wrong(err error) error {
	if fault.KindOf(err) != fault.Other {
		return err
	}
	return fault.New(fault.Integrity, "read segment "+s.seg.Name()+" in", s.seg.Stored.Key, err).
		WithHint("Run `tidemark verify --data` to see everything that is damaged.")
}
