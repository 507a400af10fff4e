package kit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSlots: many takers, as many processes would, never have more than there is, all get their turn, and one
// that wants everything is alone.
func TestSlots(t *testing.T) {
	t.Parallel()
	const all, takers = 5, 40
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	var taken, most, alone atomic.Int64
	var wg sync.WaitGroup
	for i := range takers {
		n := 1 + rng.IntN(3)
		if i%8 == 0 {
			n = all
		}
		hold := time.Duration(rng.IntN(3)) * time.Millisecond
		wg.Go(func() {
			release, err := takeSlots(dir, n, all)
			if err != nil {
				t.Error(err)
				return
			}
			now := taken.Add(int64(n))
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			if n == all && now == all {
				alone.Add(1)
			}
			time.Sleep(hold)
			taken.Add(-int64(n))
			release()
		})
	}
	wg.Wait()
	if most.Load() > all {
		t.Errorf("seed %d: %d slots were taken of %d", seed, most.Load(), all)
	}
	if alone.Load() != takers/8 {
		t.Errorf("seed %d: of %d that wanted all slots %d had them alone", seed, takers/8, alone.Load())
	}
}

// TestNeed: a need is never more than there is, and a quiet machine is all of it.
func TestNeed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		need Need
		want int
	}{{Need{}, 1}, {Servers(3), 3}, {Servers(30), 8}, {Need{Servers: 1, Memory: 4}, 4}, {Quiet, 8}}
	for _, tt := range tests {
		if got := tt.need.slots(8); got != tt.want {
			t.Errorf("%+v takes %d slots of 8, not %d", tt.need, got, tt.want)
		}
	}
}

// TestOwnTime: the time of a test is without the wait of which it says.
func TestOwnTime(t *testing.T) {
	t.Parallel()
	if got := OwnTime(10*time.Second, "    slots.go:70: waited for its turn: 7.5 s\n"); got != 2500*time.Millisecond {
		t.Error(got)
	}
	if got := OwnTime(10*time.Second, ""); got != 10*time.Second {
		t.Error(got)
	}
}
