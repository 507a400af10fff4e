package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// feed reads the part of the log that a plan names and writes it as relay log files into the staging
// directory, a batch ahead of the server. What it writes is the source's own bytes, cut between
// transactions: a file never holds events of two source files. Of a log that is resumed, what the server
// has applied is left out.
type feed struct {
	c    *catalog.Catalog
	plan *Plan
	fsys durable.FS
	dir  string
	user mysqld.User

	// Relay space is divided so that there is room for a batch that is being applied, the one before, a
	// batch that waits, a file that is being written, and the server's own files. The one before goes when
	// the server begins to read the next one, if it applies in parallel; else all of it but the last file
	// has gone by then.
	fileBytes  int64
	batchBytes int64

	batches chan *batch // closed at the end
	err     error       // to be read when batches is closed
	stop    func()      // ends run, and returns when it has
	now     *batch
	file    *relayFile // being written; nil between files
	files   int        // written so far
	sent    int        // batches
	from    checkpoint
	had     uint64 // transactions that the server has at the beginning
	fragile fragile
	inside  bool // the batch is one in which tables are created inside

	variables map[string]string // under which what is being written was written

	// Up to the last boundary:
	segment *catalog.Segment
	offset  uint64
	applied uint64      // transactions
	bytes   int64       // of whole files
	pos     *gtid.State // of the server

	pending  gtid.GTID         // of the transaction that is open
	skip     map[uint32]uint64 // MariaDB: so many of the next transactions of a domain are not for the server
	skipping bool              // the transaction that is open is one of them
	hollow   bool              // MariaDB: the transaction that is open is written empty
	xa       xaPart
	xids     xaLog
	last     binlog.Type // of the event before
	emptied  emptied
	ignored  string // a database that the server ignores
	packed   int64  // where a compressed transaction begins that is written, behind the last boundary
}

// newFeed makes the feed of the log from a checkpoint on, for a server at a position.
func (r *run) newFeed(from checkpoint, pos *gtid.State) *feed {
	return &feed{c: r.c, plan: r.plan, fsys: r.FS, dir: r.work.stageDir(), user: r.user,
		fileBytes: min(max(r.RelaySpace/8, 64<<10), 64<<20), batchBytes: max(r.RelaySpace*9/32, 64<<10),
		batches: make(chan *batch), now: new(batch), from: from, had: from.Transactions,
		applied: from.Transactions, bytes: from.Bytes, pos: pos.Clone(), skip: maps.Clone(from.Ahead), xids: newXALog(from.Doubtful),
		emptied: newEmptied(from.Emptied, r.plan.foldsNames()), ignored: r.work.ignored()}
}

// start begins to make batches, until ctx ends or stop is called.
func (f *feed) start(ctx context.Context) *feed {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.run(ctx)
	}()
	f.stop = func() { cancel(); <-ended }
	return f
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
	segments, err := f.plan.after(f.from)
	if err != nil {
		return err
	}
	for s := range ahead(ctx, f.c, segments) {
		if err := f.emptied.learn(ctx); err != nil {
			return err
		}
		planned := segments[s.index]
		from, to := planned.Source.Start, planned.Source.End
		if s.index == 0 {
			from = f.from.Offset
		} else if !planned.Source.SameFile(segments[s.index-1].Source) {
			if err := f.endFile(ctx); err != nil {
				return err
			}
		}
		if s.index == len(segments)-1 {
			to = f.plan.Stop.Offset
		}
		if s.index > 0 {
			if err := f.underOthers(ctx, planned); err != nil {
				return err
			}
		} else {
			f.variables = f.plan.variablesOf(planned)
		}
		f.segment, f.offset = planned, from
		if err := f.copy(ctx, s, from, to); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.emptied.reached()
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
		f.track(ev)
		if f.plan.ofMariaDB() {
			if err := f.followCrash(ctx, ev, r.Format()); err != nil {
				return err
			}
			if err := f.followXA(ctx, ev, r.Body(ev)); err != nil {
				return err
			}
		}
		if err := f.meetBarrier(ctx, ev, r.Body(ev)); err != nil {
			return err
		}
		named, err := f.followEmptied(ev, r.Body(ev), r.Format())
		if err != nil {
			return err
		}
		// Its source was encrypted, and what is archived is not: a server would begin to decrypt.
		if !f.skipping && ev.Type != binlog.TypeStartEncryption {
			if ev.First && !f.holds() && !binlog.Atomic(ev, r.Body(ev)) {
				if err := f.beginFragile(ctx, r.Format()); err != nil {
					return err
				}
			}
			write := f.write
			if f.hollow && (ev.Open || ev.End) {
				write = func(ctx context.Context, ev *binlog.Event, format *binlog.FormatDescription) error {
					return f.empty(ctx, ev, r.Body(ev), format)
				}
			}
			out := named
			if err := f.beginInside(ctx, ev, r.Body(ev), r.Format()); err != nil {
				return err
			}
			if f.inside && f.plan.ofMariaDB() {
				if out, err = f.leniently(out, r.Body(ev), r.Format()); err != nil {
					return err
				}
			}
			if err := write(ctx, out, r.Format()); err != nil {
				return err
			}
			if err := f.followPacked(ctx, ev, r.Format()); err != nil {
				return err
			}
		}
		if err := f.passed(ctx, ev); err != nil {
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
	return f.file.write(ev.Data)
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
