package gtid

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A set on the wire, in PREVIOUS_GTIDS events and dump requests, all little-endian:
//
//	header u64 | for each source: uuid 16 bytes | [tag] | intervals u64 | for each: first u64, end u64 (exclusive)
//
// The header is the number of sources. Where the set has tags, its first and last byte are 1, the number
// lies between them, and each source has its tag: its length, doubled, in one byte, and its characters.
const taggedSet = 1<<56 | 1

// Encode returns the set as MySQL writes it.
func (s *Set) Encode() []byte {
	sources := s.sources()
	tagged := false
	for _, of := range sources {
		tagged = tagged || of.tag != ""
	}
	header := uint64(len(sources))
	if tagged {
		header = header<<8 | taggedSet
	}
	b := binary.LittleEndian.AppendUint64(nil, header)
	for _, of := range sources {
		b = append(b, of.uuid[:]...)
		if tagged {
			b = append(append(b, byte(2*len(of.tag))), of.tag...)
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s.m[of])))
		for _, i := range s.m[of] {
			b = binary.LittleEndian.AppendUint64(b, i.first)
			b = binary.LittleEndian.AppendUint64(b, i.end)
		}
	}
	return b
}

var errSetCut = errors.New("set of GTIDs is cut off")

// DecodeSet reads what Encode writes; all of b belongs to it.
func DecodeSet(b []byte) (*Set, error) {
	s := new(Set)
	if len(b) < 8 {
		return nil, errSetCut
	}
	n := binary.LittleEndian.Uint64(b)
	b = b[8:]
	tagged := n>>56 == 1
	if tagged {
		n = n << 8 >> 16
	}
	for range n {
		var of source
		if len(b) < len(of.uuid) {
			return nil, errSetCut
		}
		b = b[copy(of.uuid[:], b):]
		if tagged {
			if len(b) == 0 || len(b) <= int(b[0]/2) {
				return nil, errSetCut
			}
			size := int(b[0] / 2)
			if b[0]%2 != 0 || size > 0 && !isTag(string(b[1:1+size])) {
				return nil, fmt.Errorf("set of GTIDs has a damaged tag for %s", of.uuid)
			}
			of.tag, b = string(b[1:1+size]), b[1+size:]
		}
		if len(b) < 8 {
			return nil, errSetCut
		}
		intervals := binary.LittleEndian.Uint64(b)
		b = b[8:]
		if uint64(len(b))/16 < intervals {
			return nil, errSetCut
		}
		for range intervals {
			i := interval{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
			if i.first == 0 || i.end <= i.first || i.end > maxNumber+1 {
				return nil, fmt.Errorf("set of GTIDs has the range %d to %d for %s", i.first, i.end, of.uuid)
			}
			s.add(of, i)
			b = b[16:]
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("set of GTIDs has %d bytes too many", len(b))
	}
	return s, nil
}
