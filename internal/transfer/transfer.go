// Package transfer copies an archive, or a window of it, to another store: as it is, or encrypted for
// other recipients.
//
// What is there is an archive at every moment, only shorter: data goes before the manifest that names
// it, segments in order, a base backup once its place in the log is there, and the head last. What is
// read is checked against its manifest, and what is written is read back before its manifest is put. A
// copy that was interrupted goes on where it was; what is there already must be the same.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/internal/seal"
	"tidemark/storage"
)

// Options of a copy.
type Options struct {
	Window Window
	// Recipients are who can open the copy; nil: objects are copied as they are. With them the
	// archive must be unlocked as far as it is encrypted.
	Recipients *keys.Recipients
	DryRun     bool // only say what would be copied
	Workers    int  // objects that are copied at the same time; 0: 4
	Clock      clock.Clock
	Progress   func(Progress) // may be nil; called by one goroutine at a time
}

// Progress of a copy, in stored bytes of the archive that is read.
type Progress struct {
	Bytes    int64 `json:"bytes"`
	AllBytes int64 `json:"all_bytes"`
}

// Report is what a copy has done, or with DryRun would do.
type Report struct {
	Cluster       string        `json:"cluster"`
	From          string        `json:"from"`
	To            string        `json:"to"`
	Recipients    []string      `json:"recipients"` // that it was encrypted for anew; none: as it was
	Timelines     int           `json:"timelines"`
	Segments      int           `json:"segments"` // copied
	Bases         int           `json:"bases"`
	SegmentsThere int           `json:"segments_there"` // that had been copied before
	BasesThere    int           `json:"bases_there"`
	Bytes         int64         `json:"bytes"` // stored bytes of what was copied, as read
	FirstCommit   time.Time     `json:"first_commit,omitzero"`
	LastCommit    time.Time     `json:"last_commit,omitzero"` // of the newest timeline in the copy
	Duration      time.Duration `json:"-"`
}

// Run copies an archive to a store. Kinds of errors: TargetNotEmpty when something else is there,
// Integrity when what is read or what is there is damaged, WrongKey, Unreachable for a window that the
// archive does not cover.
func Run(ctx context.Context, from *catalog.Catalog, store storage.Store, o Options) (*Report, error) {
	if o.Workers == 0 {
		o.Workers = 4
	}
	to := strings.TrimSuffix(store.URL(), "/") + "/" + from.Cluster.Name
	if to == from.URL() {
		return nil, fault.New(fault.Usage, "copy to", to, errors.New("it is the archive that is copied")).
			WithHint("Copy to another URL: what an archive holds is never changed.")
	}
	t := &transfer{from: from, o: o, report: &Report{Cluster: from.Cluster.Name, From: from.URL(), To: to, Recipients: append([]string{}, o.Recipients.Fingerprints()...)}}
	began := o.Clock.Now()
	lines, err := plan(ctx, from, o.Window)
	if err != nil {
		return nil, err
	}
	t.to, err = catalog.Open(ctx, store, from.Cluster.Name, "")
	switch {
	case fault.Is(err, fault.NoArchive):
		t.to = nil
	case err != nil:
		return nil, err
	}
	if t.to != nil {
		if err := t.compare(ctx, lines); err != nil {
			return nil, err
		}
	}
	t.count(lines)
	if o.Recipients != nil {
		if err := t.canOpen(lines); err != nil {
			return nil, err
		}
	}
	if !o.DryRun {
		if err := t.run(ctx, store, lines); err != nil {
			return nil, err
		}
	}
	t.report.Duration = o.Clock.Now().Sub(began)
	return t.report, nil
}

// transfer is one copy under way.
type transfer struct {
	from, to *catalog.Catalog // to is nil until the cluster is there
	o        Options
	report   *Report
	sealers  chan *seal.Sealer // nil: objects are copied as they are

	mu   sync.Mutex
	done Progress
}

// count says what is to be copied.
func (t *transfer) count(lines []*line) {
	r := t.report
	for _, l := range lines {
		r.Timelines++
		r.SegmentsThere += l.segmentsThere
		r.BasesThere += l.basesThere
		r.Segments += len(l.segments)
		r.Bases += len(l.bases)
		for _, s := range l.segments {
			r.Bytes += s.Stored.Size
		}
		for _, b := range l.bases {
			r.Bytes += b.StoredBytes()
		}
		if first := l.commit.First; !first.IsZero() && (r.FirstCommit.IsZero() || first.Before(r.FirstCommit)) {
			r.FirstCommit = first
		}
		if !l.commit.Last.IsZero() {
			r.LastCommit = l.commit.Last
		}
	}
	t.done.AllBytes = r.Bytes
}

// canOpen checks that all that must be encrypted anew can be opened, before any of it is.
func (t *transfer) canOpen(lines []*line) error {
	for _, l := range lines {
		for _, s := range l.segments {
			if err := t.from.CanOpen(s.Stored); err != nil {
				return err
			}
		}
		for _, b := range l.bases {
			for _, p := range b.Parts {
				if err := t.from.CanOpen(p.Stored); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t *transfer) run(ctx context.Context, store storage.Store, lines []*line) (err error) {
	if t.o.Recipients != nil {
		t.sealers = make(chan *seal.Sealer, t.o.Workers)
		for range t.o.Workers {
			s, err := seal.New(seal.Options{Recipients: t.o.Recipients})
			if err != nil {
				return err
			}
			t.sealers <- s
		}
	}
	for _, l := range lines {
		if t.to == nil {
			t.to, err = t.from.Begin(ctx, store, l.Timeline)
		} else {
			err = t.to.CopyTimeline(ctx, t.from, l.Timeline)
		}
		if err == nil {
			err = t.line(ctx, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

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
		return s, t.to.CopyData(ctx, t.from, s.Stored, t.read)
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

// base copies a base backup.
func (t *transfer) base(ctx context.Context, b *catalog.Base) error {
	copied := *b
	copied.Parts = nil
	parts := make([]*catalog.Part, len(b.Parts))
	for i := range b.Parts {
		parts[i] = &b.Parts[i]
	}
	err := ordered(ctx, t.o.Workers, parts, func(ctx context.Context, p *catalog.Part) (*catalog.Part, error) { return t.part(ctx, b, p) },
		func(_, p *catalog.Part) error { copied.Parts = append(copied.Parts, *p); return nil })
	if err != nil {
		return err
	}
	if t.sealers == nil {
		err = t.to.CopyBase(ctx, t.from, b)
	} else {
		err = t.to.PutBase(ctx, &copied)
	}
	return t.meanwhile("base/"+b.ID+"/manifest.json", err)
}

func (t *transfer) part(ctx context.Context, b *catalog.Base, p *catalog.Part) (*catalog.Part, error) {
	if t.sealers == nil {
		return p, t.to.CopyData(ctx, t.from, p.Stored, t.read)
	}
	plain, err := t.from.OpenPart(ctx, *p)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	sealer := <-t.sealers
	defer func() { t.sealers <- sealer }()
	copied := *p
	stored, r, err := t.to.SealData(ctx, sealer, catalog.PartKey(b.ID, p.Number, newNonce()+"."+b.Engine), plain)
	if err == nil && (r.PlainSHA256 != p.PlainSHA256 || r.PlainBytes != p.PlainBytes) {
		err = fault.New(fault.Integrity, "read", p.Stored.Key, errors.New("its plain bytes are not those that its manifest describes"))
	}
	copied.Stored = stored
	t.read(int(p.Stored.Size))
	return &copied, err
}

// read counts bytes as copied.
func (t *transfer) read(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done.Bytes += int64(n)
	if t.o.Progress != nil {
		t.o.Progress(t.done)
	}
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
