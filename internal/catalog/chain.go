package catalog

import (
	"errors"
	"fmt"

	"tidemark/internal/binlog"
)

// checkSegment checks what a manifest says by itself.
func checkSegment(s *Segment) error {
	if uint64(len(s.Members)) != s.Last-s.First+1 {
		return fmt.Errorf("segment %s has %d members", s.Name(), len(s.Members))
	}
	var bytes uint64
	digest := s.ChainBefore
	for i, m := range s.Members {
		if m.Number != s.First+uint64(i) || m.BodyBytes == 0 {
			return fmt.Errorf("segment %s has number %d with %d bytes as member %d", s.Name(), m.Number, m.BodyBytes, i)
		}
		bytes += m.BodyBytes
		digest = NextDigest(digest, m.BodySHA256)
	}
	switch {
	case bytes != s.BodyBytes:
		return fmt.Errorf("the members of segment %s have %d bytes, the segment %d", s.Name(), bytes, s.BodyBytes)
	case len(s.Members) == 1 && s.Members[0].BodySHA256 != s.BodySHA256:
		return fmt.Errorf("segment %s and its only member have different digests", s.Name())
	case digest != s.ChainAfter:
		return fmt.Errorf("the chain digest of segment %s does not follow from its members", s.Name())
	case s.Source.File != "" && s.Source.End-s.Source.Start != s.BodyBytes:
		return fmt.Errorf("segment %s covers %d source bytes with %d of its own", s.Name(), s.Source.End-s.Source.Start, s.BodyBytes)
	case s.HeadBytes < uint64(len(binlog.Magic)):
		return fmt.Errorf("segment %s has a head of %d bytes", s.Name(), s.HeadBytes)
	case s.Stored.Key == "":
		return fmt.Errorf("segment %s names no stored object", s.Name())
	}
	return nil
}

// follows checks that s continues the chain after prev; nil means that s is the first one read.
func follows(t *Timeline, prev, s *Segment) error {
	key := segmentKey(s.Timeline, s.First, s.Last)
	switch {
	case prev == nil && begins(t, s):
		return damaged("read", key, errors.New("the chain does not begin with the timeline's digest seed"))
	case prev == nil:
		return nil
	case s.First != prev.Last+1:
		return missing(s.Timeline, prev.Last+1)
	case s.ChainBefore != prev.ChainAfter:
		return damaged("read", key, fmt.Errorf("the chain digest before it is not that after segment %s", prev.Name()))
	case !s.Before.Equal(prev.After):
		return damaged("read", key, fmt.Errorf("it begins at position %q, segment %s ends at %q", s.Before.GTID, prev.Name(), prev.After.GTID))
	case s.Source.SameFile(prev.Source) && s.Source.Start != prev.Source.End:
		return damaged("read", key, fmt.Errorf("it begins at %s, segment %s ends at %s", s.Source.StartPoint(), prev.Name(), prev.Source.EndPoint()))
	}
	return nil
}

// begins reports whether a segment holds the place where the log of its timeline begins, and has another
// chain digest there.
func begins(t *Timeline, s *Segment) bool {
	after, chain := t.Begins()
	if s.First == after+1 {
		return s.ChainBefore != chain
	}
	d, ok := s.chainAt(after)
	return ok && s.Last > after && d != chain
}
