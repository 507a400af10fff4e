package archiver

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/storage"
)

// kept is an archived segment whose plain bytes stay in the spool until it is compacted. Nothing hangs on them:
// they go when room is needed, and what is not here any more can be compacted from the archive.
type kept struct {
	number uint64
	bytes  int64
	seg    *catalog.Segment // nil: an earlier run has archived it
}

// keep drops the records of a segment that was archived, and keeps its plain bytes if it is small enough.
func (a *Archiver) keep(seg *catalog.Segment) error {
	size := int64(seg.HeadBytes + seg.BodyBytes)
	if a.o.Keep == 0 || size > a.o.Keep {
		return a.removeSpooled(seg.Last)
	}
	if err := a.removeFiles(seg.Last, "sealed", "open"); err != nil {
		return err
	}
	a.kept = append(a.kept, kept{number: seg.Last, bytes: size, seg: seg})
	a.stats.KeptBytes += size
	return a.reclaim()
}

// rekeep takes a file that an earlier run has kept, and reports whether it stays.
func (a *Archiver) rekeep(name string, number uint64) (bool, error) {
	if a.o.Keep == 0 || filepath.Ext(name) != ".binlog" || number > a.state.Archived {
		return false, nil
	}
	info, err := a.o.FS.Stat(filepath.Join(a.o.Dir, name))
	if err != nil || info.Size() > a.o.Keep {
		return false, err
	}
	a.kept = append(a.kept, kept{number: number, bytes: info.Size()})
	a.stats.KeptBytes += info.Size()
	return true, nil
}

// reclaim removes what is kept, the oldest first, while there might be no room for the next segment beside it.
func (a *Archiver) reclaim() error {
	n := 0
	for left := a.stats.KeptBytes; n < len(a.kept) && left+a.spoolBytes()+a.o.MaxSize > a.o.MaxSpool; n++ {
		left -= a.kept[n].bytes
	}
	return a.forget(n)
}

// forget removes the oldest of what is kept.
func (a *Archiver) forget(n int) error {
	if n == 0 {
		return nil
	}
	for range n {
		k := a.kept[0]
		if err := a.removeFile(k.number, "binlog"); err != nil {
			return err
		}
		a.stats.KeptBytes -= k.bytes
		a.kept = a.kept[1:]
	}
	return a.o.FS.SyncDir(a.o.Dir)
}

// Kept returns the segments whose plain bytes are in the spool, ascending.
func (a *Archiver) Kept(ctx context.Context) ([]*catalog.Segment, error) {
	a.mu.Lock()
	list := slices.Clone(a.kept)
	a.mu.Unlock()
	var segments []*catalog.Segment
	for _, k := range list {
		if k.seg == nil {
			seg, err := a.o.Catalog.SegmentAt(ctx, a.o.Timeline, k.number, k.number)
			if err != nil && !errors.Is(err, storage.ErrNotExist) { // it may have been compacted, or have expired
				return nil, err
			}
			if err := a.rekept(k.number, seg, err != nil); err != nil {
				return nil, err
			}
			if k.seg = seg; err != nil {
				continue
			}
		}
		segments = append(segments, k.seg)
	}
	return segments, nil
}

// rekept records the manifest of a segment that an earlier run has kept, or removes the file if there is none.
func (a *Archiver) rekept(number uint64, seg *catalog.Segment, gone bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.kept, func(k kept) bool { return k.number == number })
	if i < 0 {
		return nil // room was needed
	}
	if a.kept[i].seg = seg; !gone {
		return nil
	}
	a.stats.KeptBytes -= a.kept[i].bytes
	a.kept = slices.Delete(a.kept, i, i+1)
	if err := a.removeFiles(number, "binlog"); err != nil {
		return a.fail("remove a compacted segment from", err)
	}
	return nil
}

// OpenPlain opens the plain bytes of a segment that is kept. Reading to io.EOF has checked every byte against its
// manifest. The error is fs.ErrNotExist when they are not kept any more.
func (a *Archiver) OpenPlain(_ context.Context, s *catalog.Segment) (io.ReadCloser, error) {
	path := a.pathOn(s.Timeline, s.First, "binlog")
	f, err := a.o.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return catalog.CheckPlain(s, path, f), nil
}

// Forget removes what is kept of the segments up to a number: they are compacted, or will not be from here.
func (a *Archiver) Forget(through uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(a.kept) && a.kept[n].number <= through {
		n++
	}
	if err := a.forget(n); err != nil {
		return a.fail("remove a compacted segment from", err)
	}
	return nil
}
