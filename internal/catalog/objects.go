package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"tidemark/internal/failpoint"
	"tidemark/internal/fault"
	pb "tidemark/proto/archive"
	"tidemark/storage"
)

// message is an archive message with a format version.
type message interface {
	proto.Message
	GetFormatVersion() uint32
}

func newCluster() *pb.Cluster   { return new(pb.Cluster) }
func newTimeline() *pb.Timeline { return new(pb.Timeline) }
func newSegment() *pb.Segment   { return new(pb.Segment) }
func newHead() *pb.Head         { return new(pb.Head) }
func newBase() *pb.Base         { return new(pb.Base) }

// readObject reads and decodes a JSON object. What does not decode is an integrity failure; the hint
// says so when a later version wrote it. That it is not there is storage.ErrNotExist.
func readObject[M message](ctx context.Context, store storage.Store, key string, empty func() M) (M, error) {
	m := empty()
	data, err := storage.ReadAll(ctx, store, key, maxObject)
	if err != nil {
		return m, fmt.Errorf("read %s: %w", key, err)
	}
	err = decode(data, m)
	var other *otherVersion
	if errors.As(err, &other) {
		return m, fault.New(fault.Integrity, "read", key, err).
			WithHint("Use the version of tidemark that writes this archive, or a later one.")
	}
	if err != nil {
		return m, damaged("read", key, err)
	}
	return m, nil
}

// putNew stores a JSON object that must not exist yet. That a retried write of ours is there
// already is success; anything else there is storage.ErrExist.
func (c *Catalog) putNew(ctx context.Context, key string, m message) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	failpoint.Before(failpoint.PutManifest)
	err = c.store.Put(ctx, c.key(key), data, true)
	failpoint.After(failpoint.PutManifest)
	if errors.Is(err, storage.ErrExist) {
		if there, rerr := storage.ReadAll(ctx, c.store, c.key(key), maxObject); rerr == nil && bytes.Equal(there, data) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// ours refuses an object that was copied here from another cluster.
func (c *Catalog) ours(key, uuid string) error {
	if uuid != c.Cluster.UUID {
		return damaged("read", key, fmt.Errorf("it belongs to another cluster (%s)", uuid))
	}
	return nil
}

// PutTimeline stores a new timeline.
func (c *Catalog) PutTimeline(ctx context.Context, t *Timeline) error {
	return c.putNew(ctx, timelineKey(t.Number), timelineToWire(t, c.Cluster.UUID))
}

// Timelines returns all timelines by ascending number, with what of them has expired.
func (c *Catalog) Timelines(ctx context.Context) ([]*Timeline, error) {
	var list []*Timeline
	for o, err := range c.store.List(ctx, c.key("timelines/"), "") {
		if err != nil {
			return nil, fmt.Errorf("list timelines: %w", err)
		}
		if !strings.HasSuffix(o.Key, ".json") {
			continue
		}
		m, err := readObject(ctx, c.store, o.Key, newTimeline)
		if err != nil {
			return nil, err
		}
		if err := c.ours(o.Key, m.ClusterUuid); err != nil {
			return nil, err
		}
		t, err := timelineFromWire(m)
		if err != nil || c.key(timelineKey(m.Number)) != o.Key {
			return nil, damaged("read", o.Key, errors.Join(err, fmt.Errorf("it describes timeline %d", m.Number)))
		}
		list = append(list, t)
	}
	if len(list) == 0 {
		return nil, damaged("read", c.key("timelines/"), errors.New("no timeline is there"))
	}
	e, err := c.Expiry(ctx)
	if err != nil {
		return nil, err
	}
	e.Mark(list...)
	return list, nil
}

// Timeline returns one timeline; 0 means the newest.
func (c *Catalog) Timeline(ctx context.Context, number uint32) (*Timeline, error) {
	all, err := c.Timelines(ctx)
	if err != nil {
		return nil, err
	}
	return pick(all, number)
}

// pick returns one of all timelines; 0 means the newest.
func pick(all []*Timeline, number uint32) (*Timeline, error) {
	if number == 0 {
		return all[len(all)-1], nil
	}
	for _, t := range all {
		if t.Number == number {
			return t, nil
		}
	}
	return nil, fault.New(fault.Unreachable, "open timeline", fmt.Sprint(number), errors.New("there is no such timeline")).
		WithHint("See the timelines with `tidemark list`.")
}

func sha(b []byte) Digest { return sha256.Sum256(b) }
