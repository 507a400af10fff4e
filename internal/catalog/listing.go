package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/storage"
)

// This file is the archive as a heap of objects, each by itself: for those who check it and must go
// on where the chain cannot be followed any more.

// Class is what a key says that its object is.
type Class int

// The classes.
const (
	ClassUnknown    Class = iota
	ClassCluster          // cluster.json
	ClassTimeline         // a timeline's description
	ClassSegment          // a segment's manifest
	ClassData             // a segment's data
	ClassHead             // a head
	ClassIndex            // manifests together
	ClassBase             // a base backup's manifest
	ClassPart             // a part of its data
	ClassLease            // who archives
	ClassProbe            // left by a test of the storage
	ClassKeep             // a mark on a base backup
	ClassExpiry           // a record of what has expired
	ClassUnfinished       // says that a base backup is being stored
)

// Listed is a stored object and what its key says.
type Listed struct {
	Key         string // relative to the cluster
	Size        int64
	Modified    time.Time
	Class       Class
	Timeline    uint32 // of ClassTimeline, ClassSegment, ClassData, ClassHead and ClassIndex
	First, Last uint64 // segment numbers; of a head, a mark, a record and a lease, its sequence number twice
	Base        string // of ClassBase, ClassPart, ClassKeep and ClassUnfinished
}

// KeepHeads is how many heads of a timeline are kept when old ones are pruned.
const KeepHeads = keepHeads

// ProbePrefix begins the keys of objects that only test the storage; they may be removed.
const ProbePrefix = "check/"

// Objects lists every object of the cluster whose key begins with prefix, in the order of keys.
func (c *Catalog) Objects(ctx context.Context, prefix string) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		for o, err := range c.store.List(ctx, c.key(prefix), "") {
			if err != nil {
				yield(Listed{}, fmt.Errorf("list the archive: %w", err))
				return
			}
			l := classify(strings.TrimPrefix(o.Key, c.key("")))
			l.Size, l.Modified = o.Size, o.Modified
			if !yield(l, nil) {
				return
			}
		}
	}
}

// Classify tells what an object is by its key, relative to the cluster.
func Classify(key string) Listed { return classify(key) }

// classify reads a key.
func classify(key string) Listed {
	l := Listed{Key: key}
	dir, rest, _ := strings.Cut(key, "/")
	switch dir {
	case "cluster.json":
		l.Class = ClassCluster
	case "timelines":
		n, ok := parseNumber(rest, 8, ".json")
		if l.Timeline = uint32(n); ok {
			l.Class = ClassTimeline
		}
	case "log":
		t, name, _ := strings.Cut(rest, "/")
		n, ok := parseNumber(t, 8, "")
		if l.Timeline = uint32(n); ok {
			l.classifyLog(name)
		}
	case "base":
		id, name, _ := strings.Cut(rest, "/")
		l.Base, l.Class = id, ClassPart
		if name == "manifest.json" {
			l.Class = ClassBase
		} else if l.Key == unfinishedKey(id) {
			l.Class = ClassUnfinished
		} else if seq, ok := strings.CutPrefix(name, "keep/"); ok {
			if l.First, ok = parseNumber(seq, 16, ".json"); ok {
				l.Class, l.Last = ClassKeep, l.First
			} else {
				l.Class = ClassUnknown
			}
		} else if _, ok := parseNumber(name[:min(5, len(name))], 5, ""); !ok {
			l.Class = ClassUnknown
		}
	case strings.TrimSuffix(expiredPrefix, "/"):
		if n, ok := parseNumber(rest, 16, ".json"); ok {
			l.Class, l.First, l.Last = ClassExpiry, n, n
		}
	case strings.TrimSuffix(leasePrefix, "/"):
		if n, ok := parseNumber(rest, 16, ".json"); ok {
			l.Class, l.First, l.Last = ClassLease, n, n
		}
	case strings.TrimSuffix(ProbePrefix, "/"):
		l.Class = ClassProbe
	}
	return l
}

func (l *Listed) classifyLog(name string) {
	if seq, ok := strings.CutPrefix(name, "heads/"); ok {
		if l.First, ok = parseNumber(seq, 16, ".json"); ok {
			l.Class, l.Last = ClassHead, l.First
		}
		return
	}
	if span, ok := strings.CutPrefix(name, "index/"); ok {
		if l.First, l.Last, ok = parseRange(span, ".json.zst"); ok {
			l.Class = ClassIndex
		}
		return
	}
	span, suffix, _ := strings.Cut(name, ".")
	first, last, ok := parseRange(span, "")
	if !ok || strings.Contains(suffix, "/") {
		return
	}
	l.First, l.Last, l.Class = first, last, ClassData
	if suffix == "json" {
		l.Class = ClassSegment
	}
}

// parseNumber reads exactly width digits before suffix.
func parseNumber(s string, width int, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(s, suffix)
	if !ok || len(digits) != width {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// Span is a range of segment numbers.
type Span struct{ First, Last uint64 }

// Cover sorts the manifests of a timeline, each given by what it covers, into those that make up the
// chain from segment first on (the widest where several cover a number), the others, and the holes
// between those of the chain.
func Cover(first uint64, manifests []Span) (chain, others, holes []Span) {
	all := slices.SortedFunc(slices.Values(manifests), func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last))
	})
	next := max(first, 1)
	var best Span
	take := func() { chain, next, best = append(chain, best), best.Last+1, Span{} }
	for _, s := range all {
		if s.First > next && best.Last >= next {
			take()
		}
		if s.First > next {
			holes = append(holes, Span{next, s.First - 1})
			next = s.First
		}
		switch {
		case s.Last < next || s.Last <= best.Last:
			others = append(others, s)
		default:
			if best.Last > 0 {
				others = append(others, best)
			}
			best = s
		}
	}
	if best.Last >= next {
		take()
	}
	return chain, others, holes
}

// LogPrefix is where all objects of a timeline's log are.
func LogPrefix(timeline uint32) string { return logPrefix(timeline) }

// SegmentKey is the key of a segment's manifest.
func SegmentKey(timeline uint32, first, last uint64) string { return segmentKey(timeline, first, last) }

// TimelineKey is the key of a timeline's description.
func TimelineKey(number uint32) string { return timelineKey(number) }

// HeadKey is the key of a head.
func HeadKey(timeline uint32, sequence uint64) string { return headKey(timeline, sequence) }

// SegmentAt reads one segment's manifest and checks what it says by itself.
func (c *Catalog) SegmentAt(ctx context.Context, timeline uint32, first, last uint64) (*Segment, error) {
	return c.segment(ctx, timeline, span{first, last})
}

// SegmentAs is SegmentAt for one that an index object holds: if the manifest is, byte for byte, the one
// that the index was made from, it is what the index says and need not be decoded.
func (c *Catalog) SegmentAs(ctx context.Context, timeline uint32, first, last uint64, known *Segment) (*Segment, error) {
	if known == nil || known.Manifest == (Digest{}) {
		return c.SegmentAt(ctx, timeline, first, last)
	}
	key := segmentKey(timeline, first, last)
	data, err := storage.ReadAll(ctx, c.store, c.key(key), maxObject)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if own, err := signature(data); err != nil || own != known.Manifest {
		return c.SegmentAt(ctx, timeline, first, last)
	}
	return known, nil
}

// Follows checks that s continues its timeline after prev; nil means that s is the first one known.
func Follows(t *Timeline, prev, s *Segment) error { return follows(t, prev, s) }

// TimelineAt reads the description of one timeline as it is, without what has expired.
func (c *Catalog) TimelineAt(ctx context.Context, number uint32) (*Timeline, error) {
	key := timelineKey(number)
	m, err := readObject(ctx, c.store, c.key(key), newTimeline)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	t, err := timelineFromWire(m)
	if err == nil && t.Number != number {
		err = fmt.Errorf("it describes timeline %d", t.Number)
	}
	if err != nil {
		return nil, damaged("read", key, err)
	}
	return t, nil
}

// HeadAt reads one head.
func (c *Catalog) HeadAt(ctx context.Context, timeline uint32, sequence uint64) (*Head, error) {
	key := headKey(timeline, sequence)
	m, err := readObject(ctx, c.store, c.key(key), newHead)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	h, err := headFromWire(m)
	if err == nil && (h.Timeline != timeline || h.Sequence != sequence) {
		err = fmt.Errorf("it is head %d of timeline %d", h.Sequence, h.Timeline)
	}
	if err != nil {
		return nil, damaged("read", key, err)
	}
	return h, nil
}

// BaseAt reads the manifest of one base backup.
func (c *Catalog) BaseAt(ctx context.Context, id string) (*Base, error) {
	return c.base(ctx, c.key(baseKey(id)), id)
}

// IndexAt reads an index object: manifests, not checked against those they were made from.
func (c *Catalog) IndexAt(ctx context.Context, timeline uint32, first, last uint64) ([]*Segment, error) {
	key := indexKey(timeline, first, last)
	idx, err := c.index(ctx, c.key(key))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	list := make([]*Segment, len(idx.Segments))
	for i, m := range idx.Segments {
		s, err := segmentFromWire(m)
		if err == nil && (m.ClusterUuid != c.Cluster.UUID || s.Timeline != timeline) {
			err = errors.New("it holds the manifest of a segment of another timeline or cluster")
		}
		if err == nil {
			err = checkSegment(s)
		}
		if err != nil {
			return nil, damaged("read", key, err)
		}
		list[i] = s
	}
	return list, nil
}
