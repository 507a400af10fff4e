package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// ErrDiverged: the source does not have what was archived from it.
var ErrDiverged = errors.New("the primary's binlog is not the archived one")

// Resume says where the source is to be asked for the binlog.
type Resume struct {
	Fresh bool // nothing is archived yet: the caller chooses

	// Safe: what lies before is as safe as Options.Ack promises. To ask a primary for what follows,
	// as one whose acknowledgements its commits wait for, acknowledges all before.
	Safe bool

	// From is the start of the last durable transaction in the source's files; After is the GTID
	// position before it, for a source that does not have that file.
	From  binlog.Point
	After string

	// Reached is the GTID position behind the last durable transaction: what another server is asked
	// to go on after.
	Reached *gtid.State

	ServerID uint32 // of the source From belongs to
	UUID     string // of the source From belongs to; MySQL
	ByGTID   bool   // the caller asked for what follows After, not for From
	Other    bool   // the caller asked another server for what follows Reached
	Next     bool   // the caller asked for the beginning of the next file: that of From ends at Reached
	tail     catalog.Tail
	tailTime time.Time      // commit time of the last transaction
	Format   catalog.Digest // of the file of From, as its description gives it
}

// Resume returns where the binlog has to be requested from: one transaction back, so that its bytes
// can be compared. All before is synced. Stream must have returned.
func (a *Archiver) Resume(ctx context.Context) (Resume, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return Resume{}, a.failed
	}
	if err := a.settle(ctx); err != nil {
		return Resume{}, err
	}
	safe := a.o.Ack == AckSpool || a.o.Ack == AckArchive && a.open == nil && len(a.queue) == 0
	seg, path := a.last, ""
	if len(a.queue) > 0 {
		path = a.queue[len(a.queue)-1].path
	}
	if o := a.open; o != nil {
		if o.tally.body == 0 {
			if err := a.seal(); err != nil { // removes it
				return Resume{}, err
			}
		} else {
			seg, path = o.seg, a.path(o.number, "binlog")
			o.tally.fill(seg, a.mstate)
		}
	}
	switch {
	case seg == nil && a.mstate == nil:
		return Resume{Fresh: true, Safe: safe}, nil
	case seg == nil: // a timeline begins in the middle of a history
		return Resume{Reached: a.mstate.Clone(), Safe: safe, Other: true}, nil
	}
	r := Resume{From: binlog.Point{File: seg.Source.File, Offset: seg.Tail.Offset}, After: seg.Tail.Before.GTID,
		Reached: a.mstate.Clone(), Safe: safe,
		ServerID: seg.Source.ServerID, UUID: seg.Source.ServerUUID, tail: *seg.Tail, tailTime: seg.Commit.Last, Format: seg.Source.Format}
	if path == "" {
		return r, nil
	}
	f, err := a.o.FS.Open(path)
	if err != nil {
		return Resume{}, err
	}
	defer f.Close()
	// A transaction of gigabytes takes its time, and nobody should wait for that. The file may be archived
	// and removed meanwhile; what is open stays readable.
	from := int64(seg.HeadBytes + seg.Tail.Offset - seg.Source.Start)
	a.mu.Unlock()
	r.tail.SHA256, err = hashTail(ctx, f, from, int64(r.tail.Bytes))
	a.mu.Lock()
	return r, err
}

// Stream appends the source's events until it ends, which is never without an error. r is where the
// source was asked to begin. When Stream returns, the open segment ends with a whole transaction.
func (a *Archiver) Stream(ctx context.Context, src Source, r Resume) error {
	stop := context.AfterFunc(ctx, func() { a.mu.Lock(); a.wake.Broadcast(); a.mu.Unlock() })
	defer stop()
	a.mu.Lock()
	a.src = src
	a.forgetAsks()
	a.stats.Streaming = true
	a.mu.Unlock()
	err := a.stream(ctx, src, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.coveredUntil()
	a.src = nil
	a.forgetAsks()
	a.stats.Streaming = false
	if a.open != nil && a.failed == nil {
		if cerr := a.open.cut(); cerr != nil {
			return cerr
		}
		a.kick()
	}
	if a.failed != nil {
		return a.failed
	}
	return err
}

func (a *Archiver) stream(ctx context.Context, src Source, r Resume) error {
	var ov *overlap
	if !r.Fresh {
		ov = newOverlap(r)
	}
	held := false
	defer func() {
		if held {
			a.mu.Unlock()
		}
	}()
	for {
		ev, err := src.Next()
		if err != nil {
			return err
		}
		if !held { // one lock for all the events that are in memory already
			a.mu.Lock()
			held = true
		}
		if a.failed != nil {
			return a.failed
		}
		a.acks.dry = false
		what := fresh
		if ov != nil {
			if what, err = ov.feed(ev, src); err != nil {
				return err
			}
			if what != fresh {
				a.ended = endsFile(ev.Type)
			}
			if what != dropped {
				if err := a.goOn(ov, ev, what); err != nil {
					return err
				}
				ov = nil
			}
		}
		if what == fresh {
			err = a.append(ctx, ev, src)
		} else {
			a.stats.DuplicateBytes += uint64(len(ev.Data))
		}
		if err != nil {
			return err
		}
		if what == equal && r.Safe && src.AckWanted() { // archived or synced before it was asked for again
			a.acknowledge(binlog.Point{File: ev.File, Offset: ev.EndOffset()})
		}
		if !ev.More {
			a.acks.dry = true
			if err := a.sealForAck(); err != nil {
				return err
			}
			if a.open != nil {
				if err := a.open.flush(); err != nil {
					return err
				}
				a.kick()
			}
			a.mu.Unlock()
			held = false
		}
	}
}

// goOn begins after the overlap. On another server, or in another file, that is another place.
func (a *Archiver) goOn(ov *overlap, ev *binlog.Event, last fed) error {
	if ov.files {
		return nil
	}
	a.next, a.rotated = binlog.Point{File: ev.File, Offset: ev.EndOffset()}, ""
	if last == fresh {
		a.next.Offset = ev.Offset
	}
	return a.seal()
}

// append stores one event or fragment in the open segment, beginning and sealing segments as the
// source's files, age and size ask for.
func (a *Archiver) append(ctx context.Context, ev *binlog.Event, src Source) error {
	if ev.First {
		if err := a.place(ev); err != nil {
			return err
		}
	}
	if a.open == nil {
		if err := a.room(ctx); err != nil {
			return err
		}
		if err := a.begin(ev, src); err != nil {
			return err
		}
	}
	o := a.open
	if err := o.write(ev.Data); err != nil {
		return err
	}
	body, events, before := src.Body(ev), o.tally.events, o.tally.lastBarrier()
	if err := a.checkListed(ev, body); err != nil {
		return err
	}
	a.ended = endsFile(ev.Type)
	boundary, err := o.tally.add(ev, body, a.mstate)
	if err != nil {
		return fmt.Errorf("event at %s:%d: %w", ev.File, ev.Offset, err)
	}
	full := boundary && (a.unsaid || ev.Type == binlog.TypeRotate || o.head+o.tally.body >= uint64(a.o.MaxSize))
	if boundary && ev.End || full || !ev.More {
		o.lastAt = a.o.Clock.Now()
		full = full || boundary && o.lastAt.Sub(o.began) >= a.o.MaxAge
	}
	a.stats.ReceivedBytes += uint64(len(ev.Data))
	if !boundary {
		return nil
	}
	a.stats.ReceivedEvents += o.tally.events - events
	if b := o.tally.lastBarrier(); b != before {
		a.noteBarrierLocked(o.number, o.tally.barriers)
		a.o.Log.Error("no restore gets past what the log holds now, until a base backup is behind it", zap.String("what", b.What), zap.String("gtid", b.GTID),
			zap.Uint64("segment", o.number), zap.Uint64("offset", b.Offset), zap.Time("time", b.Time))
	}
	if ev.End {
		a.stats.ReceivedTransactions++
		a.stats.Received.Commit = o.tally.commit.Last
	}
	a.next = binlog.Point{File: ev.File, Offset: ev.EndOffset()}
	a.stats.Received.Point = a.next
	if src.AckWanted() {
		o.asked = a.next
	}
	if ev.Type == binlog.TypeRotate {
		p, err := binlog.ParseRotate(body)
		if err != nil {
			return fmt.Errorf("event at %s:%d: %w", ev.File, ev.Offset, err)
		}
		a.rotated = p.File
	}
	if full {
		return a.seal()
	}
	return nil
}

// place checks that an event begins where the last one ended, or begins the next file.
func (a *Archiver) place(ev *binlog.Event) error {
	if o := a.open; o != nil && o.tally.pend.bytes > 0 && ev.File == o.seg.Source.File {
		return nil // inside a transaction; the scanner counts on
	}
	here := binlog.Point{File: ev.File, Offset: ev.Offset}
	switch {
	case a.next.File == "":
		if here.Offset != uint64(len(binlog.Magic)) {
			return fmt.Errorf("the first event is at %s, not at the beginning of a binlog file", here)
		}
	case here == a.next:
	case here.File == a.next.File, here.Offset != uint64(len(binlog.Magic)), a.rotated != "" && here.File != a.rotated:
		return fault.New(fault.Integrity, "read the binlog", here.String(), fmt.Errorf("the log goes on there, but ended at %s", a.next)).
			WithHint("The stream is requested again from the last durable transaction.")
	default:
		// The next file, after a ROTATE, a STOP, or a crash of the server. What the server had
		// not finished when it crashed is dropped.
		a.rotated, a.cutOff = "", !a.ended
		return a.seal()
	}
	return nil
}

// room waits until the spool is below its bound: reading stops, nothing is dropped.
func (a *Archiver) room(ctx context.Context) error {
	if err := a.reclaim(); err != nil {
		return a.fail("make room in", err)
	}
	for a.spoolBytes() >= a.o.MaxSpool && a.failed == nil && ctx.Err() == nil {
		a.stats.SpoolFull = true
		if a.o.Ack != AckNone && !a.o.Hold {
			return fault.New(fault.Other, "store the binlog in", a.o.Dir, ErrFull).
				WithHint("The archive cannot be written: until it can, the primary's commits wait for no acknowledgement of ours. Or set spool.max_size higher.")
		}
		a.wake.Wait()
	}
	a.stats.SpoolFull = false
	if a.failed != nil {
		return a.failed
	}
	return ctx.Err()
}

// ageLoop seals the open segment when it is old enough and nothing comes that would; see append.
func (a *Archiver) ageLoop(ctx context.Context) error {
	tick := max(a.o.MaxAge/20, 10*time.Millisecond)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.o.Clock.After(tick):
		}
		a.mu.Lock()
		var err error
		if o := a.open; o != nil && a.failed == nil && o.tally.body > 0 && o.tally.pend.bytes == 0 && a.o.Clock.Now().Sub(o.began) >= a.o.MaxAge {
			err = a.seal()
		}
		a.mu.Unlock()
		if err != nil {
			return err
		}
	}
}
