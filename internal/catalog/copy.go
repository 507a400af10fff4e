package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"tidemark/internal/fault"
	"tidemark/internal/seal"
	"tidemark/storage"
)

// This file puts what another archive of the same cluster holds into this one. Manifests go as they
// are, byte for byte, unless they must say something else here: of another key, or another beginning.

// Begin opens the cluster in another store. Where it is not there it is begun, with a timeline of this
// archive: from then on it is an archive without segments.
func (c *Catalog) Begin(ctx context.Context, store storage.Store, t *Timeline) (*Catalog, error) {
	there := &Catalog{Cluster: c.Cluster, store: store, by: c.by}
	if err := there.CopyTimeline(ctx, c, t); err != nil {
		return nil, err
	}
	if err := there.copyObject(ctx, c, "cluster.json"); err != nil {
		return nil, err
	}
	return Open(ctx, store, c.Cluster.Name, c.by)
}

// Same returns an error of kind TargetNotEmpty when the other archive is not of the same cluster.
func (c *Catalog) Same(other *Catalog) error {
	if other.Cluster.UUID != c.Cluster.UUID {
		return c.Differs("cluster.json", fmt.Errorf("cluster %s there is another one (%s)", c.Cluster.Name, c.Cluster.UUID))
	}
	return nil
}

// Differs is the error, of kind TargetNotEmpty, that the archive holds something else under a key than
// what is to be copied there.
func (c *Catalog) Differs(key string, err error) error {
	return fault.New(fault.TargetNotEmpty, "copy to", c.URL()+"/"+key, err).
		WithHint("Copy to another URL: what an archive holds is never changed.")
}

// CopyTimeline puts the description of a timeline, which may begin later than it does in from. The
// error is of kind TargetNotEmpty when the timeline is described otherwise here.
func (c *Catalog) CopyTimeline(ctx context.Context, from *Catalog, t *Timeline) error {
	there, err := from.TimelineAt(ctx, t.Number)
	if err != nil {
		return err
	}
	if t.Skipped == there.Skipped {
		err = c.copyObject(ctx, from, timelineKey(t.Number))
	} else {
		err = c.PutTimeline(ctx, t)
	}
	if !errors.Is(err, storage.ErrExist) {
		return err
	}
	here, err := c.TimelineAt(ctx, t.Number)
	if err == nil && !reflect.DeepEqual(here, t) {
		err = c.Differs(timelineKey(t.Number), errors.New("the timeline there is another one, or begins elsewhere"))
	}
	return err
}

// CopySegment puts a segment's manifest as it is in from; its data must be here already.
func (c *Catalog) CopySegment(ctx context.Context, from *Catalog, s *Segment) error {
	return c.copyObject(ctx, from, segmentKey(s.Timeline, s.First, s.Last))
}

// CopyBase puts a base backup's manifest as it is in from; its parts must be here already.
func (c *Catalog) CopyBase(ctx context.Context, from *Catalog, b *Base) error {
	return c.copyObject(ctx, from, baseKey(b.ID))
}

// PutSegment puts a manifest into an archive that nobody else writes to; its data must be there already.
func (c *Catalog) PutSegment(ctx context.Context, s *Segment) error {
	if err := checkSegment(s); err != nil {
		return err
	}
	return c.putNew(ctx, segmentKey(s.Timeline, s.First, s.Last), segmentToWire(s))
}

// copyObject puts a small object of from under the same key, if nothing else is there.
func (c *Catalog) copyObject(ctx context.Context, from *Catalog, key string) error {
	data, err := storage.ReadAll(ctx, from.store, from.key(key), maxObject)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if signed, err := sign(data); err != nil || !bytes.Equal(signed, data) {
		return damaged("read", key, errors.New("its own SHA-256 does not match"))
	}
	err = c.store.Put(ctx, c.key(key), data, true)
	if errors.Is(err, storage.ErrExist) {
		there, rerr := storage.ReadAll(ctx, c.store, c.key(key), maxObject)
		switch {
		case rerr != nil:
			return fmt.Errorf("read %s: %w", key, rerr)
		case bytes.Equal(there, data):
			return nil
		}
		return c.Differs(key, err)
	}
	return c.written(key, err)
}

// CopyData stores an object of from as it is, under its own key, and reads it back. read is told of
// every byte that is read from from.
func (c *Catalog) CopyData(ctx context.Context, from *Catalog, s Stored, read func(int)) error {
	r, err := from.OpenStored(ctx, s)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := c.Upload(ctx, s.Key, &told{r, read}); err != nil {
		return c.written(s.Key, err)
	}
	return c.VerifyStored(ctx, s)
}

// SealData stores plain bytes, sealed, under a key that nothing else has, and reads them back as they
// are stored.
func (c *Catalog) SealData(ctx context.Context, sealer *seal.Sealer, key string, plain io.Reader) (Stored, seal.Result, error) {
	key += sealer.Suffix()
	r, err := sealer.Seal(ctx, plain, func(ctx context.Context, r io.Reader) error { return c.Upload(ctx, key, r) })
	if err != nil {
		return Stored{}, r, c.written(key, err)
	}
	s := StoredAs(key, sealer, r)
	return s, r, c.VerifyStored(ctx, s)
}

// written names the object that could not be written.
func (c *Catalog) written(key string, err error) error {
	if err == nil || fault.KindOf(err) != fault.Other {
		return err
	}
	return fault.New(fault.Storage, "write", c.URL()+"/"+key, err)
}

// told tells of what is read.
type told struct {
	io.Reader
	read func(int)
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.read(n)
	return n, err
}
