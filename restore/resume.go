package restore

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"tidemark/internal/gtid"
)

// resume starts the private server on what an interrupted restore has left, and the log behind what that
// has applied. Without a session and an error there is nothing to resume, or it cannot be done exactly:
// then the report says why.
func (r *run) resume(ctx context.Context) (*session, error) {
	if !r.work.left {
		return nil, nil
	}
	r.work.state.reach(r.plan)
	why := r.work.state.unusable(r.plan)
	if why == "" {
		s, no, err := r.reopen(ctx)
		if s != nil || err != nil {
			return s, err
		}
		why = no
	}
	r.reopened, r.report.Resumed = false, nil
	r.report.Restarted, r.report.Why = true, why
	r.Log.Warn("an interrupted restore was found here and is removed: this one begins again from the base backup",
		zap.String("target_dir", r.work.target), zap.String("because", why))
	return nil, nil
}

// resumed reports whether what an interrupted restore has left is used.
func (r *run) resumed() bool { return r.reopened }

func (r *run) reopen(ctx context.Context) (s *session, why string, err error) {
	r.reopened = true
	found := new(Resumed)
	if !r.again {
		r.report.Resumed = found
	}
	r.note(r.work.state.Notes)
	if err := r.work.makeDirs(); err != nil {
		return nil, "", err
	}
	if err := r.chooseUser(ctx); err != nil {
		return nil, "", err
	}
	if err := r.checkDisk(0); err != nil {
		return nil, "", err
	}
	s = new(session)
	err = r.phase(Start, func() (err error) {
		if s.applier, err = r.startServer(ctx); err != nil {
			return r.failed(ctx, err)
		}
		at, err := s.applier.position()
		if err != nil {
			return s.applier.broken(err)
		}
		var from checkpoint
		if from, why, err = r.locate(ctx, at); err != nil || why != "" {
			return err
		}
		s.feed = r.newFeed(from, at)
		if s.feed.had, err = r.had(ctx, from, at); err != nil {
			return err
		}
		*found = Resumed{GTID: at.String(), Transactions: s.feed.had}
		r.Log.Info("an interrupted restore is resumed", zap.String("target_dir", r.work.target), zap.Stringer("gtid", at), zap.Uint64("transactions", s.feed.had))
		s.feed.start(ctx)
		return s.tell(r)
	})
	if err != nil || why != "" {
		s.end()
		return nil, why, err
	}
	return s, "", nil
}

// locate returns the last checkpoint, with what a server at a position has applied behind it; or says why
// that cannot be told.
func (r *run) locate(ctx context.Context, pos *gtid.State) (from checkpoint, why string, err error) {
	from = r.work.state.Applied
	recorded, err := parsePosition(r.plan.base.Flavor, from.GTID)
	if err != nil {
		return from, "", err
	}
	if st := &r.work.state; st.Timeline != r.plan.Timeline {
		if !pos.SamePosition(recorded) { // two timelines may have one GTID for different transactions
			return from, fmt.Sprintf("its server is at %s, and timelines %d and %d may differ there", pos, st.Timeline, r.plan.Timeline), nil
		}
		st.Timeline = r.plan.Timeline
	}
	if r.plan.base.Flavor == gtid.MySQL { // it passes over what it has
		switch {
		case !pos.Covers(recorded):
			return from, fmt.Sprintf("its server is at %s, and was at %s before", pos, recorded), nil
		case !r.plan.position.Covers(pos.Without(r.plan.unlogged)):
			return from, "it has applied transactions behind this target", nil
		}
		r.plan.position.Advance(pos)
		return from, "", nil
	}
	if from.place().compare(r.plan.end()) == 0 && pos.SamePosition(r.plan.position) {
		return from, "", nil // killed behind the end, where domains that were deleted leave the position
	}
	from.Ahead, why, err = r.ahead(ctx, from, recorded.Position(), pos.Position())
	return from, why, err
}

// had counts the transactions of the plan that a server at a position has: those behind the checkpoint too.
func (r *run) had(ctx context.Context, from checkpoint, pos *gtid.State) (uint64, error) {
	n := from.Transactions
	if r.plan.ofMariaDB() {
		for _, ahead := range from.Ahead {
			n += ahead
		}
		return n, nil
	}
	before, err := r.logBefore(ctx)
	if err != nil {
		return 0, err
	}
	has := pos.Without(before).Without(r.plan.unlogged).Set()
	for g := range r.plan.excluded { // of which the server is told before it comes to them
		has.Remove(g)
	}
	return max(n, min(has.Count(), r.plan.Transactions)), nil
}

// logBefore is the position of MySQL's log where the plan begins to read it. Before the first file of an archive only
// the file itself says that.
func (r *run) logBefore(ctx context.Context) (*gtid.State, error) {
	first := r.plan.segments[0]
	pos, err := parsePosition(gtid.MySQL, first.Before.GTID)
	if err != nil {
		return nil, err
	}
	for _, err := range transactions(ctx, r.c, first, pos) {
		return pos, err
	}
	return pos, nil
}

// ahead counts, for each domain, the transactions behind a checkpoint up to the last one that the server has
// applied. That one is told by its GTID, in the order of the log: numbers may go up and down. It must be
// among those that the server was given, once.
func (r *run) ahead(ctx context.Context, from checkpoint, recorded, pos gtid.Position) (counts map[uint32]uint64, why string, err error) {
	counts = make(map[uint32]uint64)
	found := make(map[uint32]int)
	for domain, g := range pos {
		if recorded[domain] == g {
			counts[domain], found[domain] = from.Ahead[domain], 1
		}
	}
	segments, err := r.plan.after(from)
	if err != nil {
		return nil, "", err
	}
	seen := make(map[uint32]uint64)
	n := from.Transactions
log:
	for i, s := range segments {
		for tx, err := range transactions(ctx, r.c, s, nil) {
			if err != nil {
				return nil, "", err
			}
			if i == 0 && tx.start < from.Offset {
				continue
			}
			if n == r.work.state.Handed || i == len(segments)-1 && tx.end > r.plan.Stop.Offset {
				break log
			}
			n++
			d := tx.gtid.Domain
			if seen[d]++; seen[d] > from.Ahead[d] && tx.gtid == pos[d] {
				counts[d] = seen[d]
				found[d]++
			}
		}
	}
	for domain, g := range pos {
		switch {
		case found[domain] == 0:
			return nil, fmt.Sprintf("its server is at %s, which is not in the part of the log that it was given", g), nil
		case found[domain] > 1:
			return nil, fmt.Sprintf("its server is at %s, which is in the log more than once", g), nil
		}
	}
	for domain, g := range recorded {
		if pos[domain].IsZero() {
			return nil, fmt.Sprintf("its server was at %s, and has nothing of that domain now", g), nil
		}
	}
	return counts, "", nil
}
