package transfer

import (
	"context"

	"github.com/google/uuid"
)

// ordered does something to every item, a few at a time, and then something else with what came of
// it, one by one and in order. It ends with the first error, when nothing runs any more.
func ordered[T, U any](ctx context.Context, workers int, items []T, do func(context.Context, T) (U, error), then func(T, U) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		value U
		err   error
	}
	queue := make(chan chan result, workers-1)
	defer func() {
		cancel()
		for one := range queue {
			<-one
		}
	}()
	go func() {
		defer close(queue)
		for _, item := range items {
			one := make(chan result, 1)
			select {
			case queue <- one:
			case <-ctx.Done():
				return
			}
			go func() {
				v, err := do(ctx, item)
				one <- result{v, err}
			}()
		}
	}()
	for _, item := range items {
		one, ok := <-queue
		if !ok {
			return context.Cause(ctx)
		}
		r := <-one
		if r.err == nil {
			r.err = then(item, r.value)
		}
		if r.err != nil {
			return r.err
		}
	}
	return nil
}

// newNonce makes a key unlike any other.
func newNonce() string { return uuid.NewString() }
