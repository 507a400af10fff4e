package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/storage"
)

// counted makes an archive over one that counts the objects read.
func counted(a *archive, reads map[string]int) *archive {
	var mu sync.Mutex
	return a.over(storage.Faulty(a.Catalog.store, func(op, key string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "get" {
			switch {
			case strings.Contains(key, "/index/"):
				reads["index"]++
			case strings.Contains(key, "/log/"):
				reads["manifest"]++
			}
		}
		return nil
	}))
}

// TestIndex: an index saves the reading of manifests, and changes nothing else, also when it is
// damaged, stale or incomplete.
func TestIndex(t *testing.T) {
	a := newArchive(t)
	const n = IndexEvery + 100
	a.add(n)
	if i, err := a.Indexed(ctx, 1); err != nil || i != 0 {
		t.Errorf("indexed to %d, %v", i, err)
	}
	want, err := a.names(0)
	a.must(err)
	a.must(a.PutIndex(ctx, 1, 1, IndexEvery))
	if i, err := a.Indexed(ctx, 1); err != nil || i != IndexEvery {
		t.Errorf("indexed to %d, %v", i, err)
	}
	check := func(name string, from uint64, indexes, manifests int) {
		t.Helper()
		reads := map[string]int{}
		names, err := counted(a, reads).names(from)
		skip := max(from, 1) - 1
		if parts := strings.Split(want, " ")[skip:]; err != nil || names != strings.Join(parts, " ") {
			t.Errorf("%s: %.50q, %v", name, names, err)
		}
		if reads["index"] != indexes || reads["manifest"] != manifests {
			t.Errorf("%s: %d index objects and %d manifests are read, want %d and %d", name, reads["index"], reads["manifest"], indexes, manifests)
		}
	}
	check("whole", 0, 1, 100)
	check("a part", 600, 1, 100)
	check("what is not in it", IndexEvery+1, 0, 100)
	check("few", n-20, 0, 21)

	key := a.path(indexKey(1, 1, IndexEvery))
	whole, err := os.ReadFile(key)
	a.must(err)
	for name, data := range map[string][]byte{"empty": nil, "cut off": whole[:len(whole)/2], "text": []byte("hello")} {
		a.must(os.WriteFile(key, data, 0o600))
		check("index "+name, 0, 1, n)
		if _, err := a.IndexAt(ctx, 1, 1, IndexEvery); err == nil {
			t.Errorf("index %s reads", name)
		}
	}
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)/2] ^= 4
	a.must(os.WriteFile(key, flipped, 0o600))
	check("index with a flipped bit", 0, 1, n)

	// Another cluster's index in its place says nothing.
	b := newArchive(t)
	b.add(IndexEvery / 10)
	b.must(b.PutIndex(ctx, 1, 1, IndexEvery))
	data, err := os.ReadFile(b.path(indexKey(1, 1, IndexEvery)))
	a.must(err)
	a.must(os.WriteFile(key, data, 0o600))
	check("another cluster's index", 0, 1, n)

	// A stale one lacks what was compacted since.
	a.must(os.WriteFile(key, whole, 0o600))
	a.cover(500, 510)
	want = strings.Replace(want, "500 501 502 503 504 505 506 507 508 509 510", "500-510", 1)
	reads := map[string]int{}
	if names, err := counted(a, reads).names(0); err != nil || names != want || reads["manifest"] != 101 {
		t.Errorf("stale: %v, %v", err, reads)
	}
	list, err := a.IndexAt(ctx, 1, 1, IndexEvery)
	if err != nil || len(list) != IndexEvery || list[499].Name() != "500" {
		t.Errorf("%d segments in the index, %v", len(list), err)
	}
	// Made anew, it has the cover.
	a.must(a.PutIndex(ctx, 1, 1, IndexEvery))
	if list, err = a.IndexAt(ctx, 1, 1, IndexEvery); err != nil || len(list) != IndexEvery-10 || list[499].Name() != "500-510" {
		t.Errorf("%d segments in the new index, %v", len(list), err)
	}
}

// TestIndexFails: without a listing there is no saying what is in the index.
func TestIndexFails(t *testing.T) {
	a := newArchive(t)
	a.add(IndexEvery / 10)
	broken := errors.New("broken")
	b := a.over(storage.Faulty(a.Catalog.store, func(op, key string) error {
		if op == "list" && strings.Contains(key, "/index/") {
			return broken
		}
		return nil
	}))
	if _, err := b.names(0); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := b.Indexed(ctx, 1); !errors.Is(err, broken) {
		t.Error(err)
	}
	a.remove(segmentKey(1, 50, 50))
	if err := a.PutIndex(ctx, 1, 1, 100); err == nil {
		t.Error("an index over a hole is put")
	}
	if _, err := os.Stat(a.path(indexKey(1, 1, 100))); !os.IsNotExist(err) {
		t.Error(fmt.Sprint("it is there: ", err))
	}
}

// TestManifestsStop: whoever stops reading early, or is told to, leaves nothing running.
func TestManifestsStop(t *testing.T) {
	a := newArchive(t)
	a.add(500)
	a.must(a.PutIndex(ctx, 1, 101, 200))
	before := runtime.NumGoroutine()
	for _, stop := range []int{1, 64, 65, 150, 400} {
		n := 0
		for _, err := range a.Segments(ctx, 1, 0) {
			a.must(err)
			if n++; n == stop {
				break
			}
		}
		cancelled, cancel := context.WithCancel(ctx)
		n = 0
		var last error
		for _, err := range a.Segments(cancelled, 1, 0) {
			if n++; n == stop {
				cancel()
			}
			last = err
		}
		cancel()
		if !errors.Is(last, context.Canceled) || n > 501 {
			t.Errorf("cancelled after %d: %d are read, %v", stop, n, last)
		}
	}
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestChunk(t *testing.T) {
	spans := []span{{1, 1}, {2, 5}, {6, 6}, {7, 7}, {8, 20}, {21, 21}, {300, 300}}
	for _, tt := range []struct {
		from    int
		objects []span
		n       int
		object  bool
	}{
		{0, nil, 6, false},
		{6, nil, 1, false},
		{0, []span{{1, 10}}, 5, true},
		{0, []span{{3, 10}}, 2, false},
		{2, []span{{3, 10}, {11, 20}}, 3, true},
		{5, []span{{3, 10}, {11, 20}}, 1, false},
		{0, []span{{1, 1}}, 1, true},
		{4, []span{{10, 400}}, 1, false},
		{5, []span{{10, 400}}, 2, true},
	} {
		n, object := chunk(spans[tt.from:], tt.objects)
		if n != tt.n || (object != nil) != tt.object {
			t.Errorf("from %d with %v: %d, %v", tt.from, tt.objects, n, object)
		}
	}
}
