// Package storagetest is the conformance suite of storage drivers: what the rest of the program
// relies on, tried against a real store. A driver's test calls Run.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tidemark/storage"
)

// Run runs the suite. open returns an empty store each time it is called, and sees to its removal
// with t.Cleanup. With -short the large cases are made smaller.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s storage.Store)
	}{
		{"RoundTrip", roundTrip},
		{"Ranges", ranges},
		{"Replace", replace},
		{"NotExist", notExist},
		{"Delete", deletes},
		{"BadKeys", badKeys},
		{"GoodKeys", goodKeys},
		{"IfAbsent", ifAbsent},
		{"IfAbsentRace", ifAbsentRace},
		{"Upload", upload},
		{"UploadReaderFails", uploadReaderFails},
		{"UploadCancelled", uploadCancelled},
		{"Cancelled", cancelled},
		{"ListOrder", listOrder},
		{"ListRange", listRange},
		{"ListMany", listMany},
		{"ListStops", listStops},
		{"Concurrent", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// roundTrip: what is put comes back, by every method that reads.
func roundTrip(t *testing.T, s storage.Store) {
	ctx := t.Context()
	for _, size := range []int{0, 1, 1 << 20} {
		for _, put := range []string{"put", "put-if-absent", "upload"} {
			key := fmt.Sprintf("round/trip/%s-%d", put, size)
			data := randomBytes(uint64(size), size)
			started := time.Now()
			switch put {
			case "upload":
				n, err := s.Upload(ctx, key, bytes.NewReader(data))
				if err != nil || n != int64(size) {
					t.Fatalf("upload %s: %d, %v", key, n, err)
				}
			default:
				if err := s.Put(ctx, key, data, put == "put-if-absent"); err != nil {
					t.Fatal(err)
				}
			}
			equal(t, s, key, data)
			o, err := s.Stat(ctx, key)
			if err != nil || o.Key != key || o.Size != int64(size) {
				t.Errorf("stat %s: %+v, %v", key, o, err)
			}
			// The clock is the provider's.
			if d := o.Modified.Sub(started).Abs(); d > time.Hour {
				t.Errorf("%s was modified at %v, put at %v", key, o.Modified, started)
			}
			var listed []storage.Object
			for o, err := range s.List(ctx, key, "") {
				if err != nil {
					t.Fatal(err)
				}
				if o.Key == key { // "…-1" begins "…-1048576" too
					listed = append(listed, o)
				}
			}
			if len(listed) != 1 || listed[0].Size != o.Size || listed[0].Modified.Sub(o.Modified).Abs() > time.Second {
				t.Errorf("listed %+v, stat says %+v", listed, o)
			}
		}
	}
	if s.URL() == "" {
		t.Error("no URL")
	}
}

// ranges: a range is what the object has of it, whatever is asked for.
func ranges(t *testing.T, s storage.Store) {
	const size = 100_000
	data := randomBytes(1, size)
	put(t, s, "ranges", data)
	put(t, s, "empty", nil)
	for _, r := range []struct{ offset, length int64 }{
		{0, -1}, {0, 0}, {0, 1}, {0, 10}, {0, size - 1}, {0, size}, {0, size + 1}, {0, math.MaxInt64},
		{1, -1}, {1, 1}, {1, size}, {1, math.MaxInt64},
		{size / 2, -1}, {size / 2, 0}, {size / 2, 1000}, {size / 2, size},
		{size - 1, -1}, {size - 1, 0}, {size - 1, 1}, {size - 1, 2},
		{size, -1}, {size, 0}, {size, 1}, {size + 1, -1}, {size + 1, 10}, {10 * size, 10},
		{math.MaxInt64, -1}, {math.MaxInt64, 1}, {math.MaxInt64, math.MaxInt64},
	} {
		from := min(r.offset, size)
		want := data[from:]
		if r.length >= 0 {
			want = want[:min(r.length, size-from)]
		}
		got, err := get(t.Context(), s, "ranges", r.offset, r.length)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("offset %d length %d: %d bytes, %v; want %d bytes", r.offset, r.length, len(got), err, len(want))
		}
		got, err = get(t.Context(), s, "empty", r.offset, r.length)
		if err != nil || len(got) != 0 {
			t.Errorf("empty object, offset %d length %d: %d bytes, %v", r.offset, r.length, len(got), err)
		}
	}
}

// replace: without ifAbsent the last writer stays, also when its object is shorter.
func replace(t *testing.T, s storage.Store) {
	for i, size := range []int{1000, 2000, 10, 0, 500} {
		data := randomBytes(uint64(i), size)
		put(t, s, "replace/me", data)
		equal(t, s, "replace/me", data)
	}
	if _, err := s.Upload(t.Context(), "replace/me", strings.NewReader("uploaded")); err != nil {
		t.Fatal(err)
	}
	equal(t, s, "replace/me", []byte("uploaded"))
	wantKeys(t, s, "", "", "replace/me")
}

// notExist: a missing object is told apart, also where its "directory" exists, or it is one itself.
func notExist(t *testing.T, s storage.Store) {
	missing := func(key string) {
		t.Helper()
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("stat %s: %v", key, err)
		}
		for _, offset := range []int64{0, 10} {
			if _, err := get(t.Context(), s, key, offset, -1); !errors.Is(err, storage.ErrNotExist) {
				t.Errorf("get %s from %d: %v", key, offset, err)
			}
		}
		if _, err := storage.ReadAll(t.Context(), s, key, 10); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("read all of %s: %v", key, err)
		}
	}
	missing("nothing")
	missing("no/such/thing")
	put(t, s, "a/b/c", []byte("x"))
	missing("a")
	missing("a/b")
	missing("a/b/d")
	missing("a/b/c/d")
	missing("a/b/cc")
}

// deletes: a deleted object is gone, and to delete it again is no error.
func deletes(t *testing.T, s storage.Store) {
	ctx := t.Context()
	put(t, s, "d/one", []byte("1"))
	put(t, s, "d/one.2", []byte("2"))
	for _, key := range []string{"d/one", "d/one", "d/never", "never/was", "d", "d/one.2/below"} {
		if err := s.Delete(ctx, key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	wantKeys(t, s, "", "", "d/one.2")
	if _, err := s.Stat(ctx, "d/one"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("stat after delete: %v", err)
	}
	if err := s.Put(ctx, "d/one", []byte("again"), true); err != nil {
		t.Errorf("put-if-absent after delete: %v", err)
	}
	equal(t, s, "d/one", []byte("again"))
}

// badKeys: every method refuses a bad key, and not as one that is just not there.
func badKeys(t *testing.T, s storage.Store) {
	ctx := t.Context()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/..", "../a", "a/../b", "a/./b",
		"a b", "a~b", ".tmp~a", "a\\b", "a:b", "a%41", "a?b", "a#b", "a+b", "a\x00b", "a\nb", "é", "a\xffb",
		strings.Repeat("a", 256), "a/" + strings.Repeat("a", 256), strings.Repeat("abc/", 256) + "a",
	} {
		refused := func(op string, err error) {
			t.Helper()
			if err == nil || errors.Is(err, storage.ErrNotExist) || errors.Is(err, storage.ErrExist) {
				t.Errorf("%s %q: %v, want the key refused", op, key, err)
			}
		}
		refused("put", s.Put(ctx, key, []byte("x"), false))
		refused("put if absent", s.Put(ctx, key, []byte("x"), true))
		_, err := s.Upload(ctx, key, strings.NewReader("x"))
		refused("upload", err)
		_, err = get(ctx, s, key, 0, -1)
		refused("get", err)
		_, err = s.Stat(ctx, key)
		refused("stat", err)
		refused("delete", s.Delete(ctx, key))
	}
	wantKeys(t, s, "", "")
}

// goodKeys: what is valid can be used, up to the limits.
func goodKeys(t *testing.T, s storage.Store) {
	for _, key := range []string{
		"a", ".a", "..a", "a..b", "...", "-", "_", "-rf", "A/Z/a/z/0/9", "shop/log/00000001/0000000000000001-0000000000000001.json",
		strings.Repeat("k", 255), strings.Repeat("abc/", 255) + "abcd",
	} {
		put(t, s, key, []byte(key))
		equal(t, s, key, []byte(key))
		wantKeys(t, s, key, "", key)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	wantKeys(t, s, "", "")
}

// cancelled: with an ended context nothing is done, and the error is the context's.
func cancelled(t *testing.T, s storage.Store) {
	put(t, s, "c/old", []byte("old"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", op, err)
		}
	}
	ended("put", s.Put(ctx, "c/new", []byte("x"), false))
	ended("put over", s.Put(ctx, "c/old", []byte("x"), false))
	ended("put if absent", s.Put(ctx, "c/new", []byte("x"), true))
	_, err := s.Upload(ctx, "c/new", strings.NewReader("x"))
	ended("upload", err)
	_, err = get(ctx, s, "c/old", 0, -1)
	ended("get", err)
	_, err = s.Stat(ctx, "c/old")
	ended("stat", err)
	_, err = keys(s.List(ctx, "", ""))
	ended("list", err)
	ended("delete", s.Delete(ctx, "c/old"))

	equal(t, s, "c/old", []byte("old"))
	wantKeys(t, s, "", "", "c/old")
}

// randomBytes returns the same size bytes for the same seed.
func randomBytes(seed uint64, size int) []byte {
	data := make([]byte, size)
	io.ReadFull(random(seed), data)
	return data
}

// random is an endless reader of the same bytes for the same seed.
func random(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func put(t *testing.T, s storage.Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, data, false); err != nil {
		t.Fatal(err)
	}
}

func get(ctx context.Context, s storage.Store, key string, offset, length int64) ([]byte, error) {
	r, err := s.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// equal checks that an object has these bytes.
func equal(t *testing.T, s storage.Store, key string, want []byte) {
	t.Helper()
	got, err := get(t.Context(), s, key, 0, -1)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has %d other bytes, want %d", key, len(got), len(want))
	}
}
