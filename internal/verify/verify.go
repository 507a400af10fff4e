// Package verify checks an archive: that every object is there, is the one that was stored, and says
// what the others say. It changes nothing.
//
// The quick check reads all manifests and lists all objects: holes, swapped, foreign and stale
// manifests, a cut-off tail, and missing or short data show. With Data every stored byte is read:
// hashes, the checksum of every event, and what the manifest tells of positions, times and counts is
// found again from the events themselves.
//
// It goes on past damage, to name all of it. An archive that is written to meanwhile is no cause for
// a false alarm: what anchors the chain is read before the chain is listed, and what seems to be
// missing is asked for once more.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// Options of a check.
type Options struct {
	// Timeline limits the check to one timeline and its base backups; 0 means all.
	Timeline uint32
	// Data has every stored byte read.
	Data bool
	// Stored has every stored byte read too, but compared with its hash only: that needs no identity.
	Stored bool
	// Subset limits the reading of bytes, not the rest, to one part of the objects.
	Subset Subset
	// Workers is how many objects are read at the same time; 0 means 4.
	Workers int
	// Anchor is what is known of the archive from elsewhere; nil: nothing. It must have been read before.
	Anchor *catalog.Anchor
	// Clock tells old leftovers from uploads under way.
	Clock clock.Clock
	// Progress is told what has been done so far; may be nil. It is called by one goroutine at a time.
	Progress func(Progress)
}

// Progress of a check, in objects and stored bytes.
type Progress struct {
	Objects    int64 `json:"objects"`
	AllObjects int64 `json:"all_objects"`
	Bytes      int64 `json:"bytes"`
	AllBytes   int64 `json:"all_bytes"` // of data; 0 when none is read

	Rate float64 `json:"bytes_per_second"` // since the check began
	Left float64 `json:"seconds_left"`     // at that rate; 0 when nothing is known
}

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Damage  Severity = "damage"  // something archived cannot be restored, or cannot be trusted
	Warning Severity = "warning" // nothing is lost, but a person should look
	Note    Severity = "note"    // harmless
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Object   string   `json:"object"` // key, relative to the cluster
	Kind     string   `json:"kind"`   // missing, damaged, inconsistent, orphan, unknown, barrier
	Problem  string   `json:"problem"`
}

// The kinds of findings.
const (
	kindMissing      = "missing"
	kindDamaged      = "damaged"
	kindInconsistent = "inconsistent"
	kindOrphan       = "orphan"
	kindUnknown      = "unknown"
	kindBarrier      = "barrier"
)

// Report is what a check has found. Counts are of what was checked, not of what was found good.
type Report struct {
	Cluster      string        `json:"cluster"`
	Archive      string        `json:"archive"`
	Data         bool          `json:"data"`
	Stored       bool          `json:"stored"`
	Subset       string        `json:"subset,omitempty"` // the part of the data that was read, "3/20"; absent: all of it
	Timelines    int           `json:"timelines"`
	Segments     int64         `json:"segments"`
	Transactions uint64        `json:"transactions"`
	Events       uint64        `json:"events"`
	Bases        int           `json:"bases"`
	Parts        int           `json:"parts"`
	Objects      int64         `json:"objects"`
	StoredBytes  int64         `json:"stored_bytes"`
	ReadBytes    int64         `json:"read_bytes"` // stored bytes of data that were read
	Expired      int64         `json:"expired"`    // objects that are no part of the archive any more, and not removed yet
	Duration     time.Duration `json:"-"`
	Findings     []Finding     `json:"findings"`

	what string
}

// Count returns how many findings are of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Err returns an error of kind Integrity when anything is damaged, of kind Warnings when there are
// warnings only, else nil.
func (r *Report) Err() error {
	if n := r.Count(Damage); n > 0 {
		return fault.New(fault.Integrity, "verify", r.Archive, fmt.Errorf("%d %s", n, plural(n, "object is damaged, missing or inconsistent", "objects are damaged, missing or inconsistent"))).
			WithHint("Points before the damage can still be restored, see `tidemark list`; take a new base backup with `tidemark backup` to be safe from now on.")
	}
	if n := r.Count(Warning); n > 0 {
		return fault.New(fault.Warnings, "verify", r.Archive, fmt.Errorf("%d %s", n, plural(n, "warning", "warnings")))
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Run checks the archive of a cluster. The error is that of the report (see Report.Err), or says
// why the check could not be done; then the report is nil.
func Run(ctx context.Context, cat *catalog.Catalog, o Options) (*Report, error) {
	if o.Workers == 0 {
		o.Workers = 4
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v := &verifier{cat: cat, o: o, ctx: ctx, stop: cancel, slots: make(chan struct{}, o.Workers), unread: make(map[string]bool), expiry: new(catalog.Expiry),
		report: &Report{Cluster: cat.Cluster.Name, Archive: cat.URL(), Data: o.Data, Stored: o.Stored, Subset: o.Subset.String(), what: o.What(), Findings: []Finding{}}}
	began := o.Clock.Now()
	v.began = began
	err := v.run()
	v.work.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what stopped the workers, not what they said when they were stopped
	}
	if err != nil {
		return nil, err
	}
	r := v.report
	r.Duration = o.Clock.Now().Sub(began)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return strings.Compare(a.Object, b.Object) })
	return r, r.Err()
}

// verifier is one check under way. Its methods stop with an error only when the check cannot go on.
type verifier struct {
	cat   *catalog.Catalog
	o     Options
	ctx   context.Context
	stop  context.CancelCauseFunc
	found inventory
	began time.Time

	expiry *catalog.Expiry // what is no part of the archive any more

	unread map[string]bool // keys of manifests that are there and do not read

	mu     sync.Mutex // guards what follows
	report *Report
	done   Progress

	work  sync.WaitGroup
	slots chan struct{} // taken by a reader of data
}

func (v *verifier) run() error {
	anchors, err := v.readHeads()
	if err != nil {
		return err
	}
	if err := v.list(); err != nil {
		return err
	}
	bases, err := v.readBases()
	if err != nil {
		return err
	}
	for _, n := range v.found.timelines() {
		if err := v.timeline(n, anchors[n], bases); err != nil {
			return err
		}
	}
	v.checkAnchored()
	v.checkBases(bases)
	v.work.Wait()
	return errors.Join(v.leftovers(), v.ctx.Err())
}

// add records a finding.
func (v *verifier) add(s Severity, object, kind, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Findings = append(v.report.Findings, Finding{s, object, kind, fmt.Sprintf(format, args...)})
}

// blame records err as damage of an object, unless it says that the check cannot go on: then it
// returns it.
func (v *verifier) blame(object string, err error) error {
	if v.ctx.Err() != nil {
		return v.ctx.Err()
	}
	if gone, gerr := v.goneMeanwhile(object); gone || gerr != nil {
		return gerr
	}
	switch {
	case errors.Is(err, storage.ErrNotExist):
		v.add(Damage, object, kindMissing, "the object is missing")
	case fault.Is(err, fault.Integrity):
		v.add(Damage, object, kindDamaged, "%s", cause(err))
	default:
		return err
	}
	return nil
}

// cause returns an error without the object it is about, which a finding names already.
func cause(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		return f.Err
	}
	return err
}

// progress counts objects and bytes of data as done.
func (v *verifier) progress(objects, bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done.Objects += objects
	v.done.Bytes += bytes
	if v.o.Progress == nil {
		return
	}
	if took := v.o.Clock.Now().Sub(v.began).Seconds(); took > 0 {
		v.done.Rate = float64(v.done.Bytes) / took
		done, all := v.done.Bytes, v.done.AllBytes
		if all == 0 {
			done, all = v.done.Objects, v.done.AllObjects
		}
		if done > 0 {
			v.done.Left = took / float64(done) * float64(max(0, all-done))
		}
	}
	v.o.Progress(v.done)
}

// background does work that reads data, a few at a time, and stops the check when it must.
func (v *verifier) background(f func() error) {
	select {
	case v.slots <- struct{}{}:
	case <-v.ctx.Done():
		return
	}
	v.work.Add(1)
	go func() {
		defer v.work.Done()
		defer func() { <-v.slots }()
		if err := f(); err != nil {
			v.stop(err)
		}
	}()
}
