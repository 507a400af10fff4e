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
func (r *run) firstBehind(ctx context.Context, at *gtid.State) (*Transaction, error) {
	from := r.work.state.Applied
	segments, err := r.plan.after(from)
	if err != nil {
		return nil, err
	}
	for i, s := range segments {
		for tx, err := range transactions(ctx, r.c, s, nil) {
			if err != nil {
				return nil, err
			}
			applied := at.Tip(tx.gtid.Domain).Seq >= tx.gtid.Seq
			if set := at.Set(); set != nil {
				applied = set.Contains(tx.gtid)
			}
			if i == 0 && tx.start < from.Offset || applied || r.plan.excluded[tx.gtid] {
				continue
			}
			return describe(tx), nil
		}
	}
	return nil, nil
}
