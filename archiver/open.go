package archiver

import (
	"io"
	"path/filepath"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/failpoint"
	"tidemark/internal/gtid"
)

// writeBuffer is how much is gathered before it is written to the file, in bytes.
const writeBuffer = 512 << 10

// open is the segment that events are appended to.
type open struct {
	a      *Archiver
	number uint64
	seg    *catalog.Segment // as it will be committed, as far as it is known
	head   uint64           // bytes before the body
	file   durable.File
	syncs  syncs
	buf    []byte
	tally  tally
	size   uint64       // plain bytes written to the file, those in buf not counted
	synced uint64       // plain bytes up to a boundary that are synced
	began  time.Time    // first receipt, by our clock
	lastAt time.Time    // last receipt
	asked  binlog.Point // the last place that a commit waits for; no file: none
}

// begin opens the next segment in the spool with an event of src at its start. The name and the
// record of where it begins are durable when it returns, so that a crash finds them.
func (a *Archiver) begin(ev *binlog.Event, src Source) error {
	format := src.Format()
	now := a.o.Clock.Now()
	number := a.number() + 1
	before := a.mstate
	if before == nil {
		before = gtid.Beginning(a.o.Catalog.Cluster.Flavor) // the very first segment begins with the source's own list
	}
	seg := &catalog.Segment{
		ClusterUUID: a.o.Catalog.Cluster.UUID, Timeline: a.o.Timeline, First: number, Last: number,
		Writer: a.state.Writer, CreatedBy: a.o.Version,
		Source: catalog.Source{ServerID: format.ServerID, ServerUUID: src.ServerUUID(), Version: format.ServerVersion, File: ev.File, Start: ev.Offset,
			End: ev.Offset, Format: format.Fingerprint(), FileCreated: format.Timestamp},
		Before:  catalog.PositionOf(before),
		Members: []catalog.Member{{Number: number, ReceivedFirst: now}},
	}
	if a.mstate == nil {
		a.mstate = before.Clone()
	}
	if a.unsaid {
		seg.Variables, a.unsaid = a.variables, false
	}
	head := format.Head(ev.Offset, before)
	seg.HeadBytes = uint64(len(head))
	record, err := catalog.EncodeSegment(seg)
	if err != nil {
		return err
	}
	if err := durable.WriteFileAtomic(a.o.FS, a.path(number, "open"), record); err != nil {
		return a.fail("begin a segment in", err)
	}
	file, err := a.o.FS.Create(a.path(number, "binlog"))
	if err == nil {
		err = a.o.FS.SyncDir(a.o.Dir)
	}
	if err != nil {
		return a.fail("begin a segment in", err)
	}
	o := &open{a: a, number: number, seg: seg, head: seg.HeadBytes, file: file,
		buf: make([]byte, 0, writeBuffer), began: now, lastAt: now}
	a.open = o
	return o.write(head)
}

// write appends bytes, gathered into large writes.
func (o *open) write(p []byte) error {
	if len(o.buf)+len(p) <= cap(o.buf) {
		o.buf = append(o.buf, p...)
		return nil
	}
	if err := o.flush(); err != nil {
		return err
	}
	if len(p) < cap(o.buf)/2 {
		o.buf = append(o.buf, p...)
		return nil
	}
	return o.put(p)
}

func (o *open) flush() error {
	err := o.put(o.buf)
	o.buf = o.buf[:0]
	return err
}

func (o *open) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	failpoint.Before(failpoint.SpoolWrite)
	n, err := o.file.Write(p)
	failpoint.After(failpoint.SpoolWrite)
	o.size += uint64(n)
	if err != nil {
		return o.a.fail("write to", err)
	}
	return nil
}

// boundary is the plain size up to the last boundary.
func (o *open) boundary() uint64 { return o.head + o.tally.body }

// cut drops what came after the last boundary, from memory and from the file.
func (o *open) cut() error {
	o.tally.drop()
	if err := o.flush(); err != nil {
		return err
	}
	if o.size == o.boundary() {
		return nil
	}
	if err := o.file.Truncate(int64(o.boundary())); err != nil {
		return o.a.fail("cut back a segment in", err)
	}
	if _, err := o.file.Seek(0, io.SeekEnd); err != nil {
		return o.a.fail("cut back a segment in", err)
	}
	o.size = o.boundary()
	return nil
}

func (o *open) close() { _ = o.file.Close() }

// end is the place in the source up to which the segment holds whole transactions.
func (o *open) end() binlog.Point {
	return binlog.Point{File: o.seg.Source.File, Offset: o.seg.Source.Start + o.tally.body}
}

// seal ends the open segment at its last boundary: its bytes and its record are durable and it is
// queued for upload when seal returns. An open segment without a body is removed.
func (a *Archiver) seal() error {
	o := a.open
	if o == nil {
		return nil
	}
	if err := o.cut(); err != nil {
		return err
	}
	if o.tally.body == 0 {
		a.open = nil
		a.unsaid = a.unsaid || o.seg.Variables != nil
		o.close()
		return a.removeSpooled(o.number)
	}
	if err := o.syncs.sync(o.file); err != nil {
		return a.abandon(o, err)
	}
	o.tally.fill(o.seg, a.mstate)
	now := a.o.Clock.Now()
	o.seg.Sealed = now
	m := &o.seg.Members[0]
	m.BodyBytes = o.tally.body
	m.ReceivedFirst, m.ReceivedLast = o.began, o.lastAt
	m.Live = o.tally.transactions == 0 || o.lastAt.Sub(o.seg.Commit.Max) < liveWithin
	record, err := catalog.EncodeSegment(o.seg)
	if err != nil {
		return err
	}
	if err := durable.WriteFileAtomic(a.o.FS, a.path(o.number, "sealed"), record); err != nil {
		return a.fail("seal a segment in", err)
	}
	o.close()
	a.open = nil
	a.last = o.seg
	a.queue = append(a.queue, &sealed{seg: o.seg, path: a.path(o.number, "binlog"), asked: o.asked})
	if a.o.Ack == AckSpool {
		a.acknowledge(o.asked)
	}
	a.spooledTo(o.end(), o.seg.After.GTID, o.seg.Commit.Last)
	a.stats.SpoolSegments = uint64(len(a.queue))
	a.wake.Broadcast()
	return nil
}

// liveWithin: a segment received this soon after its last commit was received as it was committed.
const liveWithin = time.Minute

// removeSpooled removes what the spool has of a segment, its records last.
func (a *Archiver) removeSpooled(number uint64) error {
	return a.removeFiles(number, "binlog", "sealed", "open")
}

func (a *Archiver) removeFiles(number uint64, exts ...string) error {
	for _, ext := range exts {
		if err := a.removeFile(number, ext); err != nil {
			return err
		}
	}
	return a.o.FS.SyncDir(filepath.Clean(a.o.Dir))
}

// removeFile removes a file that may be gone. Its directory is to be synced.
func (a *Archiver) removeFile(number uint64, ext string) error {
	failpoint.Before(failpoint.SpoolRemove)
	err := a.o.FS.Remove(a.path(number, ext))
	failpoint.After(failpoint.SpoolRemove)
	if isNotExist(err) {
		return nil
	}
	return err
}

// number is the greatest segment number in use.
func (a *Archiver) number() uint64 {
	if a.last != nil {
		return a.last.Last
	}
	return 0
}
