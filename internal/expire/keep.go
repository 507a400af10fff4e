package expire

import (
	"context"
	"errors"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// Mark has a base backup stay, or releases it, as the mark says, and returns it. The error is of kind
// Unreachable when there is no such base backup, or it has expired.
func Mark(ctx context.Context, cat *catalog.Catalog, k *catalog.Keep) (*catalog.Base, error) {
	bases, err := cat.Bases(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(bases, func(b *catalog.Base) bool { return b.ID == k.Base })
	if i < 0 {
		return nil, missing(ctx, cat, k.Base, errors.New("there is no such base backup"))
	}
	if err := cat.PutKeep(ctx, k); err != nil {
		return nil, err
	}
	return bases[i], missing(ctx, cat, k.Base, nil) // a run of retention looks for marks after its record
}

// missing returns why a base backup is not there: it has expired, or otherwise why.
func missing(ctx context.Context, cat *catalog.Catalog, base string, why error) error {
	e, err := cat.Expiry(ctx)
	if err != nil {
		return err
	}
	if e.Has(base) {
		why = catalog.ErrExpired
	}
	if why == nil {
		return nil
	}
	return fault.New(fault.Unreachable, "mark base backup", base, why).WithHint("See the base backups that there are with `tidemark list`.")
}
