package catalog

import (
	"context"
	"errors"
	"fmt"

	"tidemark/internal/fault"
	"tidemark/storage"
)

// A receipt says what a part of a base backup that is being copied, and encrypted anew, has become, so
// that a copy that was interrupted need not begin with the first part again. It lies among the objects
// that mean nothing, as a manifest of just that part, and goes when the copy is complete.

func receiptKey(base string, part uint32) string {
	return fmt.Sprintf("%scopy-%s-%05d", ProbePrefix, base, part)
}

// PutReceipt records a part of a base backup that has no manifest yet.
func (c *Catalog) PutReceipt(ctx context.Context, base string, p *Part) error {
	data, err := encode(baseToWire(&Base{ClusterUUID: c.Cluster.UUID, ID: base, Parts: []Part{*p}}))
	if err != nil {
		return err
	}
	key := receiptKey(base, p.Number)
	return c.written(key, c.store.Put(ctx, c.key(key), data, false))
}

// Receipt returns what was recorded of a part; nil: nothing that can be read.
func (c *Catalog) Receipt(ctx context.Context, base string, number uint32) (*Part, error) {
	m, err := readObject(ctx, c.store, c.key(receiptKey(base, number)), newBase)
	if errors.Is(err, storage.ErrNotExist) || fault.Is(err, fault.Integrity) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := baseFromWire(m)
	if err != nil || b.ClusterUUID != c.Cluster.UUID || b.ID != base || len(b.Parts) != 1 || b.Parts[0].Number != number {
		return nil, nil
	}
	return &b.Parts[0], nil
}

// DropReceipts removes all receipts: no copy is unfinished any more.
func (c *Catalog) DropReceipts(ctx context.Context) error {
	for o, err := range c.Objects(ctx, ProbePrefix+"copy-") {
		if err != nil {
			return err
		}
		if err := c.Discard(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}
