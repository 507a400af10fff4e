package basebackup

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/internal/clock"
)

// Phase says what a backup is doing.
type Phase string

// The phases, in order. Discard takes the place of what is left when a backup fails.
const (
	Check   Phase = "check"
	Copy    Phase = "copy"
	Wait    Phase = "wait" // for the archived log to reach the backup's position
	Commit  Phase = "commit"
	Done    Phase = "done"
	Discard Phase = "discard"
)

// Progress is how far a backup has come.
type Progress struct {
	Phase   Phase         `json:"phase"`
	Plain   int64         `json:"plain_bytes"`  // copied
	Stored  int64         `json:"stored_bytes"` // of them, compressed
	Rate    float64       `json:"rate"`         // plain bytes a second, of late
	Waiting string        `json:"waiting,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// reporter tells the progress about once a second.
type reporter struct {
	clock  clock.Clock
	tell   func(Progress)
	plain  atomic.Int64
	stored atomic.Int64
	stop   chan struct{}
	ended  sync.WaitGroup

	mu    sync.Mutex // also keeps calls of tell apart
	now   Progress
	begun time.Time
	last  time.Time // of the last measurement of the rate
	bytes int64     // then
}

func newReporter(c clock.Clock, tell func(Progress)) *reporter {
	r := &reporter{clock: c, tell: tell, stop: make(chan struct{})}
	if tell == nil {
		return r
	}
	r.begun = c.Now()
	r.last = r.begun
	r.ended.Go(func() {
		for {
			select {
			case <-r.stop:
				return
			case <-c.After(time.Second):
				r.report(nil)
			}
		}
	})
	return r
}

// close returns when nothing is told any more.
func (r *reporter) close() {
	close(r.stop)
	r.ended.Wait()
}

// phase begins a phase, or says what it waits for now.
func (r *reporter) phase(p Phase, waiting string) {
	r.report(func() { r.now.Phase, r.now.Waiting = p, waiting })
}

func (r *reporter) report(change func()) {
	if r.tell == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if change != nil {
		change()
	}
	t := r.clock.Now()
	p := &r.now
	p.Plain, p.Stored = r.plain.Load(), r.stored.Load()
	if d := t.Sub(r.last); d >= time.Second/2 {
		p.Rate = float64(p.Plain-r.bytes) / d.Seconds()
		r.last, r.bytes = t, p.Plain
	}
	p.Elapsed = t.Sub(r.begun)
	r.tell(*p)
}

// meter counts what is written through it.
type meter struct {
	w io.Writer
	n *atomic.Int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n.Add(int64(n))
	return n, err
}
