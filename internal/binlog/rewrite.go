package binlog

import (
	"encoding/binary"
	"errors"
)

// queryFixed is the length of a QUERY event's body before its status variables.
const queryFixed = 13

// RewriteQuery returns a QUERY event with another statement in the place of that of event, which may be
// its first fragment; its session's settings and default database stay. Of a compressed one the result is
// not compressed. checksum says whether the file's events bear one.
func RewriteQuery(event []byte, statement string, checksum bool) ([]byte, error) {
	body := event[HeaderSize:]
	if len(body) < queryFixed {
		return nil, errors.New("query event is too short")
	}
	n := queryFixed + int(binary.LittleEndian.Uint16(body[11:])) + int(body[8]) + 1 // and the NUL behind the database
	if len(body) < n {
		return nil, errors.New("query event is too short")
	}
	h, err := ParseHeader(event)
	if err != nil {
		return nil, err
	}
	size := HeaderSize + n + len(statement)
	if checksum {
		size += ChecksumSize
	}
	h.Type, h.Size = TypeQuery, uint32(size)
	b := make([]byte, HeaderSize, size)
	h.put(b)
	b = append(append(b, body[:n]...), statement...)
	binary.LittleEndian.PutUint16(b[HeaderSize+9:], 0) // the error with which the statement ended
	if checksum {
		b = b[:size]
		seal(b)
	}
	return b, nil
}
