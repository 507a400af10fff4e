package verifying

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/catalog"
	"tidemark/internal/cli"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/verify"
	"tidemark/restore"
	"tidemark/storage"
	"tidemark/storage/file"
)

// TestFaultyStorage archives a server under load while one in twenty operations on the storage fails: not
// done, or done and said to have failed, or an upload or a read cut off in its midst, or refused for now, or a
// listing without what was put last. The program is stopped and started now and then. In the end all is
// archived, a check of every byte finds nothing, and a restore reads all that was written. N= sets how
// many operations (make test N=10000).
func TestFaultyStorage(t *testing.T) {
	b := kit.One(t, kit.Servers(2), "mariadb-backup", "mbstream")
	n := kit.Count(t, 1500)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := kit.New(t, kit.Setup{Binaries: b, Cluster: []string{"segment: {max_age: 100ms, max_size: 64KiB}", "heartbeat: 1s",
		"base: {part_size: 4MiB}"}})
	load := w.NewLoad(seed, workload.Options{MaxBlob: 16 << 10, Pause: 5 * time.Millisecond})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := &faults{rng: rand.New(rand.NewPCG(seed, 1)), put: map[string]time.Time{}, made: map[string]int{}}
	load.Begin(1)
	log, err := os.Create(filepath.Join(w.Dir, "run.log"))
	must(err)
	defer log.Close()
	tidemark := func(ctx context.Context, args ...string) (code int) {
		return cli.Main(ctx, cli.Program{Version: "test", Drivers: []cli.Driver{{Scheme: "file", Open: f.open}},
			Args: append(args, "--config", w.Config), Stdout: log, Stderr: log, Environ: os.Environ(), Clock: hasty{}})
	}
	codes := map[int]int{}
	run := func(until func() bool) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan int, 1)
		go func() { done <- tidemark(ctx, "run") }()
		for !until() {
			select {
			case code := <-done:
				codes[code]++ // it could not begin; the next one may
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		cancel()
		codes[<-done]++
	}
	based := func() bool {
		found, err := filepath.Glob(filepath.Join(w.Dir, "archive/shop/base/*/manifest.json"))
		return err == nil && len(found) > 0
	}
	run(based)
	for f.begin(); f.done() < n; {
		upTo := min(n, f.done()+n/5)
		for f.done() < upTo {
			run(func() bool { return f.done() >= upTo })
		}
	}
	f.end()
	load.End()
	truth, end := w.Truth("the end"), w.Server.Position()
	store, err := file.Open(filepath.Join(w.Dir, "archive"))
	must(err)
	deadline := time.Now().Add(5 * time.Minute)
	for last := ""; last != end; {
		run(func() bool {
			c, err := catalog.Open(context.Background(), store, "shop", "test")
			must(err)
			s, err := c.Last(context.Background(), 1)
			must(err)
			last = s.After.GTID
			return last == end || time.Now().After(deadline)
		})
		if last != end && time.Now().After(deadline) {
			t.Fatalf("seed %d: archived up to %s, not %s", seed, last, end)
		}
	}
	t.Logf("%d operations, %d faults: %v; exit codes of the program: %v", f.done(), f.count, f.made, codes)

	c, err := catalog.Open(context.Background(), store, "shop", "test")
	must(err)
	r, err := verify.Run(context.Background(), c, verify.Options{Data: true, Clock: clock.System{}})
	if err != nil || r.Count(verify.Damage)+r.Count(verify.Warning) > 0 {
		t.Errorf("seed %d: verify: %v, %+v", seed, err, findings(r))
	}
	plan, err := restore.MakePlan(context.Background(), c, restore.PlanOptions{Target: restore.ToLatest()})
	if err != nil || plan.Position() != end {
		t.Fatalf("seed %d: %v, the plan ends at %s, the server is at %s", seed, err, plan.Position(), end)
	}
	target := filepath.Join(w.Dir, "restored")
	if code := tidemark(context.Background(), "restore", "--target-dir", target); code != 0 && code != 3 {
		t.Fatalf("seed %d: restore ends with %d", seed, code)
	}
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
	if err := workload.Compare(again.Conn(), truth); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// hasty is a clock by which waiting takes a tenth of the time: what is tried again is tried soon.
type hasty struct{ clock.System }

func (hasty) After(d time.Duration) <-chan time.Time { return time.After(d / 10) }

// faults is what goes wrong with a storage.
type faults struct {
	mu    sync.Mutex
	on    bool
	rng   *rand.Rand
	ops   int // operations while on
	count int // faults
	made  map[string]int
	put   map[string]time.Time // when objects came to be
}

func (f *faults) begin()    { f.mu.Lock(); f.on = true; f.mu.Unlock() }
func (f *faults) end()      { f.mu.Lock(); f.on = false; f.mu.Unlock() }
func (f *faults) done() int { f.mu.Lock(); defer f.mu.Unlock(); return f.ops }

// open is a driver of files on which this befalls.
func (f *faults) open(_ context.Context, u *url.URL, _ config.Storage) (storage.Store, error) {
	s, err := file.Open(u.Path)
	return storage.Faulty(&unsteady{s, f}, f.decide), err
}

// strike decides whether something goes wrong, one time in n.
func (f *faults) strike(what string, n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.on || f.rng.IntN(n) > 0 {
		return false
	}
	f.count++
	f.made[what]++
	return true
}

func (f *faults) decide(op, key string) error {
	switch op {
	case "next":
		return nil
	case "read":
		if f.strike("read cut off", 60) {
			return storage.Fail("read", key, storage.Passing, io.ErrUnexpectedEOF)
		}
		return nil
	}
	f.mu.Lock()
	if f.on {
		f.ops++
	}
	f.mu.Unlock()
	switch {
	case f.strike("refused for now", 80):
		return storage.Fail(op, key, storage.Passing, errors.New("503 Slow Down"))
	case f.strike("answer lost", 80):
		return storage.After(storage.Fail(op, key, storage.Passing, context.DeadlineExceeded))
	case f.strike("failed", 80):
		return fault.New(fault.Storage, op, key, errors.New("connection reset by peer")) // which nobody calls passing
	}
	return nil
}

// unsteady is a storage that cuts uploads off and lists what there was.
type unsteady struct {
	storage.Store
	f *faults
}

func (u *unsteady) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	err := u.Store.Put(ctx, key, data, ifAbsent)
	u.f.mu.Lock()
	defer u.f.mu.Unlock()
	if err == nil {
		u.f.put[key] = time.Now()
	}
	return err
}

// Upload reads some of the stream, and fails.
func (u *unsteady) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	if u.f.strike("upload cut off", 40) {
		_, _ = io.CopyN(io.Discard, r, 100)
		return 0, storage.Fail("upload", key, storage.Passing, io.ErrClosedPipe)
	}
	return u.Store.Upload(ctx, key, r)
}

// List leaves out what was put within the last second.
func (u *unsteady) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	if !u.f.strike("stale listing", 40) {
		return u.Store.List(ctx, prefix, after)
	}
	return func(yield func(storage.Object, error) bool) {
		for o, err := range u.Store.List(ctx, prefix, after) {
			u.f.mu.Lock()
			young := time.Since(u.f.put[o.Key]) < time.Second
			u.f.mu.Unlock()
			if !young && !yield(o, err) {
				return
			}
		}
	}
}
