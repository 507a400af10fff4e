package expire

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"tidemark/internal/catalog"
	"tidemark/storage"
)

// executor removes what a record lets go whose grace is over, and what never became part of the archive.
type executor struct {
	cat    *catalog.Catalog
	o      Options
	report *Report
	ends   map[uint32]uint64 // the last number of each timeline
	newest *catalog.Expiry
	due    *catalog.Expiry // the newest whose grace is over
	now    time.Time

	mu      sync.Mutex
	refused map[string]bool // keys; under mu, as are the counts of the report
}

func (x *executor) run(ctx context.Context) (err error) {
	x.now, x.refused = x.o.Clock.Now().UTC(), make(map[string]bool)
	if x.due, err = x.cat.Due(ctx, x.now); err != nil {
		return err
	}
	if x.o.DryRun && x.newest.Sequence > x.due.Sequence && !x.now.Before(x.newest.DeleteAfter) {
		x.due = x.newest
	}
	if err := x.bases(ctx); err != nil {
		return err
	}
	for _, timeline := range slices.Sorted(maps.Keys(x.ends)) {
		if err := x.log(ctx, timeline); err != nil {
			return err
		}
	}
	if x.o.DryRun {
		return nil
	}
	return x.cat.DropExpiries(ctx, x.due.Sequence) // what they say, this one says as well
}

// group is a base backup, or a segment: what must go in an order.
type group struct {
	listed      catalog.Listed // one of them
	manifest    string         // its key; "": there is none
	rest        []catalog.Listed
	manifestLen int64
}

func (g *group) add(l catalog.Listed, manifest bool) {
	g.listed = l
	if manifest {
		g.manifest, g.manifestLen = l.Key, l.Size
		return
	}
	g.rest = append(g.rest, l)
}

// younger reports whether anything of it was written not long ago, or nobody knows when.
func (g *group) younger(than time.Time) bool {
	return slices.ContainsFunc(g.rest, func(l catalog.Listed) bool { return l.Modified.IsZero() || l.Modified.After(than) })
}

func (g *group) objects() int64 {
	n := int64(len(g.rest))
	if g.manifest != "" {
		n++
	}
	return n
}

// bases removes base backups, the oldest first, each of them with its manifest first.
func (x *executor) bases(ctx context.Context) error {
	var all []*group
	for l, err := range x.cat.Objects(ctx, "base/") {
		if err != nil {
			return err
		}
		if l.Base == "" || l.Class == catalog.ClassUnknown {
			continue
		}
		if n := len(all); n == 0 || all[n-1].listed.Base != l.Base {
			all = append(all, new(group))
		}
		all[len(all)-1].add(l, l.Class == catalog.ClassBase)
	}
	for _, g := range all {
		id := g.listed.Base
		switch {
		case x.due.Has(id):
			keep, err := x.cat.Keep(ctx, &catalog.Base{ID: id})
			if err != nil {
				return err
			}
			if keep.Holds(x.now) {
				x.report.Warnings = append(x.report.Warnings, fmt.Sprintf("base backup %s has expired, and was marked to be kept too late: it is not removed", id))
				continue
			}
			if err := x.removeAll(ctx, g); err != nil {
				return err
			}
		case x.newest.Has(id):
			x.report.Waiting += g.objects()
		case g.manifest == "":
			if err := x.orphanBase(ctx, g); err != nil {
				return err
			}
		default: // who stored it may have died before it removed the record, which would hide the loss of the manifest
			records, _ := g.unfinished()
			if err := x.remove(ctx, records); err != nil {
				return err
			}
		}
	}
	return nil
}

// atOnce is how many objects are removed at the same time, and inOrder after how many segments whose
// manifests are gone their data follows.
const (
	atOnce  = 8
	inOrder = 500
)

// log removes what has expired of a timeline, the oldest first.
func (x *executor) log(ctx context.Context, timeline uint32) error {
	var batch []*group
	var open *group // the segment that is being listed
	end := func() error {
		g := open
		if open = nil; g == nil {
			return nil
		}
		first, last := g.listed.First, g.listed.Last
		switch {
		case x.due.Log(timeline).Gone(first, last):
			batch = append(batch, g)
		case x.newest.Log(timeline).Gone(first, last):
			x.report.Waiting += g.objects()
		default:
			return x.orphanData(ctx, g)
		}
		if len(batch) < inOrder {
			return nil
		}
		err := x.removeAll(ctx, batch...)
		batch = batch[:0]
		return err
	}
	for l, err := range x.cat.Objects(ctx, fmt.Sprintf("log/%08d/", timeline)) {
		if err != nil {
			return err
		}
		switch l.Class {
		case catalog.ClassSegment, catalog.ClassData:
			if open != nil && (open.listed.First != l.First || open.listed.Last != l.Last) {
				if err := end(); err != nil {
					return err
				}
			}
			if open == nil {
				open = new(group)
			}
			open.add(l, l.Class == catalog.ClassSegment)
		case catalog.ClassIndex:
			if x.due.Covers(l.Key) {
				g := new(group)
				g.add(l, false)
				batch = append(batch, g)
			}
		}
	}
	if err := end(); err != nil {
		return err
	}
	return x.removeAll(ctx, batch...)
}

// removeAll removes groups: first all manifests, and then the rest of those whose manifest is gone.
func (x *executor) removeAll(ctx context.Context, groups ...*group) error {
	var manifests, rest []catalog.Listed
	for _, g := range groups {
		if g.manifest != "" {
			manifests = append(manifests, catalog.Listed{Key: g.manifest, Size: g.manifestLen})
		}
	}
	if err := x.remove(ctx, manifests); err != nil {
		return err
	}
	for _, g := range groups {
		if !x.refused[g.manifest] {
			rest = append(rest, g.rest...)
		}
	}
	return x.remove(ctx, rest)
}

// remove removes objects, several at a time. What the storage refuses to let go is reported.
func (x *executor) remove(ctx context.Context, objects []catalog.Listed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, l := range objects {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if !x.o.DryRun {
				err = x.cat.Discard(ctx, l.Key)
			}
			if err = x.removed(l, err); err != nil {
				cancel(fmt.Errorf("delete %s: %w", l.Key, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// removed counts an object as removed, or as refused. Any other failure ends the run.
func (x *executor) removed(l catalog.Listed, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.report
	switch {
	case err == nil:
		r.Deleted++
		r.Bytes += l.Size
		if x.o.Progress != nil {
			x.o.Progress(r.Deleted)
		}
	case storage.Keeps(err):
		x.refused[l.Key] = true
		if r.RefusedAll++; len(r.Refused) < mostRefused {
			r.Refused = append(r.Refused, Refused{l.Key, err.Error()})
		}
	default:
		return err
	}
	return nil
}
