package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// feed reads the part of the log that a plan names and writes it as relay log files into the staging
// directory, a batch ahead of the server. What it writes is the source's own bytes, cut between
// transactions: a file never holds events of two source files.
type feed struct {
	c    *catalog.Catalog
	plan *Plan
	fsys durable.FS
	dir  string
	user mysqld.User

	// Relay space is divided so that there is room for a batch that is being applied, the last file
	// of the one before, a batch that waits, a file that is being written, and the server's own files.
	fileBytes  int64
	batchBytes int64

	batches chan *batch // closed at the end
	err     error       // to be read when batches is closed
	now     *batch
	file    *relayFile // being written; nil between files
	files   int        // written so far
	applied uint64     // transactions up to the last boundary
	pos     *gtid.State
	pending gtid.GTID // of the transaction that is open
}

// batch is what the server gets at a time.
type batch struct {
	files        []staged
	bytes        int64
	transactions uint64      // of all batches up to this one
	position     *gtid.State // when all of them are applied
}

// mostFiles is how many files a batch may have: each costs the server a flush.
const mostFiles = 64

func (r *run) newFeed() *feed {
	return &feed{c: r.c, plan: r.plan, fsys: r.FS, dir: r.work.stageDir(), user: r.user,
		fileBytes: min(max(r.RelaySpace/8, 64<<10), 64<<20), batchBytes: max(r.RelaySpace*11/32, 64<<10),
		batches: make(chan *batch), now: new(batch), pos: r.plan.start.Clone()}
}

// run makes all batches. It returns when the last one has been taken, or with f.err set.
func (f *feed) run(ctx context.Context) {
	defer close(f.batches)
	f.err = f.all(ctx)
	if f.file != nil {
		f.file.f.Close()
	}
}

func (f *feed) all(ctx context.Context) error {
	for s := range ahead(ctx, f.c, f.plan.segments) {
		planned := f.plan.segments[s.index]
		from, to := planned.Source.Start, planned.Source.End
		if s.index == 0 {
			from = f.plan.from
		} else if !planned.Source.SameFile(f.plan.segments[s.index-1].Source) {
			if err := f.endFile(ctx); err != nil {
				return err
			}
		}
		if s.index == len(f.plan.segments)-1 {
			to = f.plan.Stop.Offset
		}
		if err := f.copy(ctx, s, from, to); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.endFile(ctx); err != nil {
		return err
	}
	return f.send(ctx)
}

// copy writes the events of a segment between two offsets. It reads the segment to its end, because
// only then all of it is known to be what was archived.
func (f *feed) copy(ctx context.Context, s *source, from, to uint64) error {
	if from >= to {
		return nil
	}
	r, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return s.wrong(err)
		}
		if ev.Head || ev.Offset < from || ev.Offset >= to {
			continue
		}
		if err := f.write(ctx, ev, r.Format()); err != nil {
			return err
		}
	}
}

// write adds an event or fragment.
func (f *feed) write(ctx context.Context, ev *binlog.Event, format *binlog.FormatDescription) error {
	if f.file == nil {
		head := []byte(binlog.Magic)
		if ev.Type != binlog.TypeFormatDescription {
			head = append(head, format.Copy()...)
		}
		if err := f.beginFile(head); err != nil {
			return err
		}
	}
	if f.file.size+int64(len(ev.Data)) > f.limit() && f.file.cut > f.file.head {
		if err := f.split(ctx, format); err != nil {
			return err
		}
	}
	if err := f.file.write(ev.Data); err != nil {
		return err
	}
	if ev.First && ev.Begin {
		f.pending = ev.GTID
	}
	if ev.Last && ev.End {
		f.applied++
		f.pos.Add(f.pending)
	}
	if ev.Boundary() {
		f.file.boundary(f.applied)
	}
	return nil
}

// split ends the file at its last boundary and begins another one with what comes after that.
func (f *feed) split(ctx context.Context, format *binlog.FormatDescription) error {
	old := f.file
	if err := f.beginFile(append([]byte(binlog.Magic), format.Copy()...)); err != nil {
		return errors.Join(err, old.f.Close())
	}
	fresh := f.file
	err := old.moveRest(fresh)
	if f.file = old; err == nil {
		err = f.endFile(ctx)
	}
	if err != nil {
		fresh.f.Close()
		return err
	}
	f.file = fresh
	return nil
}

func (f *feed) beginFile(head []byte) (err error) {
	f.files++
	path := filepath.Join(f.dir, fmt.Sprintf("%08d", f.files))
	f.file, err = newRelayFile(f.fsys, path, head)
	return err
}

// endFile hands the file that is being written to the batch; the batch goes first if it is full.
func (f *feed) endFile(ctx context.Context) error {
	if f.file == nil {
		return nil
	}
	s, err := f.file.end()
	f.file = nil
	if err == nil {
		err = f.user.Own(s.path)
	}
	if err != nil {
		return err
	}
	if len(f.now.files) > 0 && (f.now.bytes+s.size > f.batchBytes || len(f.now.files) == mostFiles) {
		if err := f.send(ctx); err != nil {
			return err
		}
	}
	f.now.files = append(f.now.files, s)
	f.now.bytes += s.size
	f.now.transactions, f.now.position = f.applied, f.pos.Clone()
	select {
	case f.batches <- f.now: // nobody waits for a full batch
		f.now = new(batch)
	default:
	}
	return nil
}

// limit is the size at which the file being written ends. The first ones are small, so that the
// server begins early.
func (f *feed) limit() int64 { return min(f.fileBytes, 4<<20<<min(f.files, 8)) }

// send waits until the batch is taken.
func (f *feed) send(ctx context.Context) error {
	if len(f.now.files) == 0 {
		return nil
	}
	select {
	case f.batches <- f.now:
		f.now = new(batch)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next returns the next batch; nil at the end.
func (f *feed) next(ctx context.Context) (*batch, error) {
	select {
	case b, ok := <-f.batches:
		if !ok {
			return nil, f.err
		}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
