package restore

import (
	"time"

	"tidemark/internal/clock"
)

// Phase is a part of a restore.
type Phase string

// The phases, in their order.
const (
	Fetch     Phase = "fetch"   // read the base backup and extract it
	Prepare   Phase = "prepare" // bring it to its point
	Start     Phase = "start"   // the private server
	Apply     Phase = "apply"   // the log
	Following Phase = "follow"  // what is archived later
	Finish    Phase = "finish"  // shut down, make durable, clean up
	Leave     Phase = "leave"   // start the server that is left running
)

// Event tells how a restore is getting on. Bytes are plain ones: of the base backup in Fetch, of the
// log in Apply. A total of 0 means that it is not known, or that there is nothing to count.
type Event struct {
	Phase        Phase
	Kind         Kind
	Elapsed      time.Duration // since the phase began
	Bytes        int64
	TotalBytes   int64
	Transactions uint64
	Total        uint64        // transactions
	Rate         float64       // a second: transactions in Apply, bytes elsewhere
	Left         time.Duration // estimated; 0 if unknown

	LastApplied *Transaction  // where it is known
	Behind      time.Duration // Following: by commit times, the last transaction applied behind the last one archived
}

// Kind is a kind of Event.
type Kind string

// The kinds.
const (
	Started  Kind = "started"
	Progress Kind = "progress"
	Finished Kind = "finished"
)

// between is the least time between two events of kind Progress.
const between = 200 * time.Millisecond

// tracker makes events and records how long phases take. It is for one goroutine.
type tracker struct {
	tell   func(Event)
	clock  clock.Clock
	report *Report
	now    Event
	begun  time.Time
	told   time.Time
	had    Event // what was done before the phase began
}

func newTracker(tell func(Event), c clock.Clock, report *Report) *tracker {
	if tell == nil {
		tell = func(Event) {}
	}
	return &tracker{tell: tell, clock: c, report: report}
}

func (t *tracker) start(p Phase) {
	t.begun = t.clock.Now()
	t.told = t.begun
	t.now, t.had = Event{Phase: p, Kind: Started}, Event{}
	t.tell(t.now)
}

// follows says how far a restore that follows is, and that it waits.
func (t *tracker) follows(p *Plan) {
	t.now.LastApplied, t.now.Behind = p.LastApplied, p.behind()
	t.now.Rate, t.now.Left = 0, 0
	t.now.Kind, t.now.Elapsed = Progress, t.clock.Now().Sub(t.begun)
	t.told = t.clock.Now()
	t.tell(t.now)
}

// total says what the phase has to do.
func (t *tracker) total(bytes int64, transactions uint64) {
	t.now.TotalBytes, t.now.Total = bytes, transactions
}

// from says what had been done when the phase began.
func (t *tracker) from(bytes int64, transactions uint64) {
	t.now.Bytes, t.now.Transactions = bytes, transactions
	t.had = t.now
}

// reached says what the phase has done so far.
func (t *tracker) reached(bytes int64, transactions uint64) {
	t.now.Bytes, t.now.Transactions = max(bytes, t.had.Bytes), max(transactions, t.had.Transactions)
	now := t.clock.Now()
	if now.Sub(t.told) < between {
		return
	}
	t.told = now
	t.now.Kind, t.now.Elapsed = Progress, now.Sub(t.begun)
	t.estimate()
	t.tell(t.now)
}

// percent says what the phase has done, where each percent is to be told.
func (t *tracker) percent(bytes, total int64) {
	t.now.TotalBytes = total
	t.told = time.Time{}
	t.reached(bytes, 0)
}

func (t *tracker) estimate() {
	done, total := float64(t.now.Bytes-t.had.Bytes), float64(t.now.TotalBytes-t.had.Bytes)
	t.now.Rate, t.now.Left = 0, 0
	seconds := t.now.Elapsed.Seconds()
	if seconds <= 0 {
		return
	}
	t.now.Rate = done / seconds
	if t.now.Phase == Apply || t.now.Phase == Following {
		t.now.Rate = float64(t.now.Transactions-t.had.Transactions) / seconds
	}
	if done > 0 && total > done {
		t.now.Left = time.Duration((total - done) / done * float64(t.now.Elapsed))
	}
}

// finish ends the phase, also one that failed.
func (t *tracker) finish() time.Duration {
	t.now.Kind, t.now.Elapsed = Finished, t.clock.Now().Sub(t.begun)
	t.estimate()
	t.now.Left = 0
	t.report.Phases = append(t.report.Phases, PhaseTime{t.now.Phase, t.now.Elapsed.Seconds()})
	t.tell(t.now)
	return t.now.Elapsed
}
