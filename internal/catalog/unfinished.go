package catalog

import (
	"context"
	"errors"
	"fmt"

	"tidemark/internal/fault"
	"tidemark/storage"
)

// A base backup is being stored from BeginBase to EndBase. What is stored of it in between has no manifest yet;
// parts that have no manifest at another time have lost it.

func unfinishedKey(base string) string { return "base/" + base + "/unfinished.json" }

// BeginBase records that a base backup is about to be stored. It comes before the first part.
func (c *Catalog) BeginBase(ctx context.Context, b *Base) error {
	data, err := encode(baseToWire(&Base{ClusterUUID: c.Cluster.UUID, ID: b.ID, Engine: b.Engine, Started: b.Started, Writer: b.Writer, CreatedBy: b.CreatedBy}))
	if err != nil {
		return err
	}
	key := unfinishedKey(b.ID)
	return c.written(key, c.store.Put(ctx, c.key(key), data, false))
}

// EndBase removes the record: the manifest is put, or nothing is stored any more.
func (c *Catalog) EndBase(ctx context.Context, id string) error {
	return c.Discard(ctx, unfinishedKey(id))
}

// LostManifest returns an error of kind Integrity when a base backup of which a part was seen has no manifest,
// and nobody is storing it: also when all this is looked at once more, one after the other.
func (c *Catalog) LostManifest(ctx context.Context, id, part string) error {
	for _, o := range []struct {
		key  string
		lost bool // that it is there
	}{{unfinishedKey(id), false}, {baseKey(id), false}, {part, true}} {
		_, err := c.store.Stat(ctx, c.key(o.key))
		if err != nil && !errors.Is(err, storage.ErrNotExist) {
			return fmt.Errorf("look for %s: %w", o.key, err)
		}
		if there := err == nil; there != o.lost {
			return nil
		}
	}
	return fault.New(fault.Integrity, "read", baseKey(id), errors.New("the manifest is missing, and parts of the base backup are there"))
}
