// Package compact writes runs of small segments as one, and removes what that has replaced.
//
// A busy primary makes a segment every few seconds; a year of them is millions of objects to list and
// to read. A compacted segment holds the bodies of its members one behind the other, and its manifest keeps
// each member's number, length and digest, so that the chain is checked as before. The archive can be read
// at every moment: the compacted segment is committed before its members go, and these stay for a grace
// period, in which a restore that knows them still reads them.
package compact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/internal/seal"
	"tidemark/storage"
)

// mostMembers bounds the manifest of a compacted segment, and what is held of a run in memory.
const mostMembers = 1000

// What a compacted segment holds at most, and how long its members stay, unless told otherwise.
const (
	DefaultSize  = 256 << 20
	DefaultAge   = time.Hour
	DefaultGrace = 24 * time.Hour
)

// Source gives the plain bytes of segments, and has checked every one when they have been read to io.EOF: the
// archive itself, for which what is encrypted must be unlocked, or whoever still has them.
type Source interface {
	OpenPlain(ctx context.Context, s *catalog.Segment) (io.ReadCloser, error)
}

// Options of a run.
type Options struct {
	Size       int64            // plain bytes of a compacted segment; DefaultSize if 0
	Age        time.Duration    // between its first and its last event's receipt; DefaultAge if 0
	Grace      time.Duration    // for which members stay beside it; negative: none; DefaultGrace if 0
	Recipients *keys.Recipients // who can open what is written
	DryRun     bool             // only say what would be done
	Writer     string           // of the manifests, as "tidemark compact"
	Version    string           // of the program
	Clock      clock.Clock
	Progress   func(Progress) // may be nil
}

// Progress of a run, in plain bytes of the segments that are compacted.
type Progress struct {
	Bytes    int64 `json:"bytes"`
	AllBytes int64 `json:"all_bytes"`
}

// Report is what a run has done, or with DryRun would do.
type Report struct {
	Cluster  string        `json:"cluster"`
	Segments int           `json:"segments"` // that were compacted
	Into     int           `json:"into"`
	Bytes    int64         `json:"bytes"`   // plain
	Waiting  int           `json:"waiting"` // segments that were compacted and go when their grace ends
	Removed  int           `json:"removed"` // objects
	Locked   int           `json:"locked"`  // objects that the storage does not let go yet
	Duration time.Duration `json:"-"`
}

// Run compacts all timelines of an archive, and removes what was replaced long enough ago. An archive that
// is encrypted must be unlocked. Kinds of errors: Integrity for a member that is damaged, which stays as it
// is; WrongKey; Locked when another run compacts the same segments.
func Run(ctx context.Context, c *catalog.Catalog, o Options) (*Report, error) {
	r := newRun(c, c, o)
	err := r.timed(func() error { return r.all(ctx) })
	return r.report, err
}

func newRun(c *catalog.Catalog, source Source, o Options) *run {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Age == 0 {
		o.Age = DefaultAge
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	return &run{c: c, source: source, o: o, report: &Report{Cluster: c.Cluster.Name}}
}

func (r *run) timed(f func() error) error {
	began := r.o.Clock.Now()
	err := f()
	r.report.Duration = r.o.Clock.Now().Sub(began)
	if err != nil {
		err = fmt.Errorf("compact cluster %s: %w", r.c.Cluster.Name, err)
	}
	return err
}

type run struct {
	c      *catalog.Catalog
	source Source
	o      Options
	report *Report
	sealer *seal.Sealer
	done   Progress
}

func (r *run) all(ctx context.Context) error {
	timelines, err := r.c.Timelines(ctx)
	if err != nil {
		return err
	}
	var groups [][]*catalog.Segment
	for _, t := range timelines {
		g, err := r.groups(ctx, t.Number)
		if err != nil {
			return err
		}
		groups = append(groups, g...)
	}
	for _, g := range groups {
		r.count(g)
		for _, s := range g {
			if err := r.c.CanOpen(s.Stored); err != nil {
				return err
			}
			if len(s.Stored.Recipients) > 0 && r.o.Recipients == nil {
				return fault.New(fault.Config, "compact segments", s.Name(), errors.New("it is encrypted, and the configuration names no recipients for what is written")).
					WithHint("Set encryption.recipients.")
			}
		}
	}
	r.done.AllBytes = r.report.Bytes
	if !r.o.DryRun {
		if err := r.write(ctx, groups); err != nil {
			return err
		}
	}
	for _, t := range timelines {
		if _, err := r.sweep(ctx, t.Number, 0); err != nil {
			return err
		}
	}
	return nil
}

// groups finds the runs of segments that become one: neighbors from one source file, within the size and the
// age. The last run of the log may still grow and is left alone. What is compacted already is not again, so
// that no byte is written more than twice.
func (r *run) groups(ctx context.Context, timeline uint32) ([][]*catalog.Segment, error) {
	var groups [][]*catalog.Segment
	g := group{o: r.o}
	for s, err := range r.c.Segments(ctx, timeline, 0) {
		if fault.Is(err, fault.Integrity) {
			break // what is before a hole can be compacted; to name the hole is verify's business
		}
		if err != nil {
			return nil, err
		}
		if done := g.add(s); len(done) > 1 {
			groups = append(groups, done)
		}
	}
	return groups, nil
}

// group is a run of segments that may become one.
type group struct {
	o     Options
	list  []*catalog.Segment
	bytes uint64
}

// add adds a segment, or begins a new run with it where it does not belong to this one, which is returned.
func (g *group) add(s *catalog.Segment) (done []*catalog.Segment) {
	if n := len(g.list); n > 0 && (n == mostMembers || s.First != s.Last || s.First != g.list[n-1].Last+1 || s.Variables != nil || !s.Source.SameFile(g.list[0].Source) || s.Source.File == "" ||
		g.bytes+s.BodyBytes > uint64(g.o.Size) || s.ReceivedLast().Sub(g.list[0].Members[0].ReceivedFirst) > g.o.Age) {
		done, g.list, g.bytes = g.list, nil, 0
	}
	if s.First == s.Last {
		g.list, g.bytes = append(g.list, s), g.bytes+s.BodyBytes
	}
	return done
}

func (r *run) write(ctx context.Context, groups [][]*catalog.Segment) error {
	for _, g := range groups {
		if err := r.compact(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the segments that a compacted one has replaced, their manifests first, when that was
// committed a grace ago and its data is there. It begins with segment number from, and returns where to begin
// next time: what is before has nothing left.
func (r *run) sweep(ctx context.Context, timeline uint32, from uint64) (next uint64, err error) {
	var wide []*catalog.Segment // in the order of the log, and so of the keys of what they replace
	next = from
	for s, err := range r.c.Segments(ctx, timeline, from) {
		if fault.Is(err, fault.Integrity) {
			break
		}
		if err != nil {
			return from, err
		}
		if s.First != s.Last {
			wide = append(wide, s)
			next = s.Last + 1
		}
	}
	var manifests, data []string
	var checked *catalog.Segment // is stored, as its manifest says
	for l, err := range r.c.Objects(ctx, catalog.LogPrefix(timeline)) {
		if err != nil {
			return from, err
		}
		if l.Class != catalog.ClassSegment && l.Class != catalog.ClassData {
			continue
		}
		for len(wide) > 0 && wide[0].Last < l.First {
			wide = wide[1:]
		}
		if len(wide) == 0 {
			break
		}
		s := wide[0]
		if l.First < s.First || l.Last > s.Last || l.First == s.First && l.Last == s.Last {
			continue
		}
		if r.o.Grace >= 0 && r.o.Clock.Now().Sub(s.Sealed) < r.o.Grace {
			if l.Class == catalog.ClassSegment {
				r.report.Waiting++
			}
			next = min(next, s.First)
			continue
		}
		if checked != s {
			if err := r.c.CheckStored(ctx, s.Stored); err != nil {
				return from, err
			}
			checked = s
		}
		if l.Class == catalog.ClassSegment {
			manifests = append(manifests, l.Key)
		} else {
			data = append(data, l.Key)
		}
	}
	for _, key := range append(manifests, data...) {
		if !r.o.DryRun {
			if err := r.c.Discard(ctx, key); storage.Keeps(err) {
				r.report.Locked = len(manifests) + len(data) - r.report.Removed
				return from, nil // what follows goes after it
			} else if err != nil {
				return from, err
			}
		}
		r.report.Removed++
	}
	return next, nil
}

// errChanged is a run of segments that is not what it was when it was read.
var errChanged = errors.New("another run has compacted some of these segments in another way")
