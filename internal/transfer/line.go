package transfer

import (
	"context"
	"errors"
	"fmt"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// line copies one timeline: its segments in order, each base backup when the log reaches its place,
// and then the head, and index objects.
func (t *transfer) line(ctx context.Context, l *line) error {
	bases := l.bases
	reached := func(number uint64) error {
		for len(bases) > 0 && bases[0].Segment <= number {
			if err := t.base(ctx, bases[0]); err != nil {
				return err
			}
			bases = bases[1:]
		}
		return nil
	}
	if err := reached(l.last); err != nil {
		return err
	}
	err := ordered(ctx, t.o.Workers, l.segments, t.segment, func(s *catalog.Segment, copied *catalog.Segment) error {
		put := func() error { return t.to.PutSegment(ctx, copied) }
		if t.sealers == nil {
			put = func() error { return t.to.CopySegment(ctx, t.from, s) }
		}
		if err := put(); err != nil {
			return t.meanwhile(catalog.SegmentKey(s.Timeline, s.First, s.Last), err)
		}
		return reached(s.Last)
	})
	if err != nil {
		return err
	}
	if err := t.head(ctx, l); err != nil {
		return err
	}
	return t.index(ctx, l)
}

// meanwhile says so if the error is that something came to be there since it was looked at.
func (t *transfer) meanwhile(key string, err error) error {
	if errors.Is(err, storage.ErrExist) {
		err = t.to.Differs(key, errors.New("something else came there meanwhile"))
	}
	return err
}

// segment copies a segment's data and returns the manifest that it has there.
func (t *transfer) segment(ctx context.Context, s *catalog.Segment) (*catalog.Segment, error) {
	if t.sealers == nil {
		return s, t.data(ctx, s.Stored)
	}
	plain, err := t.from.OpenPlain(ctx, s)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	sealer := <-t.sealers
	defer func() { t.sealers <- sealer }()
	copied := *s
	copied.Stored, _, err = t.to.SealData(ctx, sealer, catalog.SegmentDataKey(s.Timeline, s.First, s.Last, newNonce()), plain)
	t.read(int(s.Stored.Size))
	return &copied, err
}

// data copies an object as it is, unless a copy before this one has: then it is only read there.
func (t *transfer) data(ctx context.Context, s catalog.Stored) error {
	if t.sizes[s.Key] == s.Size {
		err := t.to.VerifyStored(ctx, s)
		if err == nil {
			t.read(int(s.Size))
		}
		if !fault.Is(err, fault.Integrity) {
			return err
		}
	}
	return t.to.CopyData(ctx, t.from, s, t.read)
}

// head anchors the copied chain. Its number is one of the copy's own.
func (t *transfer) head(ctx context.Context, l *line) error {
	if l.end == nil {
		return nil
	}
	there, err := t.to.LastHead(ctx, l.Number)
	if err != nil {
		return err
	}
	h := &catalog.Head{Timeline: l.Number, Segment: l.end.Last, Chain: l.end.ChainAfter, Position: l.end.After,
		CoveredUntil: l.covered, Written: t.o.Clock.Now().UTC(), Writer: "tidemark copy"}
	if there != nil && (there.Segment > h.Segment || there.Segment == h.Segment && !h.CoveredUntil.After(there.CoveredUntil)) {
		return nil
	}
	if there != nil && there.CoveredUntil.After(h.CoveredUntil) {
		h.CoveredUntil = there.CoveredUntil
	}
	return t.to.PutHead(ctx, h)
}

// index puts the manifests of every whole thousand of numbers together, as they are there.
func (t *transfer) index(ctx context.Context, l *line) error {
	if l.end == nil {
		return nil
	}
	indexed, err := t.to.Indexed(ctx, l.Number)
	if err != nil {
		return err
	}
	if before := l.Skipped; indexed < before {
		indexed = (before + catalog.IndexEvery - 1) / catalog.IndexEvery * catalog.IndexEvery
	}
	for ; indexed+catalog.IndexEvery <= l.end.Last; indexed += catalog.IndexEvery {
		if err := t.to.PutIndex(ctx, l.Number, indexed+1, indexed+catalog.IndexEvery); err != nil {
			return fmt.Errorf("index the copy: %w", err)
		}
	}
	return nil
}
