package verify

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// indexes reads the index objects of a timeline as the walk comes to what they hold. It is for one
// goroutine at a time.
type indexes struct {
	v        *verifier
	timeline uint32
	left     []catalog.Span // not read yet, ascending
	held     map[catalog.Span]*indexed
}

// indexed is what an index object says of a segment.
type indexed struct {
	key string // of the index object
	seg *catalog.Segment
}

// at returns what an index object says of the manifest of a span; nil: none has it. Spans must ascend.
func (x *indexes) at(s catalog.Span) (*indexed, error) {
	for len(x.left) > 0 && x.left[0].First <= s.First {
		if err := x.next(); err != nil {
			return nil, err
		}
	}
	return x.held[s], nil
}

// rest reads the index objects that the walk had no use for.
func (x *indexes) rest() error {
	for len(x.left) > 0 {
		if err := x.next(); err != nil {
			return err
		}
	}
	return nil
}

// next reads the next index object. A bad one costs nothing but requests.
func (x *indexes) next() error {
	s := x.left[0]
	x.left, x.held = x.left[1:], nil
	key := fmt.Sprintf("log/%08d/index/%016d-%016d.json.zst", x.timeline, s.First, s.Last)
	list, err := x.v.cat.IndexAt(x.v.ctx, x.timeline, s.First, s.Last)
	x.v.progress(1, 0)
	switch {
	case x.v.ctx.Err() != nil || fault.Is(err, fault.Storage):
		return errors.Join(x.v.ctx.Err(), err)
	case errors.Is(err, storage.ErrNotExist): // removed meanwhile
		return nil
	case err != nil:
		x.v.add(Warning, key, kindDamaged, "%s; it is passed over", cause(err))
		return nil
	}
	x.held = make(map[catalog.Span]*indexed, len(list))
	for _, seg := range list {
		x.held[catalog.Span{First: seg.First, Last: seg.Last}] = &indexed{key, seg}
	}
	return nil
}

// trusted is what a manifest that is the one indexed need not be decoded for. Where all is read, that
// is, too.
func (v *verifier) trusted(x *indexed) *catalog.Segment {
	if x == nil || v.o.Data {
		return nil
	}
	return x.seg
}

// checkIndexed compares what an index object says of a segment with its manifest.
func (v *verifier) checkIndexed(x *indexed, s *catalog.Segment) {
	if x != nil && x.seg != s && fingerprint(x.seg) != fingerprint(s) {
		v.add(Damage, x.key, kindInconsistent, "what it says of segment %s is not what the manifest says", s.Name())
	}
}

// fingerprint identifies all that a manifest says.
func fingerprint(s *catalog.Segment) catalog.Digest {
	data, err := catalog.EncodeSegment(s)
	if err != nil {
		return catalog.Digest{}
	}
	return sha256.Sum256(data)
}
