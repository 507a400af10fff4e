package storagetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"tidemark/storage"
)

// tricky are keys, in order, that a walk over directories by name, or a comparison by language,
// yields in another one: '-' and '.' come before '/', capitals before small letters.
var tricky = []string{
	"A", "Z/a", "_",
	"a-b", "a-b.c/d", "a.b", "a.json", "a/-", "a/.b", "a/0", "a/A", "a/b-c/d", "a/b.c", "a/b/c-d", "a/b/c/d", "a/b0", "a0", "a_b", "aa",
	"b/000", "b/0000", "b/00000/1", "b/00001/0", "b/1", "b/10", "b/9",
	"c.d", "c/d/e/f/g/h",
}

func listOrder(t *testing.T, s storage.Store) {
	if !slices.IsSorted(tricky) {
		t.Fatal("the keys of the test are not in order")
	}
	wantKeys(t, s, "", "")
	var late []string
	for i, key := range tricky {
		if key == "A" || i%2 == 0 {
			late = append(late, key)
			continue
		}
		put(t, s, key, []byte(key))
	}
	for _, key := range slices.Backward(late) {
		put(t, s, key, []byte(key))
	}
	wantKeys(t, s, "", "", tricky...)
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Size != int64(len(o.Key)) || o.Modified.IsZero() {
			t.Errorf("listed %+v", o)
		}
	}
}

// listRange: prefix and after are strings of bytes, wherever they end.
func listRange(t *testing.T, s storage.Store) {
	for _, key := range tricky {
		put(t, s, key, nil)
	}
	bounds := []string{"", "~", "0", "a-", "a.", "a/", "a/b", "a/b/", "a/b/c", "a/b/c/", "a/zz", "b/0", "b/0000", "b/00000/", "b/00000/2", "c/d/e/f/g/h/i", "z/y"}
	for _, key := range tricky {
		if strings.HasPrefix(key, "a") || strings.HasPrefix(key, "b/00") {
			bounds = append(bounds, key)
		}
	}
	prefixes := append(slices.Clone(bounds), "/", "a//", "../", "a/../", "./", "a b", "A")
	for _, prefix := range prefixes {
		for _, after := range bounds {
			var want []string
			for _, key := range tricky {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			wantKeys(t, s, prefix, after, want...)
		}
	}
}

// listMany: more objects than any provider lists in one answer.
func listMany(t *testing.T, s storage.Store) {
	total := 10_001
	if testing.Short() {
		total = 1_200
	}
	key := func(i int) string { return fmt.Sprintf("many/%02d/%016d.json", i%7, i) }
	var want []string
	for i := range total {
		want = append(want, key(i))
	}
	var wg sync.WaitGroup
	const writers = 16
	for w := range writers {
		wg.Go(func() {
			for i := w; i < total; i += writers {
				if err := s.Put(t.Context(), key(i), nil, false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	slices.Sort(want)
	wantKeys(t, s, "", "", want...)
	wantKeys(t, s, "many/", want[total/2], want[total/2+1:]...)
	wantKeys(t, s, "many/", want[total-1])
	first := slices.IndexFunc(want, func(k string) bool { return strings.HasPrefix(k, "many/03/") })
	next := slices.IndexFunc(want, func(k string) bool { return strings.HasPrefix(k, "many/04/") })
	wantKeys(t, s, "many/03/", "", want[first:next]...)
	wantKeys(t, s, "many/03", want[first+9], want[first+10:next]...)
}

// listStops: a caller may stop at any object, or end the context.
func listStops(t *testing.T, s storage.Store) {
	for i := range 20 {
		put(t, s, fmt.Sprintf("stop/%d/%02d", i/5, i), nil)
	}
	for stop := range 20 {
		n := 0
		for _, err := range s.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			if n == stop {
				break
			}
			n++
		}
		if n != stop {
			t.Errorf("stopped after %d objects, want %d", n, stop)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, err := range s.List(ctx, "", "") {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err == nil {
			seen++
		}
		cancel()
	}
	// What was fetched already may still come.
	if seen == 0 || seen > 20 {
		t.Errorf("%d objects came", seen)
	}
	// The same listing can be run again.
	list := s.List(t.Context(), "stop/1/", "")
	for range 2 {
		if got, err := keys(list); err != nil || len(got) != 5 {
			t.Errorf("listed %q, %v", got, err)
		}
	}
}

// keys returns the keys of a listing up to its end or first error.
func keys(list iter.Seq2[storage.Object, error]) ([]string, error) {
	var all []string
	for o, err := range list {
		if err != nil {
			return all, err
		}
		all = append(all, o.Key)
	}
	return all, nil
}

// wantKeys checks what a listing yields.
func wantKeys(t *testing.T, s storage.Store, prefix, after string, want ...string) {
	t.Helper()
	got, err := keys(s.List(t.Context(), prefix, after))
	if err != nil {
		t.Fatalf("list %q after %q: %v", prefix, after, err)
	}
	if slices.Equal(got, want) {
		return
	}
	if len(got)+len(want) > 100 {
		t.Errorf("list %q after %q: %d keys, want %d, or in another order", prefix, after, len(got), len(want))
		return
	}
	t.Errorf("list %q after %q:\ngot  %q\nwant %q", prefix, after, got, want)
}
