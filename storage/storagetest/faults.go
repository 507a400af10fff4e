package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// Fault is what becomes of a request on its way.
type Fault int

// The faults.
const (
	Pass Fault = iota
	Lost       // it is done, and the reply never comes
	Busy       // it is not done: answered with 503
	Cut        // it is done, and the reply ends in the middle
)

// RunFaults tries a driver, with storage.Retry over it, against a service between which and the
// driver requests meet with faults. open returns an empty store; decide is asked about each of its
// requests, from several goroutines at a time.
func RunFaults(t *testing.T, open func(t *testing.T, decide func(*http.Request) Fault) storage.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, f *faults)
	}{
		{"LostPut", lostPut},
		{"LostPutRace", lostPutRace},
		{"Busy", busy},
		{"CutRead", cutRead},
		{"Upload", faultyUpload},
		{"Down", down},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := new(faults)
			f.set(func(*http.Request) Fault { return Pass })
			f.under = open(t, func(r *http.Request) Fault { return (*f.decide.Load())(r) })
			f.Store = storage.Retry(f.under, quick)
			c.run(t, f)
		})
	}
}

// quick is tried for about a second, so that no test depends on luck.
var quick = storage.Backoff{Attempts: 10, First: time.Millisecond, Most: 200 * time.Millisecond, Clock: clock.System{}}

// faults is a store and what happens to its requests.
type faults struct {
	storage.Store               // tries again
	under         storage.Store // does not
	decide        atomic.Pointer[func(*http.Request) Fault]
}

func (f *faults) set(decide func(*http.Request) Fault) { f.decide.Store(&decide) }

// every returns the fault for every nth request that writes, and for the first of all.
func every(n int64, fault Fault) func(*http.Request) Fault {
	var count atomic.Int64
	return func(r *http.Request) Fault {
		if writes(r) && count.Add(1)%n == 1%n {
			return fault
		}
		return Pass
	}
}

func writes(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost }

// lostPut: a put if absent that won, and whose reply was lost, has won; one that lost has lost.
func lostPut(t *testing.T, f *faults) {
	for i, size := range []int{0, 10, 100_000} {
		key := fmt.Sprintf("lost/%d", i)
		data := randomBytes(uint64(i), size)
		f.set(every(100, Lost))
		if err := f.Put(t.Context(), key, data, true); err != nil {
			t.Errorf("%s: the winner is told %v", key, err)
		}
		f.set(every(100, Lost))
		for _, other := range [][]byte{randomBytes(9, size+1), randomBytes(9, max(size-1, 0))} {
			if bytes.Equal(other, data) {
				continue
			}
			if err := f.Put(t.Context(), key, other, true); !errors.Is(err, storage.ErrExist) {
				t.Errorf("%s: the loser is told %v", key, err)
			}
		}
		equal(t, f, key, data)
		if err := f.Put(t.Context(), key, data, true); !errors.Is(err, storage.ErrExist) {
			t.Errorf("%s: put again: %v", key, err)
		}
	}
}

// lostPutRace: of many writers, some of whose replies are lost, exactly one wins, and knows it.
func lostPutRace(t *testing.T, f *faults) {
	const writers, names = 8, 10
	f.set(every(3, Lost))
	for i := range names {
		key := fmt.Sprintf("race/%d", i)
		var won atomic.Int32
		var winner atomic.Pointer[[]byte]
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				data := randomBytes(uint64(i*writers+w), 1000)
				switch err := f.Put(t.Context(), key, data, true); {
				case err == nil:
					won.Add(1)
					winner.Store(&data)
				case !errors.Is(err, storage.ErrExist):
					t.Errorf("writer %d of %s: %v", w, key, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%s has %d winners", key, won.Load())
		}
		equal(t, f, key, *winner.Load())
	}
}

// busy: what is refused for now is asked again, whatever it is.
func busy(t *testing.T, f *faults) {
	again := func() {
		var count atomic.Int64
		f.set(func(*http.Request) Fault {
			if count.Add(1) <= 3 {
				return Busy
			}
			return Pass
		})
	}
	again()
	if err := f.Put(t.Context(), "busy/a", []byte("a"), true); err != nil {
		t.Error(err)
	}
	again()
	if _, err := f.Stat(t.Context(), "busy/a"); err != nil {
		t.Error(err)
	}
	again()
	equal(t, f, "busy/a", []byte("a"))
	again()
	wantKeys(t, f, "", "", "busy/a")
	again()
	if err := f.Delete(t.Context(), "busy/a"); err != nil {
		t.Error(err)
	}
	again()
	if _, err := f.Stat(t.Context(), "busy/a"); !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
}

// cutRead: a read that is cut off goes on where it was.
func cutRead(t *testing.T, f *faults) {
	data := randomBytes(3, 3<<20)
	put(t, f, "cut", data)
	var count atomic.Int64
	f.set(func(r *http.Request) Fault {
		if r.Method == http.MethodGet && count.Add(1) <= 5 {
			return Cut
		}
		return Pass
	})
	equal(t, f, "cut", data)
	if n := count.Load(); n < 6 {
		t.Errorf("%d requests were made: nothing was cut", n)
	}
	count.Store(0)
	got, err := get(t.Context(), f, "cut", 1<<20, 1<<20)
	if err != nil || !bytes.Equal(got, data[1<<20:2<<20]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// faultyUpload: parts that are lost or refused are sent again.
func faultyUpload(t *testing.T, f *faults) {
	const size = 36<<20 + 1
	for _, fault := range []Fault{Busy, Lost} {
		f.set(every(3, fault))
		key := fmt.Sprintf("upload/%d", fault)
		n, err := f.Upload(t.Context(), key, io.LimitReader(random(5), size))
		if err != nil || n != size {
			t.Errorf("fault %d: %d, %v", fault, n, err)
		}
		f.set(func(*http.Request) Fault { return Pass })
		equal(t, f, key, randomBytes(5, size))
	}
}

// down: a service that never answers is given up, as one that may be back, and at once when the
// context ends.
func down(t *testing.T, f *faults) {
	f.set(func(*http.Request) Fault { return Busy })
	check := func(op string, err error) {
		t.Helper()
		if reason, ok := storage.ReasonOf(err); !ok || reason != storage.Passing || storage.Permanent(err) || !fault.Is(err, fault.Storage) {
			t.Errorf("%s: %v", op, err)
		}
	}
	each(t.Context(), f, check)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	slow := storage.Retry(f.under, storage.Backoff{Attempts: 10, First: time.Hour, Most: time.Hour, Clock: clock.System{}})
	started := time.Now()
	if _, err := slow.Stat(ctx, "some/key"); err == nil || time.Since(started) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(started))
	}
}

// Refused checks that each method of a store that its service refuses fails for the reason, with a
// hint, and that none takes it for an object that is not there, or is.
func Refused(t *testing.T, s storage.Store, reason storage.Reason) {
	t.Helper()
	each(t.Context(), s, func(op string, err error) {
		t.Helper()
		got, ok := storage.ReasonOf(err)
		if !ok || got != reason || !fault.Is(err, fault.Storage) || fault.HintOf(err) == "" ||
			errors.Is(err, storage.ErrNotExist) || errors.Is(err, storage.ErrExist) {
			t.Errorf("%s: reason %d, want %d: %v (hint %q)", op, got, reason, err, fault.HintOf(err))
		}
		if op == "put" {
			t.Logf("%v\n%s", err, fault.HintOf(err))
		}
	})
}

// each calls every method once.
func each(ctx context.Context, s storage.Store, check func(op string, err error)) {
	check("put", s.Put(ctx, "some/key", []byte("x"), false))
	check("put if absent", s.Put(ctx, "some/key", []byte("x"), true))
	_, err := s.Upload(ctx, "some/key", strings.NewReader("x"))
	check("upload", err)
	_, err = s.Upload(ctx, "some/key", io.LimitReader(random(1), 20<<20))
	check("large upload", err)
	_, err = get(ctx, s, "some/key", 0, -1)
	check("get", err)
	_, err = s.Stat(ctx, "some/key")
	check("stat", err)
	_, err = keys(s.List(ctx, "some/", ""))
	check("list", err)
	check("delete", s.Delete(ctx, "some/key"))
}
