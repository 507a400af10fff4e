package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// recover brings spool and archive together after whatever ended the last run: segments that are
// archived leave the spool, sealed ones are queued, and the open one is cut back to its last whole
// transaction and goes on.
func (a *Archiver) recover(ctx context.Context) error {
	var err error
	if a.state, err = loadState(a.o.FS, a.o.Dir); err != nil {
		return err
	}
	archived, err := a.o.Catalog.Last(ctx, a.o.Timeline)
	if err != nil {
		return err
	}
	t, err := a.o.Catalog.Timeline(ctx, a.o.Timeline)
	if err != nil {
		return err
	}
	if err := a.agree(ctx, t, archived); err != nil {
		return err
	}
	a.stats.Barrier = a.state.Barrier
	if t.Continues() { // its log begins where it leaves the parent's
		if a.mstate, err = t.Position.LogState(a.o.Catalog.Cluster.Flavor); err != nil {
			return err
		}
	}
	a.last = archived
	head, err := a.o.Catalog.LastHead(ctx, a.o.Timeline)
	if err != nil {
		return err
	}
	if head != nil { // what was known to be all then was all
		a.covered, a.stats.Head = head.CoveredUntil, head
	}
	var opened uint64
	for {
		n := a.number() + 1
		seg, err := a.readRecord(a.o.Timeline, n, "sealed")
		if isNotExist(err) {
			opened = n
			break
		}
		if err != nil {
			return err
		}
		if err := a.continues(seg, "sealed"); err != nil {
			return err
		}
		a.queue = append(a.queue, &sealed{seg: seg, path: a.path(n, "binlog")})
		a.noteBarrierLocked(seg.Last, seg.Barriers)
		a.last = seg
	}
	if a.last != nil {
		if a.mstate, err = a.last.After.LogState(a.o.Catalog.Cluster.Flavor); err != nil {
			return err
		}
		a.next = a.last.Source.EndPoint()
	}
	if err := a.reopen(opened); err != nil {
		return err
	}
	if err := a.sweep(); err != nil {
		return err
	}
	a.stats.SpoolSegments = uint64(len(a.queue))
	a.stats.SpoolBytes = a.spoolBytes()
	a.stats.Spooled.Point = a.next
	a.stats.Received.Point = a.next
	if a.mstate != nil {
		a.stats.Spooled.GTID = a.mstate.String()
		a.stats.Received.GTID = a.stats.Spooled.GTID
	}
	if a.last != nil {
		a.stats.Spooled.Commit = a.last.Commit.Last
	}
	return nil
}

// agree compares our record of the archive with the archive: one that is shorter or another is
// refused. It may be one segment ahead, when a crash came between commit and record.
func (a *Archiver) agree(ctx context.Context, t *catalog.Timeline, archived *catalog.Segment) error {
	s := *a.state
	if s.Timeline != a.o.Timeline {
		s.Timeline, s.Archived, s.Chain, s.Head = a.o.Timeline, 0, t.Seed, 0
	}
	number := uint64(0)
	if archived != nil {
		number = archived.Last
	}
	switch {
	case number < s.Archived:
		return fault.New(fault.Integrity, "compare spool and archive", a.o.Catalog.URL(),
			fmt.Errorf("the archive reached segment %d once and ends at %d now", s.Archived, number)).
			WithHint("Objects were removed from the archive: see what is missing with `tidemark verify`.")
	case number == s.Archived && archived != nil && archived.ChainAfter != s.Chain:
		return replaced(a.o.Catalog.URL(), number, archived.ChainAfter, s.Chain)
	case number > s.Archived && s.Archived > 0:
		chain, _, err := a.o.Catalog.ChainAt(ctx, a.o.Timeline, s.Archived)
		if err != nil {
			return err
		}
		if chain != s.Chain {
			return replaced(a.o.Catalog.URL(), s.Archived, chain, s.Chain)
		}
	}
	if number > s.Archived {
		if b := a.barrierAfter(ctx, s.Archived); b != nil {
			s.Barrier = b
		}
	}
	if archived != nil {
		s.Archived, s.Chain = number, archived.ChainAfter
		a.stats.Archived = Point{Point: archived.Source.EndPoint(), GTID: archived.After.GTID, Commit: archived.Commit.Last, At: archived.Sealed}
		a.stats.ArchivedSegment = number
	}
	if s != *a.state {
		if archived != nil && archived.Writer != s.Writer {
			if err := a.giveWay(archived); err != nil {
				return err
			}
		}
		if err := s.save(a.o.FS, a.o.Dir); err != nil {
			return err
		}
	}
	a.state = &s
	return nil
}

func replaced(archive string, number uint64, is, was catalog.Digest) error {
	return fault.New(fault.Integrity, "compare spool and archive", archive,
		fmt.Errorf("segment %d has chain digest %s, ours was %s", number, short(is), short(was))).
		WithHint("The archive was replaced by another one: see `tidemark verify`.")
}

// readRecord reads a segment's record in the spool.
func (a *Archiver) readRecord(timeline uint32, number uint64, ext string) (*catalog.Segment, error) {
	f, err := a.o.FS.Open(a.pathOn(timeline, number, ext))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	seg, err := catalog.DecodeSegment(data)
	if err == nil && (seg.First != number || seg.Timeline != timeline || seg.ClusterUUID != a.o.Catalog.Cluster.UUID) {
		err = errors.New("it belongs to another segment or cluster")
	}
	if err != nil {
		return nil, fault.New(fault.Integrity, "read", f.Name(), err).
			WithHint("The spool was damaged or exchanged from outside: move it away to begin again from the archive.")
	}
	return seg, nil
}

// continues checks that a segment in the spool begins where what is before it ends. It does not when
// another writer has archived in our absence and has cut elsewhere.
func (a *Archiver) continues(seg *catalog.Segment, ext string) error {
	prev := a.last
	if prev == nil || seg.Before.Equal(prev.After) && (!seg.Source.SameFile(prev.Source) || seg.Source.Start == prev.Source.End) {
		return nil
	}
	return fault.New(fault.Integrity, "read", a.path(seg.First, ext),
		fmt.Errorf("the segment begins at %s, but segment %s ends at %s", seg.Source.StartPoint(), prev.Name(), prev.Source.EndPoint())).
		WithHint("Another archiver has written to this archive: move the spool away to go on from the archive.")
}

// reopen goes on with the open segment of an earlier run, if there is one.
func (a *Archiver) reopen(number uint64) error {
	seg, err := a.readRecord(a.o.Timeline, number, "open")
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.continues(seg, "open"); err != nil {
		return err
	}
	o, state, err := a.readOpen(seg)
	if isNotExist(err) {
		return a.removeSpooled(number)
	}
	if err != nil {
		return err
	}
	a.open = o
	if o.tally.body == 0 {
		a.open = nil
		o.close()
		return a.removeSpooled(number)
	}
	a.mstate = state
	// What is kept must be durable before anyone relies on it.
	if err := o.cut(); err != nil {
		return err
	}
	if err := o.syncs.sync(o.file); err != nil {
		return err
	}
	o.synced = o.boundary()
	a.next = o.end()
	a.noteBarrierLocked(o.number, o.tally.barriers)
	return nil
}

// readOpen reads what there is of a segment that was open, and returns it with the binlog state after its last
// whole transaction.
func (a *Archiver) readOpen(seg *catalog.Segment) (*open, *gtid.State, error) {
	file, err := a.o.FS.Append(a.pathOn(seg.Timeline, seg.First, "binlog"))
	if err != nil {
		return nil, nil, err
	}
	durable.Reread(file)
	o := &open{a: a, number: seg.First, seg: seg, head: seg.HeadBytes, file: file, buf: make([]byte, 0, writeBuffer),
		began: seg.Members[0].ReceivedFirst}
	state, err := seg.Before.LogState(a.o.Catalog.Cluster.Flavor)
	if err == nil {
		var info fs.FileInfo
		if info, err = file.Stat(); err == nil {
			o.lastAt, o.size = info.ModTime(), uint64(info.Size())
			err = scanOpen(o, func(ev *binlog.Event, body []byte) error {
				_, err := o.tally.add(ev, body, state)
				return err
			})
		}
	}
	if err != nil {
		o.close()
		return nil, nil, err
	}
	return o, state, nil
}

// scanOpen hands the whole events of the open segment to add. It ends without an error at the
// first that is torn or damaged: that is where the crash came. A file that cannot be read is an
// error: nothing is cut off for that.
func scanOpen(o *open, add func(*binlog.Event, []byte) error) error {
	r := &reader{r: io.NewSectionReader(o.file, 0, int64(o.size))}
	sc, err := binlog.NewFileScanner(r, binlog.DefaultBuffer, o.head, o.seg.Source.StartPoint())
	if err != nil {
		return r.err // torn inside the head
	}
	for {
		ev, err := sc.Next()
		if err != nil {
			return r.err
		}
		if ev.Type == binlog.TypeFormatDescription && sc.Format().Fingerprint() != o.seg.Source.Format {
			return nil // torn where its checksum does not tell
		}
		if ev.Head {
			continue
		}
		if err := add(ev, sc.Body(ev)); err != nil {
			return nil
		}
	}
}

// reader remembers a failure to read.
type reader struct {
	r   io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// sweep removes what no segment of the spool needs: temporary files and remains of archived ones.
func (a *Archiver) sweep() error {
	keep := map[string]bool{stateName: true, "lock": true}
	for _, s := range a.queue {
		for _, ext := range []string{"binlog", "sealed", "open"} {
			keep[filepath.Base(a.path(s.seg.First, ext))] = true
		}
	}
	if a.open != nil {
		keep[filepath.Base(a.path(a.open.number, "binlog"))] = true
		keep[filepath.Base(a.path(a.open.number, "open"))] = true
	}
	entries, err := a.o.FS.ReadDir(a.o.Dir, nil)
	if err != nil {
		return err
	}
	records := make(map[string]bool) // by the names without extension
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".sealed"); ok {
			records[name] = true
		} else if name, ok := strings.CutSuffix(e.Name(), ".open"); ok {
			records[name] = true
		}
	}
	for _, e := range entries {
		timeline, number, ours := parseName(e.Name())
		if keep[e.Name()] || !ours && !durable.IsTemp(e.Name()) {
			continue
		}
		if ours && timeline == a.o.Timeline {
			stays, err := a.rekeep(e.Name(), number)
			if err != nil {
				return err
			}
			if stays {
				continue
			}
		}
		archived := timeline < a.o.Timeline && !records[strings.TrimSuffix(e.Name(), ".binlog")]
		if ours && !archived && (timeline != a.o.Timeline || number > a.number()+1) {
			return fault.New(fault.Integrity, "recover the spool", a.o.Dir,
				fmt.Errorf("%s is there, but the archive ends at segment %d", e.Name(), a.state.Archived)).
				WithHint("The spool belongs to another archive, or segments between are missing: move it away to begin again from the archive.")
		}
		if err := a.o.FS.Remove(filepath.Join(a.o.Dir, e.Name())); err != nil {
			return err
		}
	}
	return a.o.FS.SyncDir(a.o.Dir)
}
