package transfer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// compare leaves out of the lines what a copy before this one has copied. What is there must be the
// same, and whole.
func (t *transfer) compare(ctx context.Context, lines []*line) error {
	if err := t.to.Same(t.from); err != nil {
		return err
	}
	t.sizes = make(map[string]int64)
	for o, err := range t.to.Objects(ctx, "") {
		if err != nil {
			return err
		}
		if o.Class == catalog.ClassData || o.Class == catalog.ClassPart {
			t.sizes[o.Key] = o.Size
		}
	}
	timelines, err := t.to.Timelines(ctx)
	if err != nil {
		return err
	}
	bases, err := t.to.Bases(ctx)
	if err != nil {
		return err
	}
	for _, l := range lines {
		for _, there := range timelines {
			if there.Number == l.Number {
				if err := t.log(ctx, l, there); err != nil {
					return err
				}
			}
		}
		if err := t.bases(l, bases); err != nil {
			return err
		}
	}
	return nil
}

// log leaves out the segments that are there.
func (t *transfer) log(ctx context.Context, l *line, there *catalog.Timeline) error {
	key := catalog.TimelineKey(l.Number)
	begins, _ := there.Begins()
	there = there.Raw()
	same := *there
	if same.Skipped, same.Seed = l.Skipped, l.Seed; !reflect.DeepEqual(same, *l.Timeline) {
		return t.to.Differs(key, errors.New("the timeline there is another one"))
	}
	if there.Skipped > l.Skipped {
		return t.to.Differs(key, fmt.Errorf("the timeline begins with segment %d there, and the copy with %d", there.Skipped+1, l.Skipped+1))
	}
	if there.Skipped < l.Skipped {
		// The copy before began earlier: it goes on as it began.
		l.Timeline = there
	}
	if begins > there.Skipped { // of what has expired there nothing is brought back
		l.Timeline = there
		l.segments = slices.DeleteFunc(l.segments, func(s *catalog.Segment) bool { return s.Last <= begins })
		l.bases = slices.DeleteFunc(l.bases, func(b *catalog.Base) bool { return b.Segment <= begins })
	}
	have := make(map[uint64]catalog.Digest)
	for s, err := range t.to.Segments(ctx, l.Number, 0) {
		if err != nil {
			return err
		}
		if err := t.acceptable(catalog.SegmentKey(l.Number, s.First, s.Last), s.Stored); err != nil {
			return err
		}
		for _, m := range s.Members {
			have[m.Number] = m.BodySHA256
		}
		l.last = s.Last
	}
	var left []*catalog.Segment
	for _, s := range l.segments {
		n := 0
		for _, m := range s.Members {
			d, ok := have[m.Number]
			if ok && d != m.BodySHA256 {
				return t.to.Differs(catalog.SegmentKey(l.Number, m.Number, m.Number), errors.New("the segment there is another one"))
			}
			if ok {
				n++
			}
		}
		if n == len(s.Members) {
			l.segmentsThere++
			continue
		}
		if len(left) == 0 && s.First > l.last+1 && l.last > l.Skipped {
			return t.to.Differs(catalog.SegmentKey(l.Number, l.last, l.last),
				fmt.Errorf("the log there ends with segment %d, and what is copied begins with %d", l.last, s.First))
		}
		left = append(left, s)
	}
	l.segments = left
	return nil
}

// bases leaves out the base backups that are there.
func (t *transfer) bases(l *line, there []*catalog.Base) error {
	var left []*catalog.Base
	for _, b := range l.bases {
		found := false
		for _, have := range there {
			if have.ID != b.ID {
				continue
			}
			if found = true; !sameBase(have, b) {
				return t.to.Differs("base/"+b.ID+"/manifest.json", errors.New("the base backup there is another one"))
			}
			for _, p := range have.Parts {
				if err := t.acceptable("base/"+b.ID+"/manifest.json", p.Stored); err != nil {
					return err
				}
			}
		}
		if found {
			l.basesThere++
		} else {
			left = append(left, b)
		}
	}
	l.bases = left
	return nil
}

// sameBase reports whether two manifests are of one base backup, however it is stored.
func sameBase(a, b *catalog.Base) bool {
	apart := func(b catalog.Base) catalog.Base {
		parts := make([]catalog.Part, len(b.Parts))
		for i, p := range b.Parts {
			p.Stored = catalog.Stored{}
			parts[i] = p
		}
		b.Parts = parts
		return b
	}
	return reflect.DeepEqual(apart(*a), apart(*b))
}

// acceptable checks that an object of a copy before this one is there, and not in the clear where this one is to be encrypted.
func (t *transfer) acceptable(manifest string, s catalog.Stored) error {
	if t.o.Recipients != nil && len(s.Recipients) == 0 {
		return t.to.Differs(manifest, errors.New("what is there is stored in the clear, and the copy is to be encrypted"))
	}
	return t.whole(s)
}

// whole checks that an object is there with its size.
func (t *transfer) whole(s catalog.Stored) error {
	size, ok := t.sizes[s.Key]
	switch {
	case !ok:
		return damagedThere(t.to, s.Key, storage.ErrNotExist)
	case size != s.Size:
		return damagedThere(t.to, s.Key, fmt.Errorf("it has %d bytes, its manifest says %d", size, s.Size))
	}
	return nil
}

func damagedThere(c *catalog.Catalog, key string, err error) error {
	return fault.New(fault.Integrity, "continue the copy", c.URL()+"/"+key, err).
		WithHint("Run `tidemark verify` on the copy; when it is damaged, copy to another URL.")
}
