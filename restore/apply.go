package restore

import (
	"context"
	"fmt"

	"tidemark/internal/fault"
)

// apply starts the private server, feeds it the log batch by batch, and stops it again.
func (r *run) apply(ctx context.Context, f *feed) error {
	var m applier
	err := r.phase(Start, func() (err error) {
		m, err = r.startServer(ctx)
		return err
	})
	if err != nil {
		return err
	}
	defer m.close()
	if err := r.phase(Apply, func() error { return r.applyAll(ctx, m, f) }); err != nil {
		return err
	}
	return r.phase(Finish, func() error {
		if err := m.end(); err != nil {
			return err
		}
		if err := m.stop(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.work.finish(r.owner)
	})
}

func (r *run) applyAll(ctx context.Context, m applier, f *feed) error {
	r.report.Threads = r.Threads
	r.tracker.total(r.plan.LogBytes, r.plan.Transactions)
	var bytes int64
	var before uint64
	for {
		b, err := f.next(ctx)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		if err := m.inject(b); err != nil {
			return m.broken(err)
		}
		err = m.wait(ctx, b, func(n uint64) {
			n = max(n, before)
			part := float64(n-before) / float64(max(b.transactions-before, 1))
			r.tracker.reached(bytes+int64(part*float64(b.bytes)), n)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		r.report.Batches++
		bytes += b.bytes
		before = b.transactions
		r.report.Transactions, r.report.LogBytes, r.report.GTID = before, min(bytes, r.plan.LogBytes), b.position.String()
		r.tracker.reached(r.report.LogBytes, before)
	}
	if r.report.Transactions != r.plan.Transactions {
		return fault.New(fault.Integrity, "apply the log", "", fmt.Errorf("%d transactions were applied, %d were planned", r.report.Transactions, r.plan.Transactions))
	}
	r.report.LogBytes = r.plan.LogBytes
	return nil
}
