package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tidemark/internal/failpoint"
	"tidemark/storage"
)

// keepHeads is how many heads a timeline keeps.
const keepHeads = 100

// PutHead stores a head under the next sequence number, which it sets, and removes the oldest ones.
func (c *Catalog) PutHead(ctx context.Context, h *Head) error {
	seqs, err := c.headSequences(ctx, h.Timeline)
	if err != nil {
		return err
	}
	h.Sequence = 1
	if n := len(seqs); n > 0 {
		h.Sequence = seqs[n-1] + 1
	}
	for {
		failpoint.Before(failpoint.PutHead)
		err := c.putNew(ctx, headKey(h.Timeline, h.Sequence), headToWire(h, c.Cluster.UUID))
		failpoint.After(failpoint.PutHead)
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrExist) {
			return err
		}
		there, err := c.HeadAt(ctx, h.Timeline, h.Sequence)
		if err != nil {
			return err
		}
		if there.Writer != h.Writer {
			return takenBy(headKey(h.Timeline, h.Sequence))
		}
		h.Sequence++ // one of ours that was put, and not listed yet
	}
	for len(seqs) >= keepHeads {
		err := c.store.Delete(ctx, c.key(headKey(h.Timeline, seqs[0])))
		if storage.Keeps(err) {
			break // it does no harm, and goes with a later one when the storage lets it go
		}
		if err != nil {
			return fmt.Errorf("remove an old head: %w", err)
		}
		seqs = seqs[1:]
	}
	return nil
}

// LastHead returns the newest head of a timeline, or nil when there is none.
func (c *Catalog) LastHead(ctx context.Context, timeline uint32) (*Head, error) {
	seqs, err := c.headSequences(ctx, timeline)
	if err != nil || len(seqs) == 0 {
		return nil, err
	}
	key := headKey(timeline, seqs[len(seqs)-1])
	m, err := readObject(ctx, c.store, c.key(key), newHead)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	h, err := headFromWire(m)
	if err != nil || h.Timeline != timeline || h.Sequence != seqs[len(seqs)-1] {
		return nil, damaged("read", key, errors.Join(err, fmt.Errorf("it is head %d of timeline %d", h.Sequence, h.Timeline)))
	}
	return h, nil
}

func (c *Catalog) headSequences(ctx context.Context, timeline uint32) ([]uint64, error) {
	var seqs []uint64
	prefix := c.key(headPrefix(timeline))
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list heads: %w", err)
		}
		name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), ".json")
		if n, err := strconv.ParseUint(name, 10, 64); ok && err == nil {
			seqs = append(seqs, n)
		}
	}
	return seqs, nil
}

// CheckHead compares the chain with the head that anchors its tail: a chain that is shorter, or
// that has other digests, is not the one that was archived. at returns the chain digest after a
// segment number, if the chain has it.
func CheckHead(h *Head, at func(number uint64) (Digest, bool)) error {
	if h == nil || h.Segment == 0 {
		return nil
	}
	d, ok := at(h.Segment)
	if !ok {
		return cutOff(h)
	}
	if d != h.Chain {
		return damaged("check", headKey(h.Timeline, h.Sequence), fmt.Errorf("the chain has another digest at segment %d", h.Segment))
	}
	return nil
}

// Anchor is what somebody who is not the archive knows of it: that its chain reached a segment, and that
// it had a head. What was cut off together with the heads shows by that alone.
type Anchor struct {
	Timeline uint32
	Segment  uint64 // 0: none
	Chain    Digest // after it
	Head     uint64 // sequence number of a head; 0: none is known
	From     string // who knows it, for people
}

func cutOff(h *Head) error {
	return damaged("check", headKey(h.Timeline, h.Sequence), fmt.Errorf("the archive reached segment %d once, and that is missing now", h.Segment))
}
