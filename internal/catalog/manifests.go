package catalog

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"tidemark/internal/ordered"
)

// Reading many manifests: a thousand of them come as one index object, the others by themselves, some
// at the same time, and what was read is held only until it is asked for.
const (
	chunksAtOnce  = 3  // one is used while the others are read
	readsAtOnce   = 8  // of single manifests
	withoutIndex  = 64 // manifests in a chunk that no index has
	leastForIndex = IndexEvery / 10
)

// found is a manifest that was asked for, or why there is none.
type found struct {
	span
	seg *Segment
	err error
}

// manifests reads the manifests of spans, which must ascend, and yields them in order, each checked by
// itself. A consumer may stop at any time.
func (c *Catalog) manifests(ctx context.Context, timeline uint32, spans []span) (iter.Seq[found], error) {
	objects, err := c.indexObjects(ctx, timeline, spans)
	if err != nil {
		return nil, err
	}
	return func(yield func(found) bool) {
		type part struct {
			spans []span
			index *span // that may hold them
		}
		parts := func(yield func(part) bool) {
			for rest := spans; len(rest) > 0; {
				n, index := chunk(rest, objects)
				if !yield(part{rest[:n], index}) {
					return
				}
				rest = rest[n:]
			}
		}
		for list := range ordered.Map(ctx, chunksAtOnce, parts, func(ctx context.Context, p part) []found {
			return c.readChunk(ctx, timeline, p.spans, p.index)
		}) {
			for _, f := range list {
				if !yield(f) {
					return
				}
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(found{err: err})
		}
	}, nil
}

// chunk returns how many of the spans to read together, and the index object that may hold them, if
// there is one.
func chunk(spans []span, objects []span) (int, *span) {
	end, object := spans[0].first+withoutIndex-1, (*span)(nil)
	for i, o := range objects {
		if o.first <= spans[0].first && spans[0].first <= o.last {
			end, object = o.last, &objects[i]
			break
		}
		if o.first > spans[0].first {
			end = min(end, o.first-1)
		}
	}
	n, _ := slices.BinarySearchFunc(spans, end+1, func(s span, first uint64) int {
		if s.first < first {
			return -1
		}
		return 1
	})
	return max(n, 1), object
}

// readChunk reads manifests from an index object, and by themselves what that does not have.
func (c *Catalog) readChunk(ctx context.Context, timeline uint32, spans []span, object *span) []found {
	list := make([]found, len(spans))
	var indexed map[span]*Segment
	if object != nil {
		indexed = c.fromIndex(ctx, timeline, *object)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, readsAtOnce)
	for i, s := range spans {
		list[i].span = s
		if list[i].seg = indexed[s]; list[i].seg != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			list[i].seg, list[i].err = c.segment(ctx, timeline, s)
			<-slots
		})
	}
	wg.Wait()
	return list
}

// indexObjects lists the index objects of a timeline that may hold wanted manifests, unless these are
// few.
func (c *Catalog) indexObjects(ctx context.Context, timeline uint32, want []span) ([]span, error) {
	if len(want) < leastForIndex {
		return nil, nil
	}
	var objects []span
	prefix := c.key(indexPrefix(timeline))
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list index objects: %w", err)
		}
		first, last, ok := parseRange(strings.TrimPrefix(o.Key, prefix), ".json.zst")
		if ok && last >= want[0].first && first <= want[len(want)-1].first {
			objects = append(objects, span{first, last})
		}
	}
	return objects, nil
}

// fromIndex returns the manifests that an index object holds. One that does not read, or says what
// cannot be, is passed over: the manifests themselves say everything.
func (c *Catalog) fromIndex(ctx context.Context, timeline uint32, object span) map[span]*Segment {
	idx, err := c.index(ctx, c.key(indexKey(timeline, object.first, object.last)))
	if err != nil {
		return nil
	}
	held := make(map[span]*Segment, len(idx.Segments))
	for _, m := range idx.Segments {
		s, err := segmentFromWire(m)
		if err == nil && m.ClusterUuid == c.Cluster.UUID && s.Timeline == timeline && checkSegment(s) == nil {
			held[span{s.First, s.Last}] = s
		}
	}
	return held
}
