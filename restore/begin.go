package restore

import (
	"context"

	"tidemark/internal/fault"
)

// begin makes a data directory of the base backup and starts the private server on it. The log is read
// ahead meanwhile.
func (r *run) begin(ctx context.Context) (*session, error) {
	need := r.space()
	again := r.work.left
	if !again {
		if err := r.checkDisk(need); err != nil {
			return nil, err
		}
	}
	if err := r.work.begin(r.plan, r.clock.Now()); err != nil {
		return nil, err
	}
	if err := r.chooseUser(ctx); err != nil {
		return nil, err
	}
	if again { // what an interrupted restore had left is gone only now
		if err := r.checkDisk(need); err != nil {
			return nil, err
		}
	}
	r.variables = r.plan.base.Variables
	s := &session{feed: r.newFeed(r.plan.beginning(), r.plan.start).start(ctx)}
	err := r.layOut(ctx)
	if err == nil {
		err = r.phase(Start, func() (err error) {
			if s.applier, err = r.startServer(ctx); err != nil {
				return err
			}
			if err := s.tell(r); err != nil {
				return err
			}
			// A crash, also of the machine, must not leave less than what is there now.
			if _, err := s.applier.settle(true); err != nil {
				return s.applier.broken(err)
			}
			if err := r.work.sync(r.user); err != nil {
				return err
			}
			r.work.state.Step = stepApply
			return r.work.save()
		})
	}
	if fault.Is(err, fault.Integrity) {
		err = &DamagedBase{ID: r.plan.base.ID, Err: err}
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// layOut makes the target the data directory that the base backup holds.
func (r *run) layOut(ctx context.Context) error {
	switch r.plan.base.Engine {
	case engineClone: // MySQL brings it to one point when it starts
		return r.phase(Fetch, func() error { return r.fetchClone(ctx) })
	case engineXtraBackup:
		return r.layOutXtraBackup(ctx)
	}
	if err := r.phase(Fetch, func() error { return r.fetch(ctx) }); err != nil {
		return err
	}
	return r.phase(Prepare, func() error { return r.prepare(ctx) })
}
