package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// session is a private server, and the log for it.
type session struct {
	applier applier
	feed    *feed
}

func (s *session) end() {
	if s.feed != nil {
		s.feed.stop()
	}
	if s.applier != nil {
		s.applier.close()
	}
}

// apply feeds the private server the log batch by batch, and stops it.
func (r *run) apply(ctx context.Context, s *session) error {
	m := s.applier
	err := r.phase(Apply, func() error { return r.applyAll(ctx, s) })
	r.report.rate()
	if err == nil && r.plan.following != nil {
		err = r.follow(ctx, s)
	}
	if r.plan.following != nil && (ctx.Err() != nil || ofArchive(err)) {
		if perr := r.pause(s); perr != nil || ctx.Err() != nil {
			return perr
		}
	}
	if err != nil {
		return err
	}
	err = r.phase(Finish, func() error {
		if err := m.end(); err != nil {
			return r.failed(ctx, m.broken(err))
		}
		if err := m.stop(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.report.complete(r.plan, r.owner, r.Start != nil)
		return r.work.finish(r.owner, r.report)
	})
	if err != nil {
		return err
	}
	return r.leave(ctx)
}

// failed counts failures of the server in a restore that is resumed: there is no use in trying that for ever.
func (r *run) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, mysqld.ErrKilled) || !r.resumed() {
		return err
	}
	r.work.state.Failures++
	r.work.state.Failed = err.Error()
	return errors.Join(err, r.work.save())
}

func (r *run) applyAll(ctx context.Context, s *session) error {
	m, from := s.applier, s.feed.from
	loose, err := m.loose()
	if err != nil {
		return m.broken(err)
	}
	had := s.feed.had
	r.report.had = had
	r.report.Transactions, r.report.LogBytes = had, r.bytesOf(from, had)
	r.tracker.total(r.plan.LogBytes, r.plan.Transactions)
	r.tracker.from(r.report.LogBytes, had)
	before := from
	for {
		b, err := s.feed.next(ctx)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		if loose && b.fragile == "" {
			b.fragile = "the first"
		}
		r.note(b.notes)
		b.threads = r.threads.next(b.bytes)
		if err := r.adopt(m, b); err != nil {
			if errors.Is(err, errAnew) {
				return err
			}
			return r.failed(ctx, err)
		}
		if err := r.hand(m, b); err != nil {
			return r.failed(ctx, err)
		}
		begun := r.clock.Now()
		err = m.wait(ctx, b, func(n uint64) {
			n = max(n, before.Transactions)
			part := float64(n-before.Transactions) / float64(max(b.transactions-before.Transactions, 1))
			r.tracker.reached(before.Bytes+int64(part*float64(b.bytes)), n)
		})
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), r.halt(m))
		}
		if errors.Is(err, errStuck) {
			return errors.Join(err, r.atRest(m))
		}
		if err == nil {
			err = r.applied(m, b)
		}
		if err != nil {
			return r.failed(ctx, r.nameFailing(ctx, m, err))
		}
		r.threads.measured(b.bytes, r.clock.Now().Sub(begun))
		r.report.Batches++
		r.report.Threads = r.threads.chosen()
		before = b.end
		r.report.Transactions, r.report.GTID = max(had, before.Transactions), before.GTID
		r.report.LogBytes = max(r.report.LogBytes, min(before.Bytes, r.plan.LogBytes))
		r.tracker.reached(r.report.LogBytes, r.report.Transactions)
	}
	// What follows the last batch, the server had already.
	if r.report.Transactions = s.feed.applied; r.report.Transactions != r.plan.Transactions {
		return fault.New(fault.Integrity, "apply the log", "", fmt.Errorf("%d transactions were applied, %d were planned", r.report.Transactions, r.plan.Transactions))
	}
	// Also where that was all, what comes later is to be fed from here.
	if s.feed.segment != nil {
		r.work.state.Applied = s.feed.checkpoint()
	}
	r.report.LogBytes = r.plan.LogBytes
	r.reached = s.feed.pos.Clone()
	return nil
}

// bytesOf estimates how much of the log so many transactions are, which lie between a checkpoint and the end of what the
// server was given.
func (r *run) bytesOf(from checkpoint, transactions uint64) int64 {
	bytes, to := from.Bytes, r.work.state.HandedTo
	if transactions > from.Transactions && to.Transactions >= transactions {
		part := float64(transactions-from.Transactions) / float64(to.Transactions-from.Transactions)
		bytes += int64(part * float64(max(0, to.Bytes-from.Bytes)))
	}
	return min(bytes, r.plan.LogBytes)
}

// note makes warnings of what is to be said of the log, also when the restore is resumed.
func (r *run) note(notes []string) {
	for _, note := range notes {
		r.report.warn("%s", note)
		if st := &r.work.state; !slices.Contains(st.Notes, note) {
			st.Notes = append(st.Notes, note)
		}
	}
}

// hand gives a batch to the server, after recording what must be known of it if that dies.
func (r *run) hand(m applier, b *batch) error {
	st := &r.work.state
	st.Handed, st.HandedTo = max(st.Handed, b.transactions), b.end
	st.HandedTo.Ahead, st.HandedTo.Emptied, st.HandedTo.Doubtful = nil, nil, nil
	if b.fragile != "" {
		st.Unsynced = true
		if st.Fragile == "" {
			st.Fragile = b.fragile
		}
	}
	if err := r.work.save(); err != nil {
		return err
	}
	if err := m.inject(b); err != nil {
		return m.broken(err)
	}
	return nil
}

// halt lets the server come to rest, when a restore is interrupted with transactions in the server's hands
// with which it must not be killed.
func (r *run) halt(m applier) error {
	st := &r.work.state
	if st.Fragile == "" || r.plan.following != nil { // that is halted when it is paused
		return nil
	}
	if err := m.halt(); err != nil {
		return err
	}
	return r.atRest(m)
}

// atRest makes what has been applied survive the server, which is between two transactions.
func (r *run) atRest(m applier) error {
	st := &r.work.state
	open, err := m.settle(true)
	if err != nil || open > 0 {
		return err
	}
	st.Fragile = ""
	return r.work.save()
}

// applied notes that a batch is applied. It is recorded with the next one, but that the server has nothing
// in hand any more that a crash leaves half done is recorded at once.
func (r *run) applied(m applier, b *batch) error {
	st := &r.work.state
	open, err := m.settle(st.Fragile != "")
	if err != nil {
		return m.broken(err)
	}
	st.Applied, st.Failures = b.end, 0
	if st.Fragile == "" || open > 0 {
		return nil
	}
	st.Fragile = ""
	return r.work.save()
}
