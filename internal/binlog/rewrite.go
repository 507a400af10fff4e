package binlog

import (
	"encoding/binary"
	"errors"
	"slices"
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
	h.Put(b)
	b = append(append(b, body[:n]...), statement...)
	binary.LittleEndian.PutUint16(b[HeaderSize+9:], 0) // the error with which the statement ended
	if checksum {
		b = b[:size]
		seal(b)
	}
	return b, nil
}

// Of a QUERY event's status variables: the codes of the first two, and the bits of the second, the session's sql_mode,
// that make MariaDB take certain warnings for errors: STRICT_TRANS_TABLES and STRICT_ALL_TABLES.
const (
	statusFlags  = 0 // 4 bytes
	statusMode   = 1 // 8 bytes
	strictTables = 1<<21 | 1<<22
)

// RewriteLenient returns a whole QUERY event, compressed or not, whose session is not in strict mode. It returns event if that is
// so already. checksum says whether the file's events bear one.
func RewriteLenient(event []byte, checksum bool) ([]byte, error) {
	if len(event) < HeaderSize+queryFixed {
		return nil, errors.New("query event is too short")
	}
	body := event[HeaderSize:]
	at := queryFixed
	end := at + int(binary.LittleEndian.Uint16(body[11:]))
	if at < end && at < len(body) && body[at] == statusFlags {
		at += 5
	}
	if at+9 > min(end, len(body)) || body[at] != statusMode {
		return event, nil
	}
	mode := binary.LittleEndian.Uint64(body[at+1:])
	if mode&strictTables == 0 {
		return event, nil
	}
	b := slices.Clone(event)
	binary.LittleEndian.PutUint64(b[HeaderSize+at+1:], mode&^strictTables)
	if checksum {
		seal(b)
	}
	return b, nil
}

// tableMapFixed is the length of a TABLE_MAP event's body before the name of the database: the table's number, and flags.
const tableMapFixed = 8

// RewriteTableMap returns a whole TABLE_MAP event that names another database. checksum says whether the file's events
// bear one.
func RewriteTableMap(event []byte, database string, checksum bool) ([]byte, error) {
	at := HeaderSize + tableMapFixed
	if len(event) <= at || len(event) < at+int(event[at])+2 || len(database) > 255 {
		return nil, errors.New("table map event is too short")
	}
	rest := event[at+1+int(event[at]):]
	h, err := ParseHeader(event)
	if err != nil {
		return nil, err
	}
	h.Size = uint32(at + 1 + len(database) + len(rest))
	b := make([]byte, HeaderSize, h.Size)
	h.Put(b)
	b = append(append(b, event[HeaderSize:at]...), byte(len(database)))
	b = append(append(b, database...), rest...)
	if checksum {
		seal(b)
	}
	return b, nil
}
