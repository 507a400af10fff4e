package storage

import (
	"context"
	"time"
)

// Sweeper is a store in which a write that was cut off leaves something, that is no object and that no listing
// shows.
type Sweeper interface {
	// Sweep removes what was last written to before a time, and returns how many. A write that is under way
	// must not be that old.
	Sweep(ctx context.Context, before time.Time) (int, error)
}

// Sweep is Sweeper.Sweep of a store, or of the one that it decorates; where nothing is left it does nothing.
func Sweep(ctx context.Context, s Store, before time.Time) (int, error) {
	for {
		if sweeper, ok := s.(Sweeper); ok {
			return sweeper.Sweep(ctx, before)
		}
		decorator, ok := s.(interface{ under() Store })
		if !ok {
			return 0, nil
		}
		s = decorator.under()
	}
}

func (r *retry) under() Store    { return r.Store }
func (l *limit) under() Store    { return l.Store }
func (o *observed) under() Store { return o.Store }
func (f *faulty) under() Store   { return f.Store }
