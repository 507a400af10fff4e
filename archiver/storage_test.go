package archiver

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/storage"
)

var errOutage = errors.New("storage outage")

// TestOutage: while the storage fails, or does what it was asked for and says that it failed, segments
// wait in order; nothing is lost, archived twice, or taken for another writer's.
func TestOutage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	p := sample(1, 3000, 9000)
	for _, tt := range []struct {
		name   string
		op     string
		key    string // part of it
		late   bool
		chance int // of 100
	}{
		{"upload", "upload", "", false, 40},
		{"upload, answer lost", "upload", "", true, 40},
		{"manifest", "put", "/log/", false, 40},
		{"manifest, answer lost", "put", "/log/", true, 40},
		{"listing after the put", "list", "/log/", false, 40},
		{"listing breaks off", "next", "/log/", false, 10},
		{"heads", "put", "/heads/", false, 50},
		{"heads, answer lost", "put", "/heads/", true, 50},
		{"everything", "", "", false, 10},
		{"everything, answers lost", "", "", true, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.options.MaxSize, b.options.HeadAge = 9000, 2*time.Millisecond
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(seed, 1))
			var failures atomic.Int64
			on := false
			under := b.store
			b.store = storage.Faulty(under, func(op, key string) error {
				mu.Lock()
				defer mu.Unlock()
				if !on || tt.op != "" && tt.op != op || !strings.Contains("/"+key, tt.key) {
					return nil
				}
				if failures.Load() > 0 && rng.IntN(100) >= tt.chance { // the first one always fails
					return nil
				}
				failures.Add(1)
				if tt.late {
					return storage.After(errOutage)
				}
				return errOutage
			})
			set := func(v bool) { mu.Lock(); on = v; mu.Unlock() }
			a := b.mustOpen()
			r := run(a)
			set(true)
			if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			end := a.Stats().Received.Point
			until(t, "something failed and the sealed segments are archived", func() bool {
				select {
				case <-r.done:
					t.Fatalf("seed %d: %v", seed, r.err)
				default:
				}
				a.mu.Lock()
				defer a.mu.Unlock()
				return len(a.queue) == 0 && failures.Load() > 0
			})
			set(false)
			if err := r.stop(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := a.Close(context.Background()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if s := a.Stats(); s.Archived.Point != end || s.UploadError != nil {
				t.Errorf("%+v", s)
			}
			b.store = under
			b.check(p, nil)
		})
	}
}

// TestLostAnswerAndRestart: the answer to a manifest's put is lost and the process ends; the next one
// takes the segment for its own.
func TestLostAnswerAndRestart(t *testing.T) {
	p := sample(1, 3000)
	for _, how := range []string{"kill", "shutdown"} {
		b := newBench(t)
		b.options.MaxSize = 9000
		under := b.store
		puts := 0
		b.store = storage.Faulty(under, func(op, key string) error {
			if op == "put" && strings.Contains(key, "/log/") {
				if puts++; puts < 3 {
					return storage.After(errOutage)
				}
			}
			return nil
		})
		a := b.mustOpen()
		if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
			t.Fatal(err)
		}
		r := run(a)
		until(t, "an upload has failed", func() bool { return a.Stats().UploadFailures > 0 })
		if how == "kill" {
			r.kill()
		} else {
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			if err := a.Close(context.Background()); err != nil {
				t.Fatalf("close: %v", err)
			}
		}
		b.store = under
		b.finish(p)
		b.check(p, nil)
	}
}

// TestSpoolFull: a spool that is full stops the reading, not more, and drops nothing.
func TestSpoolFull(t *testing.T) {
	p := sample(1, 3000, 9000)
	b := newBench(t)
	b.options.MaxSize, b.options.MaxSpool = 5000, 20_000
	var down atomic.Bool
	down.Store(true)
	under := b.store
	b.store = storage.Faulty(under, func(op, key string) error {
		if op == "upload" && down.Load() {
			return errOutage
		}
		return nil
	})
	a := b.mustOpen()
	r := run(a)
	ended := make(chan error, 1)
	go func() { ended <- feed(a, p, 1<<20, 0) }()
	until(t, "the spool is full", func() bool { return a.Stats().SpoolFull })
	s := a.Stats()
	if s.SpoolBytes < 20_000 || s.SpoolBytes > 60_000 || s.Archived.File != "" {
		t.Errorf("%+v", s)
	}
	select {
	case err := <-ended:
		t.Fatalf("the stream ended: %v", err)
	default:
	}
	down.Store(false)
	if err := <-ended; !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	if a.Stats().SpoolFull {
		t.Error("still full")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.check(p, nil)
}

// TestSpoolFullCancel: a stream that waits for room ends with its context.
func TestSpoolFullCancel(t *testing.T) {
	p := sample(1, 3000)
	b := newBench(t)
	b.options.MaxSize, b.options.MaxSpool = 5000, 5000
	a := b.mustOpen() // nothing uploads
	defer a.spool.Release()
	r, err := a.Resume(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Stream(ctx, p.open(r, 1<<20, 0), r) }()
	until(t, "the spool is full", func() bool { return a.Stats().SpoolFull })
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits on")
	}
}

// TestSecondWriter: of two archivers of one cluster the one that comes second to a number stops. Opened again, it goes
// on from the archive.
func TestSecondWriter(t *testing.T) {
	p := sample(1, 3000, 9000)
	for _, later := range []string{"the same cuts", "other cuts", "gone past"} {
		b := newBench(t)
		b.options.MaxSize = 9000
		a := stopped(t, b, p, 30_000)
		o := *b
		o.options.Dir = b.dir + "/other"
		if later == "other cuts" {
			o.options.MaxSize = 4000
		}
		oa := o.mustOpen()
		limit := 15_000
		if later == "gone past" {
			limit = 0
		}
		if err := feed(oa, p, 1<<20, limit); !errors.Is(err, errEnd) {
			t.Fatal(err)
		}
		if err := oa.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		r := run(a)
		select {
		case <-r.done:
		case <-time.After(time.Minute):
			t.Fatalf("%s: it runs on", later)
		}
		if !fault.Is(r.err, fault.Locked) || fault.HintOf(r.err) == "" {
			t.Errorf("%s: %v", later, r.err)
		}
		if err := a.Close(context.Background()); !fault.Is(err, fault.Locked) {
			t.Errorf("%s: close: %v", later, err)
		}
		if later != "gone past" {
			b.options.MaxSize = 3000
			if a = b.mustOpen(); !errors.Is(feed(a, p, 1<<20, 25_000), errEnd) {
				t.Errorf("%s: it does not go on", later)
			}
			if err := a.Close(context.Background()); err != nil {
				t.Errorf("%s: it does not go on: %v", later, err)
			}
		}
		o.finish(p)
		o.check(p, nil)
	}
}

// TestLostFile: a sealed segment whose file is gone or shorter stops the archiver at once, also when
// it closes.
func TestLostFile(t *testing.T) {
	p := sample(1, 3000, 9000)
	for _, size := range []int64{-1, 0, 3000} {
		b := newBench(t)
		b.options.MaxSize = 9000
		a := stopped(t, b, p, 30_000)
		if size < 0 {
			if err := (durable.OS{}).Remove(a.path(1, "binlog")); err != nil {
				t.Fatal(err)
			}
		} else {
			f, err := durable.OS{}.Append(a.path(1, "binlog"))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := a.Close(ctx); !fault.Is(err, fault.Integrity) || ctx.Err() != nil {
			t.Errorf("%d bytes left: %v", size, err)
		}
		cancel()
	}
}

// manual is a clock that stands until a test moves it.
type manual struct {
	mu     sync.Mutex
	now    time.Time
	timers []timer
}

type timer struct {
	at time.Time
	c  chan time.Time
}

func (m *manual) Now() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.now }

func (m *manual) After(d time.Duration) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := timer{m.now.Add(d), make(chan time.Time, 1)}
	m.timers = append(m.timers, t)
	return t.c
}

// advance moves the clock.
func (m *manual) advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	m.timers = slices.DeleteFunc(m.timers, func(t timer) bool {
		if t.at.After(m.now) {
			return false
		}
		t.c <- m.now
		return true
	})
}

// TestAge: the open segment is sealed when it is old enough, ends with a whole transaction and has
// any; and not before.
func TestAge(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	l.Rows(binlogtest.G(0, 7, 1), 100)
	whole := len(l.Bytes())
	l.Rows(binlogtest.G(0, 7, 2), 100, 100)
	p := new(primary)
	p.add("b.1", l)
	b := newBench(t)
	clk := &manual{now: time.Unix(1_800_000_000, 0)}
	b.options.Clock, b.options.MaxAge, b.options.MaxSize = clk, 5*time.Second, 1<<30
	a := b.mustOpen()
	r := run(a)
	defer r.kill()
	// The stream stops inside the second transaction and waits there.
	stay := make(chan struct{})
	data := p.dump(binlog.Point{File: "b.1", Offset: 4})
	rest := len(l.Bytes()) - whole
	src := &source{Scanner: binlog.NewScanner(io.MultiReader(
		&piecewise{data: data[:len(data)-rest+60], n: 1 << 20, wait: stay, err: io.EOF},
		&piecewise{data: data[len(data)-rest+60:], n: 1 << 20, err: errEnd}), 1<<16)}
	ended := make(chan error, 1)
	go func() { ended <- a.Stream(context.Background(), src, Resume{Fresh: true}) }()
	until(t, "received", func() bool { return a.Stats().Received.Offset == uint64(whole) })
	tick := func(d time.Duration) {
		for range 20 {
			clk.advance(d / 20)
			time.Sleep(2 * time.Millisecond)
		}
	}
	sealed := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.queue) + int(a.state.Archived)
	}
	tick(20 * time.Second) // a transaction is open
	if n := sealed(); n != 0 {
		t.Errorf("%d segments are sealed inside a transaction", n)
	}
	close(stay)
	if err := <-ended; !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	// Its end seals the segment by itself, without the tick.
	if n := sealed(); n != 1 {
		t.Errorf("%d segments are sealed after the transaction", n)
	}
	until(t, "archived", func() bool { clk.advance(time.Second); return a.Stats().ArchivedSegment == 1 })

	// A second one, which nothing follows.
	more := len(l.Bytes())
	l.Rows(binlogtest.G(0, 7, 3), 100)
	if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) || more == len(l.Bytes()) {
		t.Fatal(err)
	}
	began := clk.Now()
	tick(4 * time.Second)
	if n := sealed(); n != 1 {
		t.Errorf("sealed %s after it began", clk.Now().Sub(began))
	}
	until(t, "sealed by age", func() bool { clk.advance(100 * time.Millisecond); return sealed() == 2 })
	if d := clk.Now().Sub(began); d > 6*time.Second {
		t.Errorf("sealed %s after it began", d)
	}
	// Idle makes no segments.
	tick(time.Minute)
	if n := sealed(); n != 2 {
		t.Errorf("%d segments", n)
	}
}

// TestCoveredUntil: a head says until when the archive is known to hold everything, only when it does,
// and never less than an earlier one, also after a restart.
func TestCoveredUntil(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	l.Rows(binlogtest.G(0, 7, 1), 100)
	p := new(primary)
	p.add("b.1", l)
	b := newBench(t)
	b.options.HeadAge, b.options.MaxAge = time.Millisecond, time.Millisecond
	end := binlog.Point{File: "b.1", Offset: l.Size()}
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

	stay := make(chan struct{})
	a := b.mustOpen()
	r := run(a)
	src := &source{Scanner: binlog.NewScanner(&piecewise{data: p.dump(binlog.Point{File: "b.1", Offset: 4}), n: 1 << 20, wait: stay, err: errEnd}, 1<<16)}
	src.heartbeat(end, noon) // known before it is archived: it counts when that is
	ended := make(chan error, 1)
	go func() { ended <- a.Stream(context.Background(), src, Resume{Fresh: true}) }()
	head := func() *catalog.Head { return a.Stats().Head }
	until(t, "covered until noon", func() bool { h := head(); return h != nil && h.CoveredUntil.Equal(noon) && h.Segment == 1 })
	for _, tt := range []struct {
		p  binlog.Point
		at time.Time
	}{
		{binlog.Point{File: "b.1", Offset: end.Offset + 1}, noon.Add(time.Minute)}, // there is more than we have
		{binlog.Point{File: "b.2", Offset: end.Offset}, noon.Add(time.Minute)},
		{end, noon.Add(-time.Minute)}, // it never goes back
	} {
		src.heartbeat(tt.p, tt.at)
		time.Sleep(20 * time.Millisecond)
		if got := a.Stats().CoveredUntil; !got.Equal(noon) {
			t.Errorf("heartbeat at %s, %s: covered until %s", tt.p, tt.at, got)
		}
	}
	src.heartbeat(end, noon.Add(time.Hour))
	until(t, "covered for another hour", func() bool { return head().CoveredUntil.Equal(noon.Add(time.Hour)) })
	close(stay)
	if err := <-ended; !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	// Nothing is connected after the restart, and the head still says so.
	a = b.mustOpen()
	if got := a.Stats().CoveredUntil; !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("after a restart covered until %s", got)
	}
	l.Rows(binlogtest.G(0, 7, 2), 100)
	if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(context.Background(), b.store, "shop", "test")
	if err != nil {
		t.Fatal(err)
	}
	if h, err := c.LastHead(context.Background(), 1); err != nil || h.Segment != 2 || !h.CoveredUntil.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestIndex: an index object is put for every thousand segments, also when that failed at first.
func TestIndex(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	for seq := range uint64(catalog.IndexEvery + 20) {
		l.DDL(binlogtest.G(0, 7, seq+1), "x")
	}
	p := new(primary)
	p.add("b.1", l)
	b := newBench(t).unsynced()
	b.options.MaxSize, b.options.HeadAge = 1, time.Millisecond
	var failures atomic.Int64
	b.store = storage.Faulty(b.store, func(op, key string) error {
		if op == "put" && strings.Contains(key, "/index/") && failures.Add(1) < 3 {
			return errOutage
		}
		return nil
	})
	a := b.mustOpen()
	r := run(a)
	if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	indexed := func() uint64 {
		n, err := a.o.Catalog.Indexed(context.Background(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	until(t, "there is an index", func() bool { return indexed() == catalog.IndexEvery })
	if failures.Load() < 3 {
		t.Errorf("put %d times", failures.Load())
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if list, err := a.o.Catalog.IndexAt(context.Background(), 1, 1, catalog.IndexEvery); err != nil || len(list) != catalog.IndexEvery {
		t.Errorf("%d segments, %v", len(list), err)
	}
	b.check(p, nil)
}

// TestOpenTwice: a spool is for one process.
func TestOpenTwice(t *testing.T) {
	b := newBench(t)
	a := b.mustOpen()
	if _, err := b.open(); !fault.Is(err, fault.Locked) {
		t.Errorf("got %v", err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := b.mustOpen().Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// heartbeat makes the source say that it had nothing behind p at a time.
func (s *source) heartbeat(p binlog.Point, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caught, s.at = p, at
}
