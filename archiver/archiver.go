// Package archiver turns a primary's events into archived segments: events are appended to the open
// segment in the spool, synced in groups, sealed, uploaded in order and committed by their manifest.
//
// # Spool
//
// The spool directory (0700, files 0600) holds for every segment number not archived yet
//
//	<timeline>-<number>.binlog   the plain segment, a valid binlog file
//	<timeline>-<number>.open     while it is open: where in the source it begins (JSON)
//	<timeline>-<number>.sealed   once it is sealed: its manifest without the stored object (JSON)
//
// A segment that is archived may leave its .binlog there, without a record, until it is compacted. All this is
// beside state.json (who we are, how far the archive reached) and lock. The open segment is cut back
// to its last whole transaction whenever the stream ends, and after a crash; then the binlog is
// requested from the start of the last transaction, whose bytes are compared with what comes.
//
// # Watermarks
//
// received, spooled (synced in the spool, file and directory) and archived (manifest confirmed) are
// places in the source after a whole transaction. Nothing is called durable before it is.
package archiver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
)

// Source is where events come from: a primary's stream, or files in a test.
type Source interface {
	// Next returns the next event of the source's files, without artificial ones.
	Next() (*binlog.Event, error)
	// Body returns what lies between header and checksum of the event in hand.
	Body(*binlog.Event) []byte
	// Format returns the format description of the file the event in hand is from.
	Format() *binlog.FormatDescription
	// ServerUUID identifies a MySQL server; "" for MariaDB.
	ServerUUID() string
	// CaughtUp returns the place at which the source last said it has nothing more, and when by
	// its own clock; offsets modulo 2^32.
	CaughtUp() (binlog.Point, time.Time)
	// AckWanted reports whether a commit waits until the event in hand, the last of its transaction,
	// is acknowledged.
	AckWanted() bool
	// Ack tells the source that everything up to a place in its files is safe.
	Ack(binlog.Point) error
}

// Options of an Archiver.
type Options struct {
	Catalog  *catalog.Catalog
	Timeline uint32
	Dir      string // spool directory; made when it is missing
	Spool    *Spool // Dir, which the caller holds already and goes on holding; nil: it is held until Close
	FS       durable.FS
	Clock    clock.Clock
	Log      *zap.Logger
	Version  string

	Recipients *keys.Recipients // who can open what is archived; nil: everybody who can read it

	MaxAge   time.Duration // a segment is sealed when its first event is this old
	MaxSize  int64         // or when it has this many plain bytes
	MaxSpool int64         // bytes in the spool at which reading stops
	Keep     int64         // archived segments of so many plain bytes stay in the spool to be compacted, while there is room; 0: none
	HeadAge  time.Duration // how often a head is written while anything changed
	Ack      Ack           // when the source is told that a transaction is safe
	Hold     bool          // a full spool keeps the source that waits for acknowledgements; else Stream ends with ErrFull

	// Sure is asked before each manifest and head is put, and returns when this may be done, or an error; nil: always.
	Sure func(context.Context) error
}

// Archiver archives one cluster. Stream is for one goroutine at a time; everything else may be
// called at any time.
type Archiver struct {
	o     Options
	disk  counted // is o.FS
	spool *Spool
	state *state

	mu      sync.Mutex
	open    *open            // the segment events are appended to; nil between segments
	queue   []*sealed        // sealed and not archived, oldest first
	kept    []kept           // archived and to be compacted, oldest first
	last    *catalog.Segment // the newest sealed one, archived or not; nil at the very beginning
	mstate  *gtid.State      // binlog state after the last whole transaction
	next    binlog.Point     // where the next event must begin; no file before the first
	rotated string           // the file that the last ROTATE named, until it begins
	ended   bool             // what came last ends its file as a server does that is not killed
	cutOff  bool             // nothing ended the file before that of next
	src     Source           // while streaming
	stats   Stats
	wake    *sync.Cond    // queue or stats changed
	dirty   chan struct{} // the open segment has bytes to sync
	hurry   chan struct{} // a commit waits for that
	acks    acks
	failed  error         // the spool is of no more use
	broken  chan struct{} // closed when failed is set
	covered time.Time

	variables map[string]string // of the source's server, as they were observed last
	unsaid    bool              // the next segment says so
}

// Open locks the spool, recovers what a crash left, and compares it with the archive.
func Open(ctx context.Context, o Options) (*Archiver, error) {
	spool := o.Spool
	if spool == nil {
		var err error
		if spool, err = HoldSpool(o.FS, o.Dir); err != nil {
			return nil, err
		}
	}
	disk := count(o.FS)
	o.FS = disk
	a := &Archiver{o: o, disk: disk, spool: spool, dirty: make(chan struct{}, 1), hurry: make(chan struct{}, 1), acks: newAcks(), broken: make(chan struct{})}
	a.wake = sync.NewCond(&a.mu)
	if err := a.recover(ctx); err != nil {
		if a.open != nil {
			a.open.close()
		}
		a.letGo()
		return nil, err
	}
	return a, nil
}

// Run syncs, seals by age, uploads and writes heads until ctx ends. It returns an error only when
// the archiver cannot go on: then it must be closed, and may be opened again.
func (a *Archiver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { a.mu.Lock(); a.wake.Broadcast(); a.mu.Unlock() })
	defer stop()
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context) error{a.syncLoop, a.ageLoop, a.ackLoop, a.uploadLoop, a.headLoop, a.indexLoop, a.failLoop} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := loop(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		}()
	}
	wg.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil { // also when it failed as ctx ended
		return a.failed
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close seals what is open, uploads all that is sealed and writes a head, for as long as ctx lasts,
// and releases the spool. Run and Stream must have returned. What is not uploaded stays in the spool, and what is kept
// to be compacted, unless the archive is encrypted: nothing plain is to lie about that nobody has need of.
func (a *Archiver) Close(ctx context.Context) error {
	defer a.letGo()
	a.mu.Lock()
	err := a.failed
	if err == nil {
		err = a.seal()
	}
	a.mu.Unlock()
	if err == nil {
		err = a.drain(ctx)
	}
	if err == nil {
		err = a.putHead(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open != nil {
		a.open.close()
	}
	if a.o.Recipients != nil && a.failed == nil {
		if ferr := a.forget(len(a.kept)); err == nil {
			err = ferr
		}
	}
	return err
}

// ErrSpool matches the errors of an archiver whose spool is of no more use: it must be closed, and may
// be opened again.
var ErrSpool = errors.New("the spool has failed")

type spoolError struct{ error }

func (e spoolError) Unwrap() []error { return []error{e.error, ErrSpool} }

// fail records that the spool can no longer be trusted or written, and returns the error.
func (a *Archiver) fail(op string, err error) error {
	if a.failed == nil {
		a.failed = fault.New(fault.Other, op, a.o.Dir, spoolError{err}).
			WithHint("Free space on the spool's file system or repair it; archiving goes on from the last durable transaction.")
		_ = a.forget(len(a.kept)) // the disk may be full
		close(a.broken)
	}
	a.wake.Broadcast()
	return a.failed
}

// failLoop ends Run when the spool has failed, wherever that showed.
func (a *Archiver) failLoop(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.broken:
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.failed
	}
}

func (a *Archiver) path(number uint64, ext string) string {
	return a.pathOn(a.o.Timeline, number, ext)
}

func (a *Archiver) pathOn(timeline uint32, number uint64, ext string) string {
	return filepath.Join(a.o.Dir, fmt.Sprintf("%08d-%016d.%s", timeline, number, ext))
}
