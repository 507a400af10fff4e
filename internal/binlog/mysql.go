package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"tidemark/internal/gtid"
)

// mysqlGTID is what an event that begins a MySQL transaction says of it.
type mysqlGTID struct {
	gtid      gtid.GTID
	committed int64  // on the server whose binlog it is, µs since 1970
	length    uint64 // of the whole transaction in the file: this event and all that follow, bytes
}

var errGTIDCut = errors.New("GTID event is cut off")

// parseMySQLGTID reads the body of a GTID event:
//
//	flags u8 | uuid 16 bytes | number u64 | 2 u8 | last_committed u64 | sequence_number u64 |
//	immediate commit time 7 bytes, its top bit set if the original one follows | [original commit time 7 bytes] |
//	transaction length, length-encoded | versions, which are not looked at
func parseMySQLGTID(body []byte) (g mysqlGTID, err error) {
	const timesAt = 1 + 16 + 8 + 1 + 8 + 8
	if len(body) < timesAt+7+1 {
		return g, errGTIDCut
	}
	copy(g.gtid.UUID[:], body[1:])
	g.gtid.Seq = binary.LittleEndian.Uint64(body[17:])
	b := body[timesAt:]
	t := uint64(binary.LittleEndian.Uint32(b)) | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48
	b = b[7:]
	if t&(1<<55) != 0 {
		if len(b) < 7+1 {
			return g, errGTIDCut
		}
		b = b[7:]
	}
	g.committed = int64(t &^ (1 << 55))
	if g.length, err = lengthEncoded(b); err != nil {
		return g, err
	}
	return g, nil
}

// lengthEncoded reads one of the protocol's integers of 1, 3, 4 or 9 bytes.
func lengthEncoded(b []byte) (uint64, error) {
	size := 0
	switch {
	case len(b) == 0:
		return 0, errGTIDCut
	case b[0] < 0xfb:
		return uint64(b[0]), nil
	case b[0] == 0xfc:
		size = 2
	case b[0] == 0xfd:
		size = 3
	case b[0] == 0xfe:
		size = 8
	default:
		return 0, fmt.Errorf("GTID event has an integer that begins with %#x", b[0])
	}
	if len(b) < 1+size {
		return 0, errGTIDCut
	}
	var v [8]byte
	copy(v[:], b[1:1+size])
	return binary.LittleEndian.Uint64(v[:]), nil
}

// Fields of a tagged GTID event, by their numbers.
const (
	taggedFlags = iota
	taggedUUID
	taggedNumber
	taggedTag
	taggedLastCommitted
	taggedSequenceNumber
	taggedCommitted
	taggedOriginalCommitted
	taggedLength
)

// parseTaggedGTID reads the body of a GTID event that can have a tag. It is one message of MySQL's
// serialization format: version, size, number of the last field that must be known, then the fields, each
// with its number before it. All are integers of variable length (see serialized.next) but the tag, which
// has its length before it, and the bytes of the UUID, each an integer of its own.
func parseTaggedGTID(body []byte) (g mysqlGTID, err error) {
	s := serialized{b: body}
	s.next() // version
	s.next() // size
	s.next() // last field that must be known
	seen := 0
	for len(s.b) > 0 && seen&(1<<taggedLength) == 0 && s.err == nil {
		field := s.next()
		switch field {
		case taggedUUID:
			for i := range g.gtid.UUID {
				g.gtid.UUID[i] = byte(s.next())
			}
		case taggedNumber:
			g.gtid.Seq = uint64(s.signed())
		case taggedTag:
			g.gtid.Tag = s.text()
		case taggedLastCommitted, taggedSequenceNumber:
			s.signed()
		case taggedFlags, taggedOriginalCommitted:
			s.next()
		case taggedCommitted:
			g.committed = int64(s.next())
		case taggedLength:
			g.length = s.next()
		default:
			return g, fmt.Errorf("GTID event has the unknown field %d", field)
		}
		seen |= 1 << field
	}
	const wanted = 1<<taggedUUID | 1<<taggedNumber | 1<<taggedCommitted | 1<<taggedLength
	if s.err == nil && seen&wanted != wanted {
		s.err = errGTIDCut
	}
	return g, s.err
}

// serialized reads MySQL's serialization format.
type serialized struct {
	b   []byte
	err error
}

// next reads an integer: the number of one bits that end its first byte is the number of bytes that
// follow, and the value is what lies above them.
func (s *serialized) next() uint64 {
	if s.err != nil || len(s.b) == 0 {
		s.err = errGTIDCut
		return 0
	}
	more := bits.TrailingZeros8(^s.b[0])
	if len(s.b) < 1+more {
		s.err = errGTIDCut
		return 0
	}
	var v [8]byte
	var value uint64
	if more < 8 {
		copy(v[:], s.b[:1+more])
		value = binary.LittleEndian.Uint64(v[:]) >> (more + 1)
	} else {
		value = binary.LittleEndian.Uint64(s.b[1:])
	}
	s.b = s.b[1+more:]
	return value
}

// signed reads an integer with its sign in the lowest bit.
func (s *serialized) signed() int64 {
	v := s.next()
	if v&1 != 0 {
		return -int64(v>>1) - 1
	}
	return int64(v >> 1)
}

func (s *serialized) text() string {
	n := s.next()
	if s.err != nil || n > uint64(len(s.b)) {
		s.err = errGTIDCut
		return ""
	}
	text := string(s.b[:n])
	s.b = s.b[n:]
	return text
}
