package archiver

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/failpoint"
)

// Ack says when a semi-synchronous source is told that a transaction is safe, on which its commit
// waits.
type Ack int

// The promises.
const (
	AckNone    Ack = iota // never
	AckSpool              // once it is synced in the spool
	AckArchive            // once storage has confirmed the manifest of its segment
)

// ErrFull: the spool is full, and a source that waits for acknowledgements is let go.
var ErrFull = errors.New("the spool is full")

// acks is what there is to be told to the source. One acknowledgement stands for all before it.
type acks struct {
	due  binlog.Point  // safe, and not told yet; no file: nothing
	wake chan struct{} // due was set
	dry  bool          // the source has no more in memory
}

func newAcks() acks { return acks{wake: make(chan struct{}, 1)} }

// acknowledge lets the source be told that all up to p is safe. Its commits wait for the newest.
func (a *Archiver) acknowledge(p binlog.Point) {
	if p.File == "" || a.src == nil {
		return
	}
	a.acks.due = p
	signal(a.acks.wake)
}

// ackLoop sends acknowledgements; nobody else waits for the network.
func (a *Archiver) ackLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.acks.wake:
		}
		a.mu.Lock()
		src, p := a.src, a.acks.due
		a.acks.due = binlog.Point{}
		a.mu.Unlock()
		if src == nil || p.File == "" {
			continue
		}
		failpoint.Before(failpoint.Ack)
		err := src.Ack(p)
		failpoint.After(failpoint.Ack)
		if err != nil { // reading from that connection fails as well
			a.o.Log.Warn("acknowledgement not sent", zap.Error(err))
			continue
		}
		a.mu.Lock()
		a.stats.Acks++
		a.mu.Unlock()
	}
}

// forgetAsks drops what commits on an earlier connection waited for.
func (a *Archiver) forgetAsks() {
	a.acks.due, a.acks.dry = binlog.Point{}, false
	for _, s := range a.queue {
		s.asked = binlog.Point{}
	}
	if a.open != nil {
		a.open.asked = binlog.Point{}
	}
}

// sealForAck seals the open segment when a commit waits for it to be archived, unless more of the log
// has arrived already or another segment is on its way: many commits share one.
func (a *Archiver) sealForAck() error {
	if o := a.open; a.o.Ack == AckArchive && o != nil && o.asked.File != "" && o.tally.pend.bytes == 0 &&
		a.acks.dry && len(a.queue) == 0 && a.failed == nil {
		return a.seal()
	}
	return nil
}

// settleWithin is how long Resume waits for storage.
const settleWithin = 15 * time.Second

// settle syncs the open segment. Where acknowledgements promise the archive, it is sealed, and what is
// in the spool may take a moment to get there.
func (a *Archiver) settle(ctx context.Context) error {
	if a.o.Ack != AckArchive {
		return a.syncOpen()
	}
	if err := a.seal(); err != nil {
		return err
	}
	return a.waitDrained(ctx, settleWithin)
}

// Drain waits until what is sealed is archived, at most so long.
func (a *Archiver) Drain(ctx context.Context, limit time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.waitDrained(ctx, limit)
}

// waitDrained waits until the queue is empty, at most so long, or the spool fails.
func (a *Archiver) waitDrained(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-ctx.Done():
		case <-a.o.Clock.After(limit):
			cancel()
		}
		a.mu.Lock()
		a.wake.Broadcast()
		a.mu.Unlock()
	}()
	for len(a.queue) > 0 && ctx.Err() == nil && a.failed == nil {
		a.wake.Wait()
	}
	return a.failed
}

// Drained reports whether all that is received is archived, but for what is being received.
func (a *Archiver) Drained() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) == 0
}

// Room waits until a quarter of the spool is free. With less, whoever connects to the primary would leave it again at once, and again: a
// MariaDB server whose semi-synchronous replica did that was seen to send nothing to any replica from then on.
func (a *Archiver) Room(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { a.mu.Lock(); a.wake.Broadcast(); a.mu.Unlock() })
	defer stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.spoolBytes() > a.o.MaxSpool/4*3 && a.failed == nil && ctx.Err() == nil {
		a.wake.Wait()
	}
	if a.failed != nil {
		return a.failed
	}
	return ctx.Err()
}
