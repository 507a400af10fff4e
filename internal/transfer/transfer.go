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
	if strings.HasPrefix(to+"/", from.URL()+"/") {
		return nil, fault.New(fault.Usage, "copy to", to, errors.New("it is the archive that is copied, or in it")).
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
	sizes    map[string]int64  // of the data objects that were there at the beginning, by key

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
	return t.to.DropReceipts(ctx)
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
