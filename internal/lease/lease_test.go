package lease

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/restore/archivetest"
	"tidemark/storage"
)

const ttl = time.Minute

// world is an archive whose storage may be out of reach for one archiver.
type world struct {
	t     *testing.T
	store storage.Store
}

func newWorld(t *testing.T) *world { return &world{t, archivetest.InDir(t).Store} }

// archiver is a lease of one process, over a storage that out makes fail.
type archiver struct {
	*Lease
	out   atomic.Bool
	after atomic.Bool // it fails after what was asked for is done
	waits atomic.Int32
	fails atomic.Int32
}

var errOutage = errors.New("the storage cannot be reached")

func (w *world) archiver(writer, host string) *archiver {
	a := new(archiver)
	store := storage.Faulty(w.store, func(op, _ string) error {
		switch {
		case !a.out.Load(), op == "next", op == "read":
			return nil
		case a.after.Load():
			return storage.After(errOutage)
		}
		return errOutage
	})
	cat, err := catalog.Open(context.Background(), store, "default", "test")
	if err != nil {
		w.t.Fatal(err)
	}
	a.Lease = New(Options{Catalog: cat, Writer: writer, Host: host, TTL: ttl, Clock: clock.System{},
		Waits: func(*catalog.Lease) { a.waits.Add(1) }, Fails: func(error) { a.fails.Add(1) }})
	return a
}

// take takes the lease and returns how long that took.
func (w *world) take(a *archiver) time.Duration {
	w.t.Helper()
	began := time.Now()
	if err := a.Take(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := a.Sure(w.t.Context()); err != nil || !a.View().Ours {
		w.t.Fatal(err)
	}
	return time.Since(began)
}

// keep keeps the lease until the returned function is called, which returns how that ended.
func keep(a *archiver) func() error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Keep(ctx) }()
	return func() error { cancel(); return <-done }
}

// sure reports whether the lease is known to be ours now.
func sure(a *archiver) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return a.Sure(ctx) == nil
}

func (w *world) newest() *catalog.Lease {
	w.t.Helper()
	cat, err := catalog.Open(context.Background(), w.store, "default", "test")
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := cat.Lease(context.Background(), false)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// A holder that is killed is followed when its lease has been seen for as long as it lasts; one that renews it
// is not, however long that goes; one that releases it is followed at once.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.archiver("a", "one"), w.archiver("b", "two")
		if took := w.take(a); took != 0 {
			t.Errorf("the first one waited for %v", took)
		}
		stop := keep(a)
		got := make(chan time.Duration, 1)
		go func() { got <- w.take(b) }()
		time.Sleep(20 * ttl)
		if len(got) > 0 || b.View().Ours || b.View().Lease.Host != "one" || b.waits.Load() != 1 || !sure(a) {
			t.Fatalf("taken from a holder that renews it: %+v, told %d times", b.View(), b.waits.Load())
		}
		n := 0
		for o, err := range w.store.List(t.Context(), "default/lease/", "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
			_ = o
		}
		if n > 12 {
			t.Errorf("%d leases are kept", n)
		}
		if err := stop(); err != nil { // killed
			t.Fatal(err)
		}
		left := time.Now()
		if took := <-got; time.Since(left) < ttl*2/3 || time.Since(left) > ttl+10*time.Second {
			t.Errorf("followed after %v, %v in all", time.Since(left), took)
		}
		if sure(a) {
			t.Error("who was killed is sure")
		}
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := w.archiver("c", "three"); w.take(c) != 0 || c.waits.Load() != 0 {
			t.Error("a lease that was released was waited for")
		}
	})
}

// Two that see it free at the same time: one gets it, the other one waits.
func TestRace(t *testing.T) {
	for range 15 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var won atomic.Int32
			for _, name := range []string{"a", "b", "c"} {
				wg.Go(func() {
					a := w.archiver(name, name)
					if a.Take(ctx) == nil {
						won.Add(1)
						_ = a.Keep(ctx)
					}
				})
			}
			time.Sleep(10 * ttl)
			if won.Load() != 1 {
				t.Errorf("%d have it", won.Load())
			}
			cancel()
			wg.Wait()
		})
	}
}

// The same state directory on the same host goes on at once after a crash: the lock on it says that nobody else
// does. That does not let two copies of it take the lease from each other in turns.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.archiver("a", "one")
		w.take(a)
		again := w.archiver("a", "one")
		if took := w.take(again); took != 0 {
			t.Errorf("after a crash it waited for %v", took)
		}
		if elsewhere := w.archiver("a", "two"); w.take(elsewhere) < ttl {
			t.Error("a copy of the state directory on another host did not wait")
		}
		twin := w.archiver("a", "two")
		w.take(twin)
		stop := keep(twin)
		elsewhere := w.archiver("b", "three") // has looked before
		go func() { _ = elsewhere.Take(t.Context()) }()
		got := make(chan time.Duration, 1)
		go func() { got <- w.take(again) }()
		time.Sleep(20 * ttl)
		if len(got) > 0 {
			t.Error("it was taken from a process of the same state directory that is alive")
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := twin.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * ttl)
		for _, l := range []*archiver{again, elsewhere} {
			if l.View().Ours {
				_ = l.Release(context.Background())
				time.Sleep(ttl)
			}
		}
		<-got
	})
}

// A holder that was stopped finds out when it goes on: it commits nothing, and does not take the lease back.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.archiver("a", "one"), w.archiver("b", "two")
		w.take(a) // and is stopped
		time.Sleep(ttl / 2)
		if !sure(a) {
			t.Error("not sure within its time")
		}
		w.take(b)
		defer keep(b)()
		if sure(a) {
			t.Error("sure although another has it")
		}
		epoch := b.View().Lease.Epoch
		stop := keep(a)
		time.Sleep(ttl)
		if err := stop(); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "two") {
			t.Errorf("%v", err)
		}
		if err := a.Sure(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		if l := w.newest(); l.Host != "two" || l.Epoch < epoch {
			t.Errorf("%+v", l)
		}
		if err := a.Release(t.Context()); err != nil || w.newest().Released {
			t.Errorf("it released what another has: %v", err)
		}
	})
}

// late is a storage whose answers to puts are on their way for long.
type late struct{ storage.Store }

func (s late) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	err := s.Store.Put(ctx, key, data, ifAbsent)
	time.Sleep(ttl / 2)
	return err
}

// A holder counts from before its put, however late that is answered: who has seen the lease meanwhile counts too.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := (&world{t, late{w.store}}).archiver("a", "one"), w.archiver("b", "two")
		taken := make(chan time.Duration, 1)
		go func() { taken <- w.take(a) }()
		synctest.Wait() // it is put
		if took := w.take(b); took < ttl || <-taken < ttl/2 {
			t.Errorf("taken over after %v", took)
		}
		if sure(a) {
			t.Error("sure although another has it")
		}
	})
}

// While the storage is out of reach the holder is not sure, and so it goes on when that is over: unless another
// one, which could reach it, has the lease then.
func TestOutage(t *testing.T) {
	for _, after := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			a := w.archiver("a", "one")
			a.after.Store(after)
			w.take(a)
			stop := keep(a)
			a.out.Store(true)
			time.Sleep(10 * ttl)
			if sure(a) || a.View().Err == nil || !a.View().Ours || a.fails.Load() != 1 {
				t.Errorf("in an outage: %+v, told %d times", a.View(), a.fails.Load())
			}
			waited := make(chan error, 1)
			go func() { waited <- a.Sure(t.Context()) }()
			a.out.Store(false)
			err := <-waited
			synctest.Wait() // it says that it is well again a little later
			if err != nil || a.View().Err != nil {
				t.Errorf("after it: %v, %+v", err, a.View())
			}
			a.out.Store(true)
			b := w.archiver("b", "two")
			if took := w.take(b); took < ttl {
				t.Errorf("taken over after %v", took)
			}
			a.out.Store(false)
			time.Sleep(ttl)
			if err := stop(); !errors.Is(err, ErrLost) {
				t.Errorf("%v", err)
			}
			a.out.Store(true)
			if err := a.Take(t.Context()); !errors.Is(err, errOutage) {
				t.Errorf("the first look failed, and: %v", err)
			}
		})
	}
}

// An outage for who waits ends nothing and counts for nothing.
func TestOutageOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.archiver("a", "one"), w.archiver("b", "two")
		w.take(a)
		stop := keep(a)
		got := make(chan time.Duration, 1)
		go func() { got <- w.take(b) }()
		time.Sleep(time.Second)
		b.out.Store(true)
		time.Sleep(10 * ttl)
		b.out.Store(false)
		time.Sleep(10 * ttl)
		if len(got) > 0 || !sure(a) {
			t.Error("taken from a holder that renews it")
		}
		_ = stop()
		<-got
	})
}

// A lease that cannot be understood is somebody's, for a time.
func TestDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.store.Put(t.Context(), "default/lease/0000000000000007.json", []byte("{}"), true); err != nil {
			t.Fatal(err)
		}
		a := w.archiver("a", "one")
		if took := w.take(a); took < ttl || w.newest().Epoch != 8 {
			t.Errorf("after %v: %+v", took, w.newest())
		}
	})
}

// Who stalled before its put, and puts an epoch that others have left behind, does not have the lease.
func TestLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.archiver("a", "one"), w.archiver("b", "two")
		w.take(b)
		stop := keep(b)
		time.Sleep(20 * ttl)
		if err := a.put(t.Context(), 3, false); !errors.Is(err, ErrLost) || a.View().Ours {
			t.Errorf("%v %+v", err, a.View())
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
