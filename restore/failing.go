package restore

import (
	"context"
	"errors"
	"fmt"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// stoppedError is the error with which the private server has stopped applying.
type stoppedError struct{ number, text string }

func (e *stoppedError) Error() string { return fmt.Sprintf("error %s: %s", e.number, e.text) }

// nameFailing adds to the error with which the server has stopped which transaction it is about, and how to go on. It returns the
// error as it is where that cannot be told.
func (r *run) nameFailing(ctx context.Context, m applier, err error) error {
	var stopped *stoppedError
	if !errors.As(err, &stopped) {
		return err
	}
	at, perr := m.position()
	if perr != nil {
		return err
	}
	t, perr := r.firstBehind(ctx, at)
	if perr != nil || t == nil {
		return err
	}
	hint := "Give the server what it lacks (--defaults-extra-file, --plugin-dir): the same command goes on where this one has stopped. " +
		fmt.Sprintf("Or restore to before the transaction, with --before-gtid %s, or without it, with --exclude-gtid %[1]s --force.", t.GTID)
	if r.plan.following != nil {
		hint = fmt.Sprintf("Give the server what it lacks (--defaults-extra-file, --plugin-dir), or open the standby before the transaction, with --before-gtid %s and without --follow.", t.GTID)
	}
	return fault.New(fault.KindOf(err), "apply transaction", t.String(), stopped).WithHint(fault.HintOf(err) + " " + hint)
}

// firstBehind returns the first transaction of what the server was given that it has not applied; nil if it has all.
func (r *run) firstBehind(ctx context.Context, reached *gtid.State) (*Transaction, error) {
	from, to := r.work.state.Applied, r.work.state.HandedTo.place()
	segments, err := r.plan.after(from)
	if err != nil {
		return nil, err
	}
	found := behind{at: reached, first: make(map[uint32]*Transaction), order: make(map[uint32]int)}
	for i, s := range segments {
		for tx, err := range transactions(ctx, r.c, s, nil) {
			if err != nil {
				return nil, err
			}
			if at(s, tx.start).compare(to) >= 0 {
				return found.earliest(), nil
			}
			if (i > 0 || tx.start >= from.Offset) && !r.plan.excluded[tx.gtid] {
				found.add(tx)
			}
		}
	}
	return found.earliest(), nil
}

// behind follows which transaction of each domain comes first behind a position, in the order of the log: numbers need not rise.
type behind struct {
	at    *gtid.State
	first map[uint32]*Transaction
	order map[uint32]int
	seen  int
}

func (b *behind) add(tx transaction) {
	b.seen++
	domain := tx.gtid.Domain
	switch set := b.at.Set(); {
	case set != nil && set.Contains(tx.gtid):
	case set == nil && b.at.Tip(domain) == tx.gtid: // what was found before it is applied
		delete(b.first, domain)
	case b.first[domain] == nil:
		b.first[domain], b.order[domain] = describe(tx), b.seen
	}
}

func (b *behind) earliest() (t *Transaction) {
	order := 0
	for domain, first := range b.first {
		if t == nil || b.order[domain] < order {
			t, order = first, b.order[domain]
		}
	}
	return t
}
