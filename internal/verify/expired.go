package verify

import (
	"errors"
	"slices"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// readExpiry reads what is no part of the archive any more, and takes it out of the inventory: it was put
// before anything was removed, so a listing made before shows nothing that it does not tell of.
func (v *verifier) readExpiry() error {
	var err error
	for _, l := range v.found.marks {
		if l.Class == catalog.ClassKeep {
			_, err = v.cat.KeepAt(v.ctx, l.Base, l.First)
		} else {
			_, err = v.cat.ExpiryAt(v.ctx, l.First)
		}
		if v.progress(1, 0); err == nil || errors.Is(err, storage.ErrNotExist) {
			continue // one that is gone was needless
		}
		if err := v.blame(l.Key, err); err != nil {
			return err
		}
	}
	if v.expiry, err = v.cat.Expiry(v.ctx); err != nil {
		v.expiry = new(catalog.Expiry)
		if !fault.Is(err, fault.Integrity) { // else it is blamed already
			return err
		}
	}
	for key, o := range v.found.data {
		if v.expiry.Covers(key) {
			o.user = key
			v.passOver(truth(v.o.Data || v.o.Stored), o.listed.Size)
		}
	}
	return nil
}

// passOver counts an object that has expired as done with.
func (v *verifier) passOver(reads, size int64) {
	v.report.Expired++
	v.progress(reads, reads*size)
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// goneMeanwhile reports whether an object that seems to be missing has expired or was replaced since the check began.
func (v *verifier) goneMeanwhile(key string) (bool, error) {
	e, err := v.cat.Expiry(v.ctx)
	switch {
	case fault.Is(err, fault.Integrity): // it is blamed by itself
	case err != nil:
		return false, err
	case e.Sequence > v.expiry.Sequence && e.Covers(key):
		return true, nil
	}
	return v.replaced(key)
}

// replaced reports whether the data of a segment is gone because a compacted one has taken its place. Its manifest went
// first, and that of the other covers it.
func (v *verifier) replaced(key string) (bool, error) {
	l := catalog.Classify(key)
	log := v.found.logs[l.Timeline]
	if l.Class != catalog.ClassData || log == nil || !slices.ContainsFunc(log.manifests, func(s catalog.Span) bool {
		return s.First <= l.First && l.Last <= s.Last && s.Last-s.First > l.Last-l.First
	}) {
		return false, nil
	}
	_, err := v.cat.SegmentAt(v.ctx, l.Timeline, l.First, l.Last)
	switch {
	case errors.Is(err, storage.ErrNotExist):
		return true, nil
	case err == nil, fault.Is(err, fault.Integrity):
		return false, nil
	}
	return false, err
}

// kept checks a run of segments that stays although what follows it has expired.
func (v *verifier) kept(n uint32, t *catalog.Timeline, l *log, k catalog.KeptLog, bases []*base) error {
	c := &chain{v: v, number: n, indexes: &indexes{v: v, timeline: n}, digests: make(map[uint64]catalog.Digest), bodies: make(map[uint64]catalog.Digest)}
	if t != nil { // as if its log began there
		run := *t
		run.Expired = catalog.ExpiredLog{Timeline: n, Through: k.First - 1, Chain: k.Before}
		c.t = &run
	}
	for _, b := range bases {
		if b.Timeline == n {
			c.wanted = append(c.wanted, b)
		}
	}
	var own []catalog.Span
	for _, s := range l.manifests {
		if s.First <= k.Last && s.Last >= k.First {
			own = append(own, s)
		}
	}
	spans, others, holes := catalog.Cover(k.First, own)
	next := k.First
	if m := len(spans); m > 0 {
		next = spans[m-1].Last + 1
	}
	if next <= k.Last {
		holes = append(holes, catalog.Span{First: next, Last: k.Last})
	}
	for _, h := range holes {
		v.add(Damage, catalog.SegmentKey(n, h.First, h.First), kindMissing, "the segment is missing, and a base backup that is kept needs it")
	}
	return c.walk(spans, others)
}
