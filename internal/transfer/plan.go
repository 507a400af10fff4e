package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// Window is the part of an archive to copy; the zero Window is all of it. It begins with a base
// backup: the one named, or the newest that was consistent at From or before. The log goes on until To
// is covered.
type Window struct {
	Base     string
	From, To time.Time
}

// line is one timeline of the copy. It skips what comes before the window.
type line struct {
	*catalog.Timeline
	segments []*catalog.Segment // to be copied, in order
	bases    []*catalog.Base    // to be copied, by place
	last     uint64             // of the copy before: its last number
	end      *catalog.Segment   // the last one in the window; nil: there is none
	covered  time.Time          // what the head says of the end; zero: nothing
	commit   catalog.TimeRange  // of the window

	segmentsThere, basesThere int // of the window that had been copied before
}

// plan reads the manifests of an archive and returns what of each timeline belongs to the window.
func plan(ctx context.Context, c *catalog.Catalog, w Window) ([]*line, error) {
	timelines, err := c.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	bases, err := c.Bases(ctx)
	if err != nil {
		return nil, err
	}
	begin, err := w.base(c, bases)
	if err != nil {
		return nil, err
	}
	var lines []*line
	kept := make(map[uint32]uint64) // the last number of each timeline
	for _, t := range timelines {
		if t.Parent > 0 && t.ParentSegment > kept[t.Parent] {
			continue // it forks behind the window
		}
		l := &line{Timeline: t.Described()}
		if err := l.read(ctx, c, w, begin); err != nil {
			return nil, err
		}
		for _, b := range bases {
			if b.Timeline != t.Number || l.end == nil || b.Segment > l.end.Last || b.Segment <= l.Skipped {
				continue
			}
			from := b.Segment
			if begin != nil { // without its log it would be of no use
				if from, err = c.LogFrom(ctx, b); err != nil {
					return nil, err
				}
			}
			if from > l.Skipped {
				l.bases = append(l.bases, b)
			}
		}
		slices.SortStableFunc(l.bases, func(a, b *catalog.Base) int { return cmp.Compare(a.Segment, b.Segment) })
		if kept[t.Number] = l.Skipped; l.end != nil {
			kept[t.Number] = l.end.Last
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// base returns the base backup that the window begins with; nil: it begins with the archive.
func (w Window) base(c *catalog.Catalog, bases []*catalog.Base) (found *catalog.Base, err error) {
	what := w.Base
	for _, b := range bases {
		switch {
		case w.Base != "" && b.ID == w.Base:
			found = b
		case w.Base == "" && !w.From.IsZero() && !b.Consistent.After(w.From) && (found == nil || b.Consistent.After(found.Consistent)):
			found = b
		}
	}
	if w.Base == "" && w.From.IsZero() || found != nil {
		return found, nil
	}
	err = errors.New("there is no such base backup")
	if w.Base == "" {
		what, err = w.From.UTC().Format(time.RFC3339), errors.New("no base backup is that old")
	}
	return nil, fault.New(fault.Unreachable, "copy "+c.Cluster.Name+" from", what, err).
		WithHint("See the base backups with `tidemark list`; without a beginning everything is copied.")
}

// read reads the log of a timeline, as far as it belongs to the window.
func (l *line) read(ctx context.Context, c *catalog.Catalog, w Window, begin *catalog.Base) error {
	head, err := c.LastHead(ctx, l.Number) // before the log: it must reach that far
	if err != nil {
		return err
	}
	from := uint64(0)
	if begin != nil && l.Number == begin.Timeline {
		if from, err = c.LogFrom(ctx, begin); err != nil {
			return err
		}
		from = max(from, l.Skipped+1)
	}
	none := begin != nil && l.Number < begin.Timeline
	var prev *catalog.Segment
	for s, err := range c.Segments(ctx, l.Number, from) {
		if err != nil {
			return err
		}
		prev = s
		if none {
			continue
		}
		if len(l.segments) == 0 && from > 0 {
			l.begin(s.First-1, s.ChainBefore)
		}
		l.add(s)
		if w.covers(s) {
			break
		}
	}
	switch {
	case none && prev != nil:
		l.begin(prev.Last, prev.ChainAfter)
	case head != nil && l.end != nil && head.Segment <= l.end.Last:
		if head.Segment > l.Skipped {
			if err := catalog.CheckHead(head, l.digestAt); err != nil {
				return err
			}
		}
		l.covered = head.CoveredUntil
	case head != nil && head.Segment > 0 && w.To.IsZero() && !none:
		return fault.New(fault.Integrity, "copy", catalog.HeadKey(l.Number, head.Sequence),
			fmt.Errorf("the archive reached segment %d once, and that is missing now", head.Segment)).
			WithHint("Run `tidemark verify` to see what is missing.")
	}
	return nil
}

// begin makes the copy of the timeline begin later than the timeline.
func (l *line) begin(skipped uint64, chain catalog.Digest) {
	if skipped == l.Skipped {
		return
	}
	t := *l.Timeline
	t.Skipped, t.Seed = skipped, chain
	l.Timeline = &t
}

func (l *line) add(s *catalog.Segment) {
	l.segments, l.end = append(l.segments, s), s
	if s.Transactions > 0 {
		if l.commit.First.IsZero() {
			l.commit.First = s.Commit.First
		}
		l.commit.Last = s.Commit.Last
	}
}

// covers reports whether a segment is the last one that the window needs: all in it was committed, and
// received, at the window's end or later. A commit time alone may be made up.
func (w Window) covers(s *catalog.Segment) bool {
	return !w.To.IsZero() && s.Transactions > 0 && !s.Commit.Min.Before(w.To) && !s.Members[len(s.Members)-1].ReceivedLast.Before(w.To)
}

// digestAt returns the chain digest after a number.
func (l *line) digestAt(number uint64) (catalog.Digest, bool) {
	for _, s := range l.segments {
		if number < s.First || number > s.Last {
			continue
		}
		d := s.ChainBefore
		for _, m := range s.Members[:number-s.First+1] {
			d = catalog.NextDigest(d, m.BodySHA256)
		}
		return d, true
	}
	return catalog.Digest{}, false
}
