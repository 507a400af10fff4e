package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "tidemark/proto/archive"
	"tidemark/storage"
)

// A base backup that is kept stays when its time has come. As a manifest is never rewritten, that is
// said by marks beside it, of which the newest counts.

// Keep is a mark on a base backup.
type Keep struct {
	Base     string
	Sequence uint64    // 0: what the manifest itself says
	Until    time.Time // zero: without an end
	Released bool      // it is not kept any more
	Marked   time.Time
}

// Holds reports whether the mark keeps its base backup at a time. No mark keeps nothing.
func (k *Keep) Holds(at time.Time) bool {
	return k != nil && !k.Released && (k.Until.IsZero() || at.Before(k.Until))
}

func keepPrefix(base string) string { return "base/" + base + "/keep/" }
func keepKey(base string, sequence uint64) string {
	return fmt.Sprintf("%s%016d.json", keepPrefix(base), sequence)
}

func newKeep() *pb.Keep { return new(pb.Keep) }

// PutKeep puts a mark behind all that there are, and sets its sequence number.
func (c *Catalog) PutKeep(ctx context.Context, k *Keep) error {
	for {
		newest, err := c.newestKeep(ctx, k.Base)
		if err != nil {
			return err
		}
		k.Sequence = newest + 1
		err = c.putNew(ctx, keepKey(k.Base, k.Sequence), &pb.Keep{FormatVersion: FormatVersion, ClusterUuid: c.Cluster.UUID, Base: k.Base,
			Sequence: k.Sequence, Until: stamp(k.Until), Released: k.Released, Marked: stamp(k.Marked), CreatedBy: c.by})
		if !errors.Is(err, storage.ErrExist) { // else somebody was quicker
			return err
		}
	}
}

// Keep returns the mark of a base backup that counts; nil: there is none.
func (c *Catalog) Keep(ctx context.Context, b *Base) (*Keep, error) {
	newest, err := c.newestKeep(ctx, b.ID)
	switch {
	case err != nil:
		return nil, err
	case newest == 0 && b.KeepUntil.IsZero():
		return nil, nil
	case newest == 0:
		return &Keep{Base: b.ID, Until: b.KeepUntil}, nil
	}
	return c.KeepAt(ctx, b.ID, newest)
}

// KeepAt reads one mark.
func (c *Catalog) KeepAt(ctx context.Context, base string, sequence uint64) (*Keep, error) {
	key := keepKey(base, sequence)
	m, err := readObject(ctx, c.store, c.key(key), newKeep)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	if m.Base != base || m.Sequence != sequence {
		return nil, damaged("read", key, fmt.Errorf("it is mark %d of base backup %s", m.Sequence, m.Base))
	}
	return &Keep{Base: m.Base, Sequence: m.Sequence, Until: unstamp(m.Until), Released: m.Released, Marked: unstamp(m.Marked)}, nil
}

// Keeps returns the marks that count of all base backups that have one, by ID.
func (c *Catalog) Keeps(ctx context.Context, bases []*Base) (map[string]*Keep, error) {
	all := make(map[string]*Keep)
	for _, b := range bases {
		k, err := c.Keep(ctx, b)
		if err != nil {
			return nil, err
		}
		if k != nil {
			all[b.ID] = k
		}
	}
	return all, nil
}

// newestKeep is the greatest sequence number of the marks on a base backup; 0: there is none.
func (c *Catalog) newestKeep(ctx context.Context, base string) (newest uint64, err error) {
	prefix := c.key(keepPrefix(base))
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return 0, fmt.Errorf("list what base backup %s is kept for: %w", base, err)
		}
		if n, ok := parseNumber(strings.TrimPrefix(o.Key, prefix), 16, ".json"); ok {
			newest = max(newest, n)
		}
	}
	return newest, nil
}
