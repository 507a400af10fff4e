package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/fault"
)

// A restore that follows keeps its private server, and hands it one plan's part of the log after the other.
// All that is true of a restore is true of it: it is resumed in the same way, and finished by one that does
// not follow.

// stopGrace is how long a server that follows may take to shut down.
const stopGrace = time.Hour

// follow goes on with what is archived, until the target is reached or ctx ends.
func (r *run) follow(ctx context.Context, s *session) error {
	return r.phase(Following, func() error {
		for !r.plan.following.last {
			q, err := r.await(ctx, s)
			if err != nil {
				return err
			}
			if err := r.goOn(q); err != nil {
				return err
			}
			s.feed.stop()
			at, err := s.applier.position()
			if err != nil {
				return s.applier.broken(err)
			}
			s.feed = r.newFeed(r.work.state.Applied, at)
			s.feed.emptied.told <- nil // it has not been restarted
			s.feed.start(ctx)
			if err := s.tellXA(); err != nil {
				return err
			}
			if err := r.applyAll(ctx, s); err != nil {
				return err
			}
			if err := r.work.save(); err != nil {
				return err
			}
		}
		return nil
	})
}

// goOn makes a further plan that of the restore.
func (r *run) goOn(q *Plan) error {
	if id := serverID(r.plan.serverIDs); slices.Contains(q.serverIDs, id) {
		return fault.New(fault.Other, "follow", r.work.target, fmt.Errorf("a server of ID %d has written to the log, and the private server has that ID", id)).
			WithHint("Run the same command again: it takes another ID.")
	}
	r.plan, r.work.state.Timeline = q, q.Timeline
	r.report.goOn(q)
	return nil
}

// await returns the next plan. It looks at the server meanwhile, so that its end is noticed and the session
// does not become idle for too long.
func (r *run) await(ctx context.Context, s *session) (*Plan, error) {
	for {
		q, err := r.plan.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case fault.Is(err, fault.Storage):
			r.Log.Warn("the archive cannot be read: it is tried again", zap.Error(err))
		case q != nil || err != nil:
			return q, err
		}
		if _, err := s.applier.position(); err != nil {
			return nil, s.applier.broken(err)
		}
		r.tracker.follows(r.plan)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.clock.After(r.plan.following.o.Follow.every()):
		}
	}
}

// ofArchive reports whether an error is about the archive, and not the server, which then ends cleanly too.
func ofArchive(err error) bool {
	return fault.Is(err, fault.Unreachable) || fault.Is(err, fault.Storage) || fault.Is(err, fault.Integrity)
}

// pause ends the server cleanly, between two transactions, so that all it has applied is durable and the same
// command goes on behind it.
func (r *run) pause(s *session) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	s.feed.stop()
	m, st := s.applier, &r.work.state
	if err := m.halt(); err != nil {
		return m.broken(err)
	}
	at, err := m.position()
	if err != nil {
		return m.broken(err)
	}
	if err := r.atRest(m); err != nil {
		return m.broken(err)
	}
	if err := m.stop(ctx); err != nil {
		return err
	}
	if err := r.work.sync(r.user); err != nil {
		return err
	}
	st.Unsynced = false
	r.report.pause(r.plan, at, st.Fragile)
	return errors.Join(r.work.save(), r.work.removeDirs())
}
