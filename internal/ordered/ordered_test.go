package ordered

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// What comes out is in order, however long each takes, and no more is held than there is room for.
func TestMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const n, items = 4, 500
	var held, most, working atomic.Int64
	r := rand.New(rand.NewPCG(seed, 1))
	in := func(yield func(int) bool) {
		for i := range items {
			most.Store(max(most.Load(), held.Add(1)))
			if !yield(i) {
				return
			}
		}
	}
	pauses := make([]time.Duration, items)
	for i := range pauses {
		pauses[i] = time.Duration(r.IntN(300)) * time.Microsecond
	}
	var got []int
	for v := range Map(context.Background(), n, in, func(_ context.Context, i int) int {
		working.Add(1)
		defer working.Add(-1)
		time.Sleep(pauses[i])
		return i * i
	}) {
		got = append(got, v)
		held.Add(-1)
	}
	for i, v := range got {
		if v != i*i {
			t.Fatalf("item %d is %d", i, v)
		}
	}
	if len(got) != items || working.Load() != 0 {
		t.Errorf("%d of %d items, %d still worked on", len(got), items, working.Load())
	}
	// The consumer counts one down before it has let go of it.
	if m := most.Load(); m < 2 || m > n {
		t.Errorf("%d items were held at a time, of %d", m, n)
	}
}

// A buffer that is used again after n items is free by then.
func TestBuffers(t *testing.T) {
	const n = 3
	var ring [n]int
	in := func(yield func(int) bool) {
		for i := range 2000 {
			ring[i%n] = i
			if !yield(i) {
				return
			}
		}
	}
	for i := range Map(context.Background(), n, in, func(_ context.Context, i int) int { return i }) {
		if ring[i%n] != i {
			t.Fatalf("the buffer of item %d holds %d", i, ring[i%n])
		}
	}
}

// A consumer that stops, and a context that ends, end all of it.
func TestEnd(t *testing.T) {
	for _, stop := range []string{"consumer", "context", "pull", "before"} {
		ctx, cancel := context.WithCancel(context.Background())
		var working atomic.Int64
		ended := false
		in := func(yield func(int) bool) {
			defer func() { ended = true }()
			for i := 0; yield(i); i++ {
			}
		}
		do := func(ctx context.Context, i int) int {
			working.Add(1)
			defer working.Add(-1)
			if i >= 5 {
				<-ctx.Done() // only the end of it lets these go
			}
			return i
		}
		var got []int
		switch stop {
		case "pull":
			next, stop := iter.Pull(Map(ctx, 4, in, do))
			for range 3 {
				v, _ := next()
				got = append(got, v)
			}
			stop()
		default:
			if stop == "before" {
				cancel()
			}
			for v := range Map(ctx, 4, in, do) {
				got = append(got, v)
				if len(got) == 3 {
					if stop == "consumer" {
						break
					}
					cancel()
				}
			}
		}
		cancel()
		want := []int{0, 1, 2}
		if stop == "before" {
			want = nil
		}
		if !slices.Equal(got, want) || working.Load() != 0 || !ended {
			t.Errorf("%s: %v, %d still worked on, the input has ended: %v", stop, got, working.Load(), ended)
		}
	}
}
