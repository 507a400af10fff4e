package restore

import (
	"testing"
	"time"
)

// A log is applied by numbers of appliers that are fast or slow at it: the fastest is found, followed when
// the log changes, and looking for it costs little.
func TestThreads(t *testing.T) {
	type rates map[int]float64 // MiB a second
	for name, tt := range map[string]struct {
		processors   int
		first, later rates // of the halves of the log
		want         [2]int
	}{
		"one applier is best":     {2, rates{0: 15, 4: 9}, rates{0: 15, 4: 9}, [2]int{0, 0}},
		"several are best":        {2, rates{0: 15, 4: 19}, rates{0: 15, 4: 19}, [2]int{4, 4}},
		"no difference":           {2, rates{0: 15, 4: 16}, rates{0: 15, 4: 16}, [2]int{0, 0}},
		"the log changes":         {2, rates{0: 15, 4: 9}, rates{0: 5, 4: 20}, [2]int{0, 4}},
		"many processors":         {8, rates{0: 10, 8: 30, 16: 50}, rates{0: 50, 8: 20, 16: 10}, [2]int{16, 0}},
		"many processors at rest": {4, rates{0: 10, 4: 30, 8: 29}, rates{0: 10, 4: 30, 8: 29}, [2]int{4, 4}},
	} {
		th := newThreads(-1, tt.processors)
		var took, ideal time.Duration
		for half, r := range []rates{tt.first, tt.later} {
			var best float64
			for _, rate := range r {
				best = max(best, rate)
			}
			for i := range 60 {
				size := int64(64 << 20)
				if half == 0 {
					size = min(size, 8<<20<<min(i, 4))
				}
				rate := r[th.next(size)]
				if rate == 0 {
					t.Fatalf("%s: no such number", name)
				}
				d := time.Duration(float64(size) / rate / (1 << 20) * float64(time.Second))
				th.measured(size, d)
				took += d
				ideal += time.Duration(float64(size) / best / (1 << 20) * float64(time.Second))
			}
			if got := th.chosen(); got != tt.want[half] {
				t.Errorf("%s: %d appliers in half %d of the log, expected %d", name, got, half+1, tt.want[half])
			}
		}
		if tt.want[0] == tt.want[1] && float64(took) > 1.12*float64(ideal) {
			t.Errorf("%s: %.2f times as long as with the best number from the start", name, float64(took)/float64(ideal))
		}
	}
}

// A number that was asked for stays, and batches too small to say anything decide nothing.
func TestThreadsFixed(t *testing.T) {
	th := newThreads(3, 8)
	for i := range 50 {
		if got := th.next(64 << 20); got != 3 {
			t.Fatalf("batch %d: %d appliers", i, got)
		}
		th.measured(64<<20, time.Second)
	}
	th = newThreads(-1, 2)
	for range 50 {
		if got := th.next(1000); got != 0 {
			t.Fatalf("%d appliers", got)
		}
		th.measured(1000, time.Millisecond)
	}
}
