package restore

import "time"

// threads chooses how many appliers work in parallel, by what was measured. Which number is best depends on
// the processors, on the disk and above all on the log itself: many small transactions that touch the same
// rows go fastest one after the other. Between two batches nothing is applied, so there the number changes.
//
// The first batches are small and each tries another number. From then on the fastest applies, and now and
// then a batch that is small against all that went before tries another one again, as the log may change.
type threads struct {
	counts []int     // that are tried, the one to begin with first
	rates  []float64 // bytes a second, when last measured; 0: not yet
	now    int       // index of the one that applies
	warm   bool      // a batch has been applied: before that, all is read for the first time
	since  int64     // bytes applied since another one was tried
	turn   int       // whose turn it is to be tried
}

const (
	// A batch of less says little.
	leastMeasured     = 1 << 20 // bytes
	leastMeasuredTime = 50 * time.Millisecond
	// A trial may take a batch that is no more than this part of what was applied since the one before, so
	// that even one that is half as fast costs little.
	trialPart = 16
	// Another number must be faster by this much, as no two batches are alike.
	worthwhile = 1.1
)

// newThreads returns a choice for a machine with so many processors, or a fixed one: fixed, unless that is
// negative. 0 means one applier without workers.
func newThreads(fixed, processors int) *threads {
	counts := []int{fixed}
	if fixed < 0 {
		// On two processors one applier keeps up with the disk, and more of them are mostly in its way.
		counts = []int{0, 4}
		if processors > 2 {
			n := min(processors, 8)
			counts = []int{n, min(2*n, 16), 0}
		}
	}
	return &threads{counts: counts, rates: make([]float64, len(counts))}
}

// next returns how many appliers a batch of so many bytes shall have.
func (t *threads) next(bytes int64) int {
	if len(t.counts) == 1 || !t.warm {
		return t.counts[t.now]
	}
	t.now = t.best()
	for i, r := range t.rates {
		if r == 0 {
			t.now = i
			return t.counts[i]
		}
	}
	if bytes >= leastMeasured && bytes*trialPart <= t.since {
		if t.turn = (t.turn + 1) % len(t.counts); t.turn == t.now {
			t.turn = (t.turn + 1) % len(t.counts)
		}
		t.now, t.since = t.turn, 0
	}
	return t.counts[t.now]
}

// chosen is the number that is the fastest so far.
func (t *threads) chosen() int { return t.counts[t.best()] }

// best is the index of the fastest one; the first keeps its place against what is hardly faster.
func (t *threads) best() int {
	best := 0
	for i, r := range t.rates {
		if r > t.rates[best]*worthwhile {
			best = i
		}
	}
	return best
}

// measured notes how long a batch took with the number that next gave for it.
func (t *threads) measured(bytes int64, took time.Duration) {
	if bytes < leastMeasured || took < leastMeasuredTime {
		return
	}
	t.since += bytes
	if !t.warm {
		t.warm = true
		return
	}
	t.rates[t.now] = float64(bytes) / took.Seconds()
}
