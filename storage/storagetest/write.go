package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"tidemark/storage"
)

// ifAbsent: what exists, however it came, is neither replaced nor touched.
func ifAbsent(t *testing.T, s storage.Store) {
	ctx := t.Context()
	put(t, s, "x/put", []byte("first"))
	if err := s.Put(ctx, "x/absent", []byte("first"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(ctx, "x/upload", strings.NewReader("first")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"x/put", "x/absent", "x/upload"} {
		for _, data := range []string{"second", "first", ""} {
			if err := s.Put(ctx, key, []byte(data), true); !errors.Is(err, storage.ErrExist) {
				t.Errorf("put if absent over %s: %v", key, err)
			}
		}
		equal(t, s, key, []byte("first"))
	}
	wantKeys(t, s, "", "", "x/absent", "x/put", "x/upload")
}

// ifAbsentRace: of many writers of a key exactly one wins, and its bytes are the object's.
func ifAbsentRace(t *testing.T, s storage.Store) {
	const writers, names = 8, 25
	for i := range names {
		key := fmt.Sprintf("race/%02d", i)
		var won atomic.Int32
		var winner atomic.Pointer[[]byte]
		var wg sync.WaitGroup
		start := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				data := randomBytes(uint64(i*writers+w), 1000+w)
				<-start
				switch err := s.Put(t.Context(), key, data, true); {
				case err == nil:
					won.Add(1)
					winner.Store(&data)
				case !errors.Is(err, storage.ErrExist):
					t.Errorf("writer %d of %s: %v", w, key, err)
				}
			})
		}
		close(start)
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%s has %d winners", key, won.Load())
		}
		equal(t, s, key, *winner.Load())
	}
}

// upload: a large stream comes back whole.
func upload(t *testing.T, s storage.Store) {
	size := int64(40<<20 + 123)
	if testing.Short() {
		size = 9<<20 + 123
	}
	n, err := s.Upload(t.Context(), "up/load", io.LimitReader(random(7), size))
	if err != nil || n != size {
		t.Fatalf("upload: %d of %d bytes, %v", n, size, err)
	}
	r, err := s.Get(t.Context(), "up/load", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := io.LimitReader(random(7), size)
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(want, a)
		m, merr := io.ReadFull(r, b)
		if n != m || err != merr || !bytes.Equal(a[:n], b[:m]) {
			t.Fatalf("the object is not what was uploaded: %d bytes, %v; want %d, %v", m, merr, n, err)
		}
		if err != nil {
			break
		}
	}
	// A reader that returns its last bytes together with io.EOF, or few at a time, is a reader too.
	for name, r := range map[string]io.Reader{
		"up/eof": iotest.DataErrReader(strings.NewReader("some bytes")),
		"up/one": iotest.OneByteReader(strings.NewReader("some bytes")),
	} {
		if n, err := s.Upload(t.Context(), name, r); err != nil || n != 10 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		equal(t, s, name, []byte("some bytes"))
	}
}

// UploadMemory uploads a stream of size bytes and fails if the heap grows by more than limit bytes
// meanwhile. It is no part of Run, as only the driver knows its buffers, and whether the server it is
// tried against keeps its objects in the same process.
func UploadMemory(t *testing.T, s storage.Store, size, limit int64) {
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // or garbage would count
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, most, read := stats.HeapAlloc, stats.HeapAlloc, int64(0)
	r := io.LimitReader(random(1), size)
	_, err := s.Upload(t.Context(), "memory", readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if read>>20 != (read+int64(n))>>20 || err != nil { // once a MiB
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapAlloc)
		}
		read += int64(n)
		return n, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	if grown := int64(most - before); grown > limit {
		t.Errorf("an upload of %d bytes took %d bytes of memory, want at most %d", size, grown, limit)
	}
}

// uploadReaderFails: when the reader fails, early or late, there is no object, the reader's error
// comes back, and an object that was there stays.
func uploadReaderFails(t *testing.T, s storage.Store) {
	broken := errors.New("the reader failed")
	put(t, s, "up/old", []byte("old"))
	for _, size := range []int64{0, 1, 100_000, 12 << 20} {
		for _, key := range []string{"up/new", "up/old"} {
			r := io.MultiReader(io.LimitReader(random(1), size), iotest.ErrReader(broken))
			if _, err := s.Upload(t.Context(), key, r); !errors.Is(err, broken) {
				t.Errorf("%s, after %d bytes: %v, want the reader's error", key, size, err)
			}
		}
	}
	// io.EOF ends a stream; what wraps it or resembles it does not.
	for _, err := range []error{io.ErrUnexpectedEOF, fmt.Errorf("pipe: %w", io.EOF)} {
		r := io.MultiReader(strings.NewReader("cut"), iotest.ErrReader(err))
		if _, got := s.Upload(t.Context(), "up/new", r); !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
	equal(t, s, "up/old", []byte("old"))
	wantKeys(t, s, "", "", "up/old")
}

// uploadCancelled: an upload whose context ends leaves nothing, also when the stream ends just then.
func uploadCancelled(t *testing.T, s storage.Store) {
	const much = 64 << 20 // more than a driver may read on before it looks at its context
	for _, after := range []int64{0, 1, 1 << 20, 12 << 20} {
		for _, more := range []int64{0, much} {
			ctx, cancel := context.WithCancel(t.Context())
			r := io.MultiReader(
				io.LimitReader(random(1), after),
				readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }),
				io.LimitReader(random(2), more),
			)
			_, err := s.Upload(ctx, "up/cancelled", r)
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled after %d of %d bytes: %v", after, after+more, err)
			}
			if n, _ := r.Read(make([]byte, 1)); more > 0 && n == 0 {
				t.Errorf("cancelled after %d of %d bytes: all was read", after, after+more)
			}
		}
	}
	wantKeys(t, s, "", "")
}

// concurrent: everything at once. A reader of a key that is replaced all the time sees one of the
// versions, whole; each writer finds its own objects.
func concurrent(t *testing.T, s storage.Store) {
	const workers, rounds, versions = 8, 12, 16
	ctx := t.Context()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	version := func(i int) []byte { return randomBytes(seed+uint64(i), 10_000+i) }
	put(t, s, "shared", version(0))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			fail := func(op string, err error) {
				if err != nil {
					t.Errorf("worker %d: %s: %v", w, op, err)
				}
			}
			for i := range rounds {
				own := fmt.Sprintf("own/%d/%d", w, i)
				data := randomBytes(uint64(w*rounds+i), 1000+i)
				fail("put", s.Put(ctx, own, data, true))
				got, err := get(ctx, s, own, 0, -1)
				fail("get", err)
				if !bytes.Equal(got, data) {
					t.Errorf("worker %d: %s has other bytes", w, own)
				}
				fail("replace", s.Put(ctx, "shared", version((w*rounds+i)%versions), false))
				got, err = get(ctx, s, "shared", 0, -1)
				fail("get shared", err)
				if v := len(got) - 10_000; v < 0 || v >= versions || !bytes.Equal(got, version(v)) {
					t.Errorf("worker %d: shared has %d bytes that nobody put", w, len(got))
				}
				seen, err := keys(s.List(ctx, fmt.Sprintf("own/%d/", w), ""))
				fail("list", err)
				if len(seen) != 1+i/2 || !slices.Contains(seen, own) {
					t.Errorf("worker %d: round %d lists %q", w, i, seen)
				}
				if i%2 == 0 {
					fail("delete", s.Delete(ctx, own))
				}
			}
		})
	}
	wg.Wait()
	left, err := keys(s.List(ctx, "own/", ""))
	if err != nil || len(left) != workers*rounds/2 {
		t.Errorf("%d objects are left, %v; want %d", len(left), err, workers*rounds/2)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
