package restore

import (
	"errors"
	"testing"

	"tidemark/internal/durable"
)

// watchedApplier looks at what is recorded when it is given a batch.
type watchedApplier struct {
	applier
	given func() error
}

func (a watchedApplier) inject(*batch) error { return a.given() }

func (watchedApplier) broken(err error) error { return err }

// TestHand: before a server gets a batch, it is on the disk how far it will have the log, and whether a crash may leave
// something half done. A resumed restore hands batches of before again, which takes nothing of that back.
func TestHand(t *testing.T) {
	r := &run{work: &workspace{fsys: durable.OS{}, dir: t.TempDir()}}
	for _, c := range []struct {
		transactions uint64
		fragile      string
		handed       uint64
		recorded     string // what is fragile
	}{
		{transactions: 7, handed: 7},
		{transactions: 20, fragile: "0-1-8", handed: 20, recorded: "0-1-8"},
		{transactions: 15, fragile: "0-1-12", handed: 20, recorded: "0-1-8"},
		{transactions: 25, handed: 25, recorded: "0-1-8"},
	} {
		b := &batch{transactions: c.transactions, fragile: c.fragile,
			end: checkpoint{Segment: c.transactions, Transactions: c.transactions, Ahead: map[uint32]uint64{0: 1}}}
		calls := 0
		err := r.hand(watchedApplier{given: func() error {
			calls++
			st, err := readState(r.work.dir)
			if st.Handed != c.handed || st.HandedTo.Segment != c.transactions || st.HandedTo.Ahead != nil || st.Fragile != c.recorded ||
				st.Unsynced != (c.recorded != "") {
				t.Errorf("when the server gets a batch of up to %d transactions, this is recorded: %+v", c.transactions, st)
			}
			return err
		}}, b)
		if err != nil || calls != 1 {
			t.Errorf("handed %d times, %v", calls, err)
		}
	}
	refused := errors.New("refused")
	if err := r.hand(watchedApplier{given: func() error { return refused }}, &batch{}); !errors.Is(err, refused) {
		t.Errorf("a server that takes no batch: %v", err)
	}
}
