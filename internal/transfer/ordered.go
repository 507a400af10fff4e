package transfer

import (
	"context"
	"slices"

	"github.com/google/uuid"

	work "tidemark/internal/ordered"
)

// ordered does something to every item, a few at a time, and then something else with what came of
// it, one by one and in order. It ends with the first error, when nothing runs any more.
func ordered[T, U any](ctx context.Context, workers int, items []T, do func(context.Context, T) (U, error), then func(T, U) error) error {
	type result struct {
		item  T
		value U
		err   error
	}
	done := 0
	for r := range work.Map(ctx, workers, slices.Values(items), func(ctx context.Context, item T) result {
		v, err := do(ctx, item)
		return result{item, v, err}
	}) {
		if r.err == nil {
			r.err = then(r.item, r.value)
		}
		if r.err != nil {
			return r.err
		}
		done++
	}
	if done < len(items) {
		return context.Cause(ctx)
	}
	return nil
}

// newNonce makes a key unlike any other.
func newNonce() string { return uuid.NewString() }
