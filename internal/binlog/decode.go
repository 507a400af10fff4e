package binlog

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"

	"tidemark/internal/gtid"
)

// Flags of a MariaDB GTID event.
const (
	gtidStandalone    = 1 << 0 // the transaction is the one event that follows
	gtidGroupCommitID = 1 << 1
	gtidTransactional = 1 << 2
	gtidDDL           = 1 << 5
	gtidPreparedXA    = 1 << 6
	gtidCompletedXA   = 1 << 7
)

// The decoders take an event's body: what lies between header and checksum.

func parseGTID(h Header, body []byte) (g gtid.GTID, flags byte, err error) {
	if len(body) < 13 {
		return g, 0, fmt.Errorf("GTID event body of %d bytes is too short", len(body))
	}
	g = gtid.GTID{
		Seq:    binary.LittleEndian.Uint64(body),
		Domain: binary.LittleEndian.Uint32(body[8:]),
		Server: h.ServerID,
	}
	return g, body[12], nil
}

// ParseGTIDList reads a GTID_LIST event's body.
func ParseGTIDList(body []byte) ([]gtid.GTID, error) {
	if len(body) < 4 {
		return nil, fmt.Errorf("GTID list body of %d bytes is too short", len(body))
	}
	n := int(binary.LittleEndian.Uint32(body) & 0x0fffffff)
	if len(body)-4 < 16*n {
		return nil, fmt.Errorf("GTID list of %d entries in %d bytes", n, len(body))
	}
	list := make([]gtid.GTID, n)
	for i := range list {
		e := body[4+16*i:]
		list[i] = gtid.GTID{
			Domain: binary.LittleEndian.Uint32(e),
			Server: binary.LittleEndian.Uint32(e[4:]),
			Seq:    binary.LittleEndian.Uint64(e[8:]),
		}
	}
	return list, nil
}

// ListedState reads an event that says what the log holds up to it: GTID_LIST on MariaDB, PREVIOUS_GTIDS
// on MySQL. Of any other event it returns nil.
func ListedState(ev *Event, body []byte) (*gtid.State, error) {
	switch {
	case ev.Type != TypeMariaGTIDList && ev.Type != TypePreviousGTIDs:
		return nil, nil
	case !ev.First || !ev.Last:
		return nil, fmt.Errorf("a list of GTIDs of %d bytes is larger than the buffer", ev.Size)
	case ev.Type == TypePreviousGTIDs:
		set, err := gtid.DecodeSet(body)
		if err != nil {
			return nil, err
		}
		return gtid.NewSetState(set), nil
	}
	list, err := ParseGTIDList(body)
	if err != nil {
		return nil, err
	}
	return gtid.NewState(list), nil
}

// ParseRotate reads a ROTATE event's body: the file that comes next and the offset in it.
func ParseRotate(body []byte) (Point, error) {
	if len(body) < 9 {
		return Point{}, fmt.Errorf("rotate body of %d bytes is too short", len(body))
	}
	return Point{File: string(body[8:]), Offset: binary.LittleEndian.Uint64(body)}, nil
}

// ParseHeartbeat reads a heartbeat: the sender's position. That of the first version has 32 bits.
func ParseHeartbeat(h Header, body []byte) (Point, error) {
	if h.Type != TypeHeartbeatV2 {
		return Point{File: string(body), Offset: uint64(h.LogPos)}, nil
	}
	// Fields of type u8, length u8 and value; the length-encoded integers are all that short.
	const end, file, position = 0, 1, 2
	var p Point
	for len(body) >= 2 && body[0] != end {
		n := int(body[1])
		if len(body) < 2+n {
			return p, fmt.Errorf("heartbeat with a field of %d bytes is cut off", n)
		}
		value := body[2 : 2+n]
		switch body[0] {
		case file:
			p.File = string(value)
		case position:
			var err error
			if p.Offset, err = lengthEncoded(value); err != nil {
				return p, err
			}
		}
		body = body[2+n:]
	}
	return p, nil
}

// Statement returns the default database and the statement of a QUERY event, or of one that MariaDB has compressed: of that so many
// bytes at most.
func Statement(typ Type, body []byte, most int) (db, text []byte, err error) {
	db, text, err = queryText(body)
	if err == nil && typ == TypeQueryCompressed {
		text = Inflate(text, most)
	}
	return db, text, err
}

// Inflate returns the beginning of what MariaDB compressed: a byte whose low three bits are the
// length of the length that follows, that length, and a zlib stream, of which the end may be missing.
func Inflate(b []byte, most int) []byte {
	if len(b) < 1 || len(b) < 1+int(b[0]&7) {
		return nil
	}
	r, err := zlib.NewReader(bytes.NewReader(b[1+int(b[0]&7):]))
	if err != nil {
		return nil
	}
	plain, _ := io.ReadAll(io.LimitReader(r, int64(most))) // as much as there is
	return plain
}

// queryText returns the default database and the statement of a QUERY event.
func queryText(body []byte) (db, text []byte, err error) {
	const fixed = 13
	if len(body) < fixed {
		return nil, nil, fmt.Errorf("query body of %d bytes is too short", len(body))
	}
	dbLen := int(body[8])
	at := fixed + int(binary.LittleEndian.Uint16(body[11:]))
	if len(body) < at+dbLen+1 {
		return nil, nil, fmt.Errorf("query body of %d bytes is cut off", len(body))
	}
	return body[at : at+dbLen], body[at+dbLen+1:], nil
}

// body returns the bytes between header and checksum of a whole event, or of the first fragment of
// a large one (then without its end).
func body(data []byte, size uint32, checksum bool) []byte {
	end := int(size)
	if checksum {
		end -= ChecksumSize
	}
	if end < HeaderSize {
		end = HeaderSize
	}
	return data[HeaderSize:min(end, len(data))]
}
