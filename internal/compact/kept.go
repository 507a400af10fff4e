package compact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// Kept compacts runs of segments whose plain bytes somebody has kept, in the way of Run: so that it takes no
// identity, nothing has to be fetched, and the log need not be listed to find them. list ascends; its last run may
// still grow and is left alone, and so is what is encrypted for others than the recipients.
//
// Through is the number up to which nothing is left to do. A run whose bytes are gone or damaged, or which
// another one has compacted in another way, is passed over: that is left to Run. With any other error Through
// says how far it came.
func Kept(ctx context.Context, c *catalog.Catalog, source Source, list []*catalog.Segment, o Options) (r *Report, through uint64, err error) {
	run := newRun(c, source, o)
	err = run.timed(func() error {
		through, err = run.kept(ctx, list)
		return err
	})
	return run.report, through, err
}

func (r *run) kept(ctx context.Context, list []*catalog.Segment) (through uint64, err error) {
	var passed error // why a run was passed over
	ours := r.o.Recipients.Fingerprints()
	g := group{o: r.o}
	for _, s := range list {
		var done []*catalog.Segment
		if slices.Equal(s.Stored.Recipients, ours) {
			done = g.add(s)
		} else {
			done, g.list, g.bytes = g.list, nil, 0
		}
		if len(done) > 1 {
			err := r.compact(ctx, done)
			switch {
			case err == nil:
				r.count(done)
			case ctx.Err() != nil:
				return through, err
			case errors.Is(err, fs.ErrNotExist):
			case fault.Is(err, fault.Locked), fault.Is(err, fault.Integrity):
				passed = errors.Join(passed, fmt.Errorf("segments %d to %d are left as they are: %w", done[0].First, done[len(done)-1].Last, err))
			default:
				return through, errors.Join(err, passed)
			}
		}
		if len(g.list) == 0 {
			through = s.Last
		} else {
			through = g.list[0].First - 1
		}
	}
	return through, passed
}

func (r *run) count(g []*catalog.Segment) {
	r.report.Into++
	r.report.Segments += len(g)
	for _, s := range g {
		r.report.Bytes += int64(s.BodyBytes)
	}
}

// Sweep removes from a timeline what was replaced a grace ago, as Run does. It begins with segment number from (0:
// the first), and returns where to begin next time.
func Sweep(ctx context.Context, c *catalog.Catalog, timeline uint32, from uint64, o Options) (r *Report, next uint64, err error) {
	run := newRun(c, c, o)
	err = run.timed(func() error {
		next, err = run.sweep(ctx, timeline, from)
		return err
	})
	return run.report, next, err
}
