// Package expire removes from an archive what its retention does not promise any more.
//
// What goes is decided by a plan, made of the manifests alone (see MakePlan), and becomes final by a
// record that is put into the archive before anything is removed (catalog.Expiry): from then on readers
// leave out what it names. Objects are removed when the record is older than a grace, so that a restore
// that was planned before it still finds what it reads; always a manifest before its data. So a run that
// is killed leaves an archive that reads well, the next one goes on where it was, and two at once do the
// same twice.
package expire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// Policy says what stays.
type Policy struct {
	// Window is how far back every moment can be restored; 0: no further than MaxBackups says.
	Window time.Duration
	// MinBackups is how many base backups stay whatever their age.
	MinBackups int
	// MaxBackups is how many stay at most, unless the window needs them; 0: any number.
	MaxBackups int
}

// PolicyOf is that of a configuration.
func PolicyOf(r config.Retention) Policy {
	return Policy{Window: r.Window, MinBackups: r.MinBackups, MaxBackups: r.MaxBackups}
}

// Never reports whether nothing ever expires.
func (p Policy) Never() bool { return p.Window == 0 && p.MaxBackups == 0 }

// Options of a run.
type Options struct {
	Policy Policy
	Grace  time.Duration // how long objects stay after they have expired; 0: they go at once
	DryRun bool          // only say what would go
	Clock  clock.Clock
	// Progress is told how many objects have been removed so far; may be nil.
	Progress func(objects int64)
}

// Report is what a run has done, or with DryRun would do.
type Report struct {
	Cluster string `json:"cluster"`
	Archive string `json:"archive"`
	DryRun  bool   `json:"dry_run"`
	Never   bool   `json:"never"` // no retention is configured: nothing ever expires
	Plan    *Plan  `json:"plan,omitempty"`

	Recorded    bool      `json:"recorded"`              // that more has expired than before
	DeleteAfter time.Time `json:"delete_after,omitzero"` // when what has expired last may be removed
	Deleted     int64     `json:"deleted_objects"`       // or with DryRun would be
	Bytes       int64     `json:"deleted_bytes"`         // of them, as stored
	Orphans     int64     `json:"deleted_orphans"`       // of them, data that no manifest names
	Waiting     int64     `json:"waiting_objects"`       // have expired, and are removed after the grace
	Refused     []Refused `json:"refused,omitempty"`     // that the storage does not let go, the first ones
	RefusedAll  int64     `json:"refused_objects"`       // how many
	Warnings    []string  `json:"warnings,omitempty"`    // of the plan
}

// Refused is an object that the storage did not remove, and why: it may be locked.
type Refused struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

// mostRefused bounds what a report names of them.
const mostRefused = 20

// Err returns an error of kind Warnings when the storage refused to remove objects, or the plan warns.
func (r *Report) Err() error {
	switch {
	case r.RefusedAll > 0:
		return fault.New(fault.Warnings, "expire", r.Archive, fmt.Errorf("the storage refuses to delete %d objects", r.RefusedAll)).
			WithHint("Where objects are locked they go when the lock ends; else look whether the credentials permit to delete.")
	case len(r.Warnings) > 0:
		return fault.New(fault.Warnings, "expire", r.Archive, errors.New(r.Warnings[0]))
	}
	return nil
}

// Run makes a plan, records it, and removes what an earlier record lets go. The error is that of the
// report (see Report.Err), or says why the run ended; then the report says what it had done. An archive
// that is damaged where the window needs it is not touched: that is of kind Integrity.
func Run(ctx context.Context, cat *catalog.Catalog, o Options) (*Report, error) {
	r := &Report{Cluster: cat.Cluster.Name, Archive: cat.URL(), DryRun: o.DryRun}
	if o.Policy.Never() {
		r.Never = true
		return r, nil
	}
	s, record, err := decide(ctx, cat, o, r)
	if err != nil {
		return r, err
	}
	x := &executor{cat: cat, o: o, report: r, newest: record, ends: make(map[uint32]uint64)}
	for _, l := range s.lines {
		x.ends[l.Number] = l.last()
	}
	if err := x.run(ctx); err != nil {
		return r, err
	}
	return r, r.Err()
}

// tries bounds how often a plan is made again because somebody else has put a record.
const tries = 5

// decide makes a plan and puts its record, and returns what it was made of and the newest record. With
// DryRun that is one that was not put.
func decide(ctx context.Context, cat *catalog.Catalog, o Options, r *Report) (*state, *catalog.Expiry, error) {
	for try := 1; ; try++ {
		s, err := read(ctx, cat, o.Clock.Now().UTC())
		if errors.Is(err, errMoved) && try < tries {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		record, err := s.record(ctx, cat, o, r)
		if !errors.Is(err, storage.ErrExist) || try == tries {
			return s, record, err
		}
	}
}

// record puts the record of a plan, if it says more than the newest one. Whoever marks a base backup looks
// for a record after that, and we look for marks after the record: so one of both sees the other.
func (s *state) record(ctx context.Context, cat *catalog.Catalog, o Options, r *Report) (*catalog.Expiry, error) {
	sequence := s.last.Sequence
	for {
		p, err := s.plan(ctx, cat, o.Policy)
		if err != nil {
			return nil, err
		}
		e := p.expiry(s.left)
		e.Sequence, e.Decided, e.DeleteAfter = sequence+1, s.now, s.now.Add(o.Grace)
		r.Plan, r.Warnings, r.DeleteAfter = p, p.Warnings, s.last.DeleteAfter
		more := sequence > s.last.Sequence || !same(e, s.last)
		sooner := s.last.Sequence > 0 && e.DeleteAfter.Before(s.last.DeleteAfter)
		if !more && !sooner {
			return s.last, nil
		}
		r.Recorded, r.DeleteAfter = more, e.DeleteAfter
		if o.DryRun {
			return e, nil
		}
		if err := cat.PutExpiry(ctx, e); err != nil {
			return nil, err
		}
		keeps, err := cat.Keeps(ctx, s.bases)
		if err != nil {
			return nil, err
		}
		if !changed(s.keeps, keeps) {
			return e, nil
		}
		s.keeps, sequence = keeps, e.Sequence
	}
}

// changed reports whether base backups were marked meanwhile.
func changed(before, after map[string]*catalog.Keep) bool {
	for id, k := range after {
		if was := before[id]; was == nil || was.Sequence != k.Sequence {
			return true
		}
	}
	return false
}
