// Package lease lets one archiver at a time work on a cluster, and the next one take over.
//
// The lease is a series of objects in the archive, each put only if absent: of two that want the same epoch
// exactly one gets it. The holder renews it by a new epoch, three times within the time that it lasts.
// Whoever waits takes it when it was released, or when it has seen the same epoch for as long as that lasts:
// by its own clock, from when it first saw it. The clocks of two machines are never compared, so one that
// is wrong neither loses the lease nor keeps it; only their pace has to be about the same.
//
// A holder counts its time from before it began to put the epoch, and whoever waits from after it has seen it:
// so the holder knows first that it may have lost the lease, and commits nothing more until it has renewed it.
//
// A process that finds a lease of its own state directory and host when it starts takes that at once. It
// has locked the directory, so the process that held the lease is dead. This counts for the epoch found then,
// and never again: should two machines have copies of one directory, and one name, they do not take the
// lease from each other in turns.
//
// It is advice. A holder that was stopped just before a put, and goes on hours later, is kept out by the
// manifests, which exist once.
package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// ErrLost: another archiver has the lease.
var ErrLost = errors.New("another archiver has taken the lease")

// Options of a Lease.
type Options struct {
	Catalog *catalog.Catalog
	Writer  string // UUID of the archiver, whose state directory this process has locked
	Host    string // the machine's name
	TTL     time.Duration
	Clock   clock.Clock
	Waits   func(held *catalog.Lease) // told once of each holder that is waited for
	Fails   func(err error)           // told once when the storage cannot be asked, until it can again
}

// Lease is what one process has to do with the lease of a cluster. Take, Keep and Release are for one goroutine
// at a time; everything else may be called at any time.
type Lease struct {
	o     Options
	run   string
	taken time.Time

	inherits uint64    // the epoch that a dead process of our state directory left; 0: none
	looked   bool      // inherits is known
	watched  uint64    // the epoch that another has, as it is waited for,
	since    time.Time // and when it was first seen
	told     string    // the run of which Waits was told

	mu      sync.Mutex
	seen    *catalog.Lease // the newest, whoever's
	ours    bool           // it is ours
	until   time.Time      // by our clock: before that nobody can have taken it
	err     error          // why the storage could not be asked
	renewed chan struct{}  // closed when until or ours changes
}

// New returns a lease that is not held.
func New(o Options) *Lease {
	return &Lease{o: o, run: uuid.NewString(), renewed: make(chan struct{})}
}

// Take waits until the lease is ours. What is ours already is renewed. It returns an error when ctx ends, or when
// the storage fails before it is known who has the lease.
func (l *Lease) Take(ctx context.Context) error {
	l.watched = 0
	for {
		newest, err := l.o.Catalog.Lease(ctx, false)
		free := false
		if err == nil {
			if free = l.free(newest); !free && l.told != newest.Run && l.o.Waits != nil {
				l.told = newest.Run
				l.o.Waits(newest)
			}
			l.set(newest, false, time.Time{})
		}
		if free {
			next := uint64(1)
			if newest != nil {
				next = newest.Epoch + 1
			}
			if err = l.put(ctx, next, false); err == nil {
				l.failing(nil)
				return nil
			}
			if errors.Is(err, ErrLost) { // somebody was quicker
				continue
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && l.watched == 0 {
			return err
		}
		l.failing(err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.o.Clock.After(min(max(l.o.TTL/12, 100*time.Millisecond), 5*time.Second)):
		}
	}
}

// free reports whether the newest lease may be followed by one of ours.
func (l *Lease) free(newest *catalog.Lease) bool {
	if !l.looked {
		l.looked = true
		if newest != nil && newest.Writer == l.o.Writer && newest.Host == l.o.Host {
			l.inherits = newest.Epoch
		}
	}
	if newest == nil || newest.Released || newest.Run == l.run || newest.Epoch == l.inherits {
		return true
	}
	now := l.o.Clock.Now()
	if newest.Epoch != l.watched {
		l.watched, l.since = newest.Epoch, now
		return false
	}
	ttl := newest.TTL()
	if ttl <= 0 { // it cannot be understood
		ttl = l.o.TTL
	}
	return now.Sub(l.since) >= ttl
}

// Keep renews the lease until ctx ends, or returns ErrLost. While the storage fails it goes on trying.
func (l *Lease) Keep(ctx context.Context) error {
	wait := l.o.TTL / 3
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.o.Clock.After(wait):
		}
		bounded, done := context.WithTimeout(ctx, l.o.TTL)
		err := l.put(bounded, l.View().Lease.Epoch+1, false)
		done()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLost):
			return err
		}
		l.failing(err)
		if wait = l.o.TTL / 3; err != nil {
			wait /= 4
		}
	}
}

// put puts the epoch that follows the newest one. ErrLost: it is another's.
func (l *Lease) put(ctx context.Context, epoch uint64, release bool) error {
	for {
		now := l.o.Clock.Now()
		if l.taken.IsZero() {
			l.taken = now
		}
		lease := &catalog.Lease{Epoch: epoch, Writer: l.o.Writer, Run: l.run, Host: l.o.Host, Taken: l.taken, Renewed: now, Expires: now.Add(l.o.TTL)}
		if release {
			lease.Expires, lease.Released = now, true
		}
		err := l.o.Catalog.PutLease(ctx, lease)
		taken := errors.Is(err, storage.ErrExist)
		if err != nil && !taken {
			return err
		}
		// Whoever stalled before its put may have put an epoch that others have left behind them.
		newest, lerr := l.o.Catalog.Lease(ctx, true)
		switch {
		case lerr != nil:
			return lerr
		case newest == nil || newest.Epoch < epoch:
			if taken {
				return err
			}
			newest = lease // was removed at once, from outside
		case newest.Run != l.run:
			l.taken = time.Time{}
			l.set(newest, false, time.Time{})
			return l.lost(newest)
		case newest.Epoch > epoch || !newest.Renewed.Equal(now):
			epoch = newest.Epoch + 1 // ours, whose put was reported lost: when it began is not known any more
			continue
		}
		l.set(newest, !release, now.Add(l.o.TTL))
		return nil
	}
}

func (l *Lease) lost(by *catalog.Lease) error {
	if by == nil {
		by = new(catalog.Lease)
	}
	return fault.New(fault.Locked, "archive cluster", l.o.Catalog.Cluster.Name, fmt.Errorf("%w: %s, as epoch %d", ErrLost, by.Host, by.Epoch)).
		WithHint("This archiver waits until the other one ends.")
}

// Sure returns when nobody else can have the lease, or ErrLost.
func (l *Lease) Sure(ctx context.Context) error {
	for {
		l.mu.Lock()
		ours, until, seen, renewed := l.ours, l.until, l.seen, l.renewed
		l.mu.Unlock()
		if !ours {
			return l.lost(seen)
		}
		// A machine that slept has another time of day, although its clock that counts seconds stood still.
		now := l.o.Clock.Now()
		if now.Before(until) && now.Round(0).Before(until.Round(0)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-renewed:
		}
	}
}

// Release gives the lease up, if it is ours: whoever waits takes it at once.
func (l *Lease) Release(ctx context.Context) error {
	v := l.View()
	if !v.Ours {
		return nil
	}
	err := l.put(ctx, v.Lease.Epoch+1, true)
	l.set(l.View().Lease, false, time.Time{})
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

// View is how it stands with the lease.
type View struct {
	Ours  bool
	Lease *catalog.Lease // the newest that was seen; nil: none
	Err   error          // why it cannot be renewed or seen, while that lasts
}

// View returns how it stands.
func (l *Lease) View() View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return View{Ours: l.ours, Lease: l.seen, Err: l.err}
}

func (l *Lease) set(newest *catalog.Lease, ours bool, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.ours, l.until = newest, ours, until
	close(l.renewed)
	l.renewed = make(chan struct{})
}

func (l *Lease) failing(err error) {
	l.mu.Lock()
	first := err != nil && l.err == nil
	l.err = err
	l.mu.Unlock()
	if first && l.o.Fails != nil {
		l.o.Fails(err)
	}
}
