package expire

import (
	"context"
	"errors"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// orphanAge is how old data that no manifest names must be before it is removed: younger, it may be an
// upload that is under way.
const orphanAge = 24 * time.Hour

// orphanBase removes the parts of a base backup that was not finished, when none of them is young: a backup
// that runs writes one after the other. Parts of one that was finished, and has lost its manifest, stay.
func (x *executor) orphanBase(ctx context.Context, g *group) error {
	if g.younger(x.now.Add(-orphanAge)) {
		return nil
	}
	if _, err := x.cat.BaseAt(ctx, g.listed.Base); !errors.Is(err, storage.ErrNotExist) {
		return failure(err)
	}
	records, parts := g.unfinished()
	if len(records) == 0 {
		return nil
	}
	if err := x.orphans(ctx, parts); err != nil {
		return err
	}
	if slices.ContainsFunc(parts, func(l catalog.Listed) bool { return x.refused[l.Key] }) {
		return nil
	}
	return x.remove(ctx, records) // last: without it they would be lost, not unfinished
}

// unfinished tells the record that a base backup is being stored from what else is there of it.
func (g *group) unfinished() (records, others []catalog.Listed) {
	for _, l := range g.rest {
		if l.Class == catalog.ClassUnfinished {
			records = append(records, l)
		} else {
			others = append(others, l)
		}
	}
	return records, others
}

// orphanData removes data of a segment that its manifest does not name, or of one that has no manifest
// because others cover its numbers. Data behind the end of a log is left alone, however old: its manifest
// may be put as soon as that of the segment before it has been.
func (x *executor) orphanData(ctx context.Context, g *group) error {
	if g.manifest != "" && len(g.rest) == 1 || g.listed.Last > x.ends[g.listed.Timeline] {
		return nil
	}
	var old []catalog.Listed
	for _, l := range g.rest {
		if !l.Modified.IsZero() && l.Modified.Before(x.now.Add(-orphanAge)) {
			old = append(old, l)
		}
	}
	if len(old) == 0 {
		return nil
	}
	s, err := x.cat.SegmentAt(ctx, g.listed.Timeline, g.listed.First, g.listed.Last)
	if err != nil && !errors.Is(err, storage.ErrNotExist) {
		return failure(err)
	}
	var orphans []catalog.Listed
	for _, l := range old {
		if err != nil || s.Stored.Key != l.Key {
			orphans = append(orphans, l)
		}
	}
	return x.orphans(ctx, orphans)
}

// failure is why a run cannot go on; a manifest that does not read is no such thing: what it names is not
// known, so its data stays.
func failure(err error) error {
	if fault.Is(err, fault.Integrity) {
		return nil
	}
	return err
}

func (x *executor) orphans(ctx context.Context, list []catalog.Listed) error {
	x.mu.Lock()
	x.report.Orphans += int64(len(list))
	x.mu.Unlock()
	return x.remove(ctx, list)
}
