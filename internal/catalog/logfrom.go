package catalog

import (
	"context"
	"fmt"

	"tidemark/internal/gtid"
)

// LogFrom returns the number of the segment from which on a base backup needs the log of its timeline: that in which its
// position lies, and of a copy whose position lies between two, the last one before which there is nothing
// that the copy may lack. Where that is not in one piece with the log at the upper position, it is the first one that is.
func (c *Catalog) LogFrom(ctx context.Context, b *Base) (uint64, error) {
	if b.PositionMin.Equal(b.PositionMax) || b.Flavor != gtid.MySQL {
		return b.Segment, nil
	}
	least, err := gtid.ParseSet(b.PositionMin.GTID)
	if err != nil {
		return 0, damaged("read the position of base backup "+b.ID+" in", baseKey(b.ID), err)
	}
	var all []Span
	for r, err := range c.ranges(ctx, b.Timeline, 0) {
		if err != nil {
			return 0, err
		}
		if r.first > b.Segment {
			break
		}
		all = append(all, Span{r.first, r.last})
	}
	chain, _, _ := Cover(1, all)
	end := len(chain) - 1
	if end < 0 || chain[end].Last < b.Segment {
		return b.Segment, nil // which is missing
	}
	lo := end
	for lo > 0 && chain[lo-1].Last+1 == chain[lo].First {
		lo--
	}
	for hi := end; lo < hi; {
		mid := (lo + hi + 1) / 2
		s, err := c.SegmentAt(ctx, b.Timeline, chain[mid].First, chain[mid].Last)
		if err != nil {
			return 0, err
		}
		before, err := gtid.ParseSet(s.Before.GTID)
		if err != nil {
			return 0, fmt.Errorf("the position before segment %s: %w", s.Name(), err)
		}
		if least.ContainsSet(before) {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return chain[lo].First, nil
}
