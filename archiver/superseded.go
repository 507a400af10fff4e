package archiver

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
)

// giveWay clears the spool when another archiver has gone on with the archive: it has cut the log at other places,
// so what is here and not archived fits nowhere any more. What the archive has by now is removed. If anything
// else is here it may be all that is left of it, should the primary be lost: then the files are set aside.
func (a *Archiver) giveWay(archived *catalog.Segment) error {
	entries, err := a.o.FS.ReadDir(a.o.Dir, func(e fs.DirEntry) bool {
		_, _, ok := parseName(e.Name())
		return ok
	})
	if err != nil {
		return err
	}
	has, err := archived.After.LogState(a.o.Catalog.Cluster.Flavor)
	if err != nil {
		return err
	}
	var left []string // files of segments that were not archived from here
	lacks := ""       // the position of one that the archive does not have
	for _, e := range entries {
		timeline, number, _ := parseName(e.Name())
		if timeline < a.state.Timeline || timeline == a.state.Timeline && number <= a.state.Archived {
			continue // of what was archived from here: swept
		}
		left = append(left, e.Name())
		after, err := a.reaches(timeline, number, filepath.Ext(e.Name()))
		if err != nil {
			return err
		}
		if after != nil && !holds(has, after) {
			lacks = after.String()
		}
	}
	if len(left) == 0 {
		return nil
	}
	if lacks == "" {
		a.o.Log.Info("another archiver has gone on with the archive, and has archived all that the spool held", zap.Uint64("segment", archived.Last))
		for _, name := range left {
			if err := a.o.FS.Remove(filepath.Join(a.o.Dir, name)); err != nil {
				return err
			}
		}
		return a.o.FS.SyncDir(a.o.Dir)
	}
	aside := filepath.Join(filepath.Dir(a.o.Dir), "superseded", a.o.Clock.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := durable.MkdirAll(a.o.FS, aside); err != nil {
		return err
	}
	for _, name := range left {
		if err := a.o.FS.Rename(filepath.Join(a.o.Dir, name), filepath.Join(aside, name)); err != nil {
			return err
		}
	}
	if err := a.o.FS.SyncDir(aside); err != nil {
		return err
	}
	a.o.Log.Warn("another archiver has gone on with the archive, which does not hold all of the spool: its files are set aside, and what the primary still has is archived from there",
		zap.String("dir", aside), zap.String("spool reaches", lacks), zap.String("archive reaches", has.String()))
	return a.o.FS.SyncDir(a.o.Dir)
}

// reaches is the binlog state after a segment of the spool; nil where a file says nothing of that.
func (a *Archiver) reaches(timeline uint32, number uint64, ext string) (*gtid.State, error) {
	switch ext {
	case ".sealed":
		seg, err := a.readRecord(timeline, number, "sealed")
		if err != nil {
			return nil, err
		}
		return seg.After.LogState(a.o.Catalog.Cluster.Flavor)
	case ".open":
		seg, err := a.readRecord(timeline, number, "open")
		if err != nil {
			return nil, err
		}
		o, state, err := a.readOpen(seg)
		if isNotExist(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		o.close()
		return state, nil
	}
	return nil, nil
}

// holds reports whether a log that ends in one state has all transactions of a log that ends in the other, if
// both began alike: numbers grow in each domain.
func holds(has, wants *gtid.State) bool {
	if wants.Set() != nil {
		return has.Covers(wants)
	}
	there := has.List()
	for _, g := range wants.List() {
		if !slices.ContainsFunc(there, func(h gtid.GTID) bool { return h.Domain == g.Domain && h.Server == g.Server && h.Seq >= g.Seq }) {
			return false
		}
	}
	return true
}

// parseName reads the name of a segment's file in the spool.
func parseName(name string) (timeline uint32, number uint64, ok bool) {
	n, _ := fmt.Sscanf(name, "%08d-%016d.", &timeline, &number)
	return timeline, number, n == 2
}
