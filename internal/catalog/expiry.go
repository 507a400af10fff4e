package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidemark/internal/fault"
	pb "tidemark/proto/archive"
	"tidemark/storage"
)

// What has expired is no part of the archive any more, whether its objects are still there or not. That is
// decided once, for all timelines and base backups together, by a record that is put before anything is
// removed: so what was removed on purpose is told from what was lost, and the chain is checked from where
// it begins now. Readers go by the newest record.

// Expiry is a record of what has expired. It says all that the ones before it say.
type Expiry struct {
	Sequence    uint64 // 0: nothing has expired yet
	Decided     time.Time
	DeleteAfter time.Time    // from when on what it names may be removed
	Logs        []ExpiredLog // by ascending timeline
	Bases       []string     // ascending
}

// ExpiredLog is what of the log of a timeline has expired.
type ExpiredLog struct {
	Timeline uint32
	Through  uint64    // segments up to this number
	Chain    Digest    // after it
	Kept     []KeptLog // but these, ascending
}

// KeptLog is a run of segments that a base backup needs that is kept.
type KeptLog struct {
	First, Last uint64
	Before      Digest // chain digest before the first
}

// Log returns what of a timeline has expired.
func (e *Expiry) Log(timeline uint32) ExpiredLog {
	for _, l := range e.Logs {
		if l.Timeline == timeline {
			return l
		}
	}
	return ExpiredLog{Timeline: timeline}
}

// Has reports whether a base backup has expired.
func (e *Expiry) Has(base string) bool { return slices.Contains(e.Bases, base) }

// Keeps returns the run of segments that stays and holds a number, if there is one.
func (l ExpiredLog) Keeps(number uint64) (KeptLog, bool) {
	i := slices.IndexFunc(l.Kept, func(k KeptLog) bool { return k.First <= number && number <= k.Last })
	if i < 0 {
		return KeptLog{}, false
	}
	return l.Kept[i], true
}

// Gone reports whether the segments from first to last have expired and may be removed.
func (l ExpiredLog) Gone(first, last uint64) bool {
	return last <= l.Through && !slices.ContainsFunc(l.Kept, func(k KeptLog) bool { return first <= k.Last && k.First <= last })
}

const expiredPrefix = "expired/"

func expiryKey(sequence uint64) string { return fmt.Sprintf("%s%016d.json", expiredPrefix, sequence) }

func newExpiry() *pb.Expiry { return new(pb.Expiry) }

// PutExpiry puts a record under its sequence number, which must follow that of the newest. The error is
// storage.ErrExist when somebody else has put one.
func (c *Catalog) PutExpiry(ctx context.Context, e *Expiry) error {
	m := &pb.Expiry{FormatVersion: FormatVersion, ClusterUuid: c.Cluster.UUID, Sequence: e.Sequence, Decided: stamp(e.Decided),
		DeleteAfter: stamp(e.DeleteAfter), Bases: e.Bases, CreatedBy: c.by}
	for _, l := range e.Logs {
		w := &pb.ExpiredLog{Timeline: l.Timeline, Through: l.Through, Chain: l.Chain[:]}
		for _, k := range l.Kept {
			w.Kept = append(w.Kept, &pb.KeptLog{First: k.First, Last: k.Last, ChainBefore: k.Before[:]})
		}
		m.Logs = append(m.Logs, w)
	}
	return c.putNew(ctx, expiryKey(e.Sequence), m)
}

// Expiry returns the newest record; one that says nothing where there is none.
func (c *Catalog) Expiry(ctx context.Context) (*Expiry, error) {
	sequences, err := c.expirySequences(ctx)
	if err != nil || len(sequences) == 0 {
		return new(Expiry), err
	}
	return c.ExpiryAt(ctx, sequences[len(sequences)-1])
}

// Due returns the newest record that lets objects be removed at a time; one that says nothing where there
// is none.
func (c *Catalog) Due(ctx context.Context, now time.Time) (*Expiry, error) {
	sequences, err := c.expirySequences(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(sequences) {
		e, err := c.ExpiryAt(ctx, n)
		switch {
		case errors.Is(err, storage.ErrNotExist): // a later one has made it needless meanwhile
		case err != nil:
			return nil, err
		case !now.Before(e.DeleteAfter):
			return e, nil
		}
	}
	return new(Expiry), nil
}

// DropExpiries removes the records before one that has been carried out.
func (c *Catalog) DropExpiries(ctx context.Context, before uint64) error {
	sequences, err := c.expirySequences(ctx)
	for _, n := range sequences {
		if err == nil && n < before {
			err = c.Discard(ctx, expiryKey(n))
		}
	}
	return err
}

func (c *Catalog) expirySequences(ctx context.Context) ([]uint64, error) {
	var list []uint64
	prefix := c.key(expiredPrefix)
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list what has expired: %w", err)
		}
		if n, ok := parseNumber(strings.TrimPrefix(o.Key, prefix), 16, ".json"); ok {
			list = append(list, n)
		}
	}
	return list, nil
}

// ExpiryAt reads one record.
func (c *Catalog) ExpiryAt(ctx context.Context, sequence uint64) (*Expiry, error) {
	key := expiryKey(sequence)
	m, err := readObject(ctx, c.store, c.key(key), newExpiry)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	e, err := expiryFromWire(m)
	if err == nil && e.Sequence != sequence {
		err = fmt.Errorf("it is record %d", e.Sequence)
	}
	if err != nil {
		return nil, damaged("read", key, err)
	}
	return e, nil
}

func expiryFromWire(m *pb.Expiry) (*Expiry, error) {
	var r digests
	e := &Expiry{Sequence: m.Sequence, Decided: unstamp(m.Decided), DeleteAfter: unstamp(m.DeleteAfter), Bases: m.Bases}
	var timeline uint32
	for _, w := range m.Logs {
		l := ExpiredLog{Timeline: w.Timeline, Through: w.Through, Chain: r.get(w.Chain)}
		var last uint64
		for _, k := range w.Kept {
			if k.First <= last || k.Last < k.First || k.Last > w.Through {
				return nil, fmt.Errorf("of timeline %d it keeps segments %d to %d of %d", w.Timeline, k.First, k.Last, w.Through)
			}
			last = k.Last
			l.Kept = append(l.Kept, KeptLog{First: k.First, Last: k.Last, Before: r.get(k.ChainBefore)})
		}
		if w.Timeline <= timeline {
			return nil, fmt.Errorf("it names timeline %d behind timeline %d", w.Timeline, timeline)
		}
		timeline = w.Timeline
		e.Logs = append(e.Logs, l)
	}
	return e, r.err
}

// Covers reports whether an object, by its key, is one that the record lets be removed.
func (e *Expiry) Covers(key string) bool {
	switch l := classify(key); l.Class {
	case ClassSegment, ClassData:
		return e.Log(l.Timeline).Gone(l.First, l.Last)
	case ClassIndex: // a derived object has nothing to keep
		return l.Last <= e.Log(l.Timeline).Through
	case ClassBase, ClassPart, ClassKeep, ClassUnfinished:
		return e.Has(l.Base)
	}
	return false
}

// Mark tells timelines what of them has expired.
func (e *Expiry) Mark(all ...*Timeline) {
	for _, t := range all {
		t.Expired = e.Log(t.Number)
		t.apart = t.ParentSegment != 0 && e.Log(t.Parent).Through >= t.ParentSegment
	}
}

// Begins returns the number after which the log of the timeline begins, and the chain digest there.
func (t *Timeline) Begins() (after uint64, chain Digest) {
	if t.Expired.Through > t.Skipped {
		return t.Expired.Through, t.Expired.Chain
	}
	return t.Skipped, t.Seed
}

// Described returns the timeline as an archive describes it that has of it only what there is now.
func (t *Timeline) Described() *Timeline {
	d := t.Raw()
	d.Skipped, d.Seed = t.Begins()
	return d
}

// Raw returns the timeline as its description says it, without what has expired.
func (t *Timeline) Raw() *Timeline {
	r := *t
	r.Expired, r.apart = ExpiredLog{}, false
	return &r
}

// ErrExpired is the reason of errors about what is no part of the archive any more.
var ErrExpired = errors.New("it has expired")

func expired(timeline uint32, n uint64) error {
	return fault.New(fault.Unreachable, "read the chain", segmentKey(timeline, n, n), ErrExpired).
		WithHint("See with `tidemark list` where the log begins now.")
}
