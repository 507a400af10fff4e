// Package binlog reads the binary log of MariaDB and MySQL: event headers, checksums, the few
// events that say where we are, and transaction boundaries. It decides nothing about I/O.
//
// A binlog is a 4-byte magic and a sequence of events. An event is a 19-byte little-endian header
//
//	timestamp u32 | type u8 | server_id u32 | event_size u32 | log_pos u32 | flags u16
//
// its body, and (where the FORMAT_DESCRIPTION_EVENT says so) a CRC-32 over header and body.
// log_pos is the offset of the event's end, modulo 2^32; MariaDB 11.4 and later leave it 0 inside
// transactions, so offsets here are counted, not read.
package binlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"tidemark/internal/gtid"
)

// Magic opens every binlog file.
const Magic = "\xfebin"

// Sizes in bytes.
const (
	HeaderSize   = 19
	ChecksumSize = 4
	// MaxEventSize is what a server can send; a header that claims more is damage.
	MaxEventSize = 1<<30 + 1<<20
)

// Type is an event type code.
type Type uint8

// The event types that are looked at.
const (
	TypeQuery             Type = 2
	TypeStop              Type = 3
	TypeRotate            Type = 4
	TypeIntvar            Type = 5
	TypeFormatDescription Type = 15
	TypeXID               Type = 16
	TypeExecuteLoadQuery  Type = 18
	TypeIncident          Type = 26
	TypeHeartbeat         Type = 27
	TypeMySQLGTID         Type = 33
	TypeAnonymousGTID     Type = 34
	TypePreviousGTIDs     Type = 35
	TypeXAPrepare         Type = 38
	TypePayload           Type = 40 // the events of a transaction, compressed; MySQL
	TypeHeartbeatV2       Type = 41
	TypeTaggedGTID        Type = 42
	TypeAnnotateRows      Type = 160
	TypeBinlogCheckpoint  Type = 161
	TypeMariaGTID         Type = 162
	TypeMariaGTIDList     Type = 163
	TypeStartEncryption   Type = 164 // of an encrypted file of MariaDB's, behind its format description; what follows is sent in the clear
	TypeQueryCompressed   Type = 165
)

// Header flags.
const (
	FlagInUse      = 0x0001 // FORMAT_DESCRIPTION of a file still written to; not covered by the CRC
	FlagArtificial = 0x0020 // made up for the connection, not in any file
)

// Header is the fixed part of an event.
type Header struct {
	Timestamp uint32 // seconds since 1970
	Type      Type
	ServerID  uint32
	Size      uint32 // whole event in bytes: header, body and checksum
	LogPos    uint32 // offset of the event's end modulo 2^32, or 0
	Flags     uint16
}

// ParseHeader reads a header from at least HeaderSize bytes.
func ParseHeader(b []byte) (Header, error) {
	h := Header{
		Timestamp: binary.LittleEndian.Uint32(b),
		Type:      Type(b[4]),
		ServerID:  binary.LittleEndian.Uint32(b[5:]),
		Size:      binary.LittleEndian.Uint32(b[9:]),
		LogPos:    binary.LittleEndian.Uint32(b[13:]),
		Flags:     binary.LittleEndian.Uint16(b[17:]),
	}
	if h.Size < HeaderSize || h.Size > MaxEventSize {
		return h, fmt.Errorf("event of type %d claims a size of %d bytes", h.Type, h.Size)
	}
	return h, nil
}

// Put writes the header into the first HeaderSize bytes of b.
func (h Header) Put(b []byte) {
	binary.LittleEndian.PutUint32(b, h.Timestamp)
	b[4] = byte(h.Type)
	binary.LittleEndian.PutUint32(b[5:], h.ServerID)
	binary.LittleEndian.PutUint32(b[9:], h.Size)
	binary.LittleEndian.PutUint32(b[13:], h.LogPos)
	binary.LittleEndian.PutUint16(b[17:], h.Flags)
}

// Artificial reports whether the event exists only on the connection: it is in no binlog file and
// takes no room in the count of offsets. Heartbeats carry no flag and are told by their type.
func (h Header) Artificial() bool {
	return h.Flags&FlagArtificial != 0 || h.Type == TypeHeartbeat || h.Type == TypeHeartbeatV2
}

// Time returns the header's timestamp.
func (h Header) Time() time.Time { return time.Unix(int64(h.Timestamp), 0).UTC() }

// Event is one event, or one fragment of an event larger than the reader's buffer. It and its Data
// are valid until the next call that returns one.
type Event struct {
	Header
	Data   []byte // this fragment: the first begins with the header, the last ends with the checksum
	File   string // source file, "" where unknown
	Offset uint64 // offset in the source file of the event's first byte
	First  bool   // first fragment
	Last   bool   // last fragment
	Head   bool   // part of a segment's own head, not of the source
	More   bool   // another event of the source's is already in memory: asking for it does not wait

	// Transactions. Begin, GTID and Committed are set on the first fragment; End and Open on every one.
	Begin     bool      // the event begins a transaction
	GTID      gtid.GTID // of the transaction the event begins or belongs to
	Committed int64     // of an event that begins one: when it was committed, µs since 1970; see CommitTime
	End       bool      // the event ends its transaction
	Open      bool      // a transaction is unfinished after this event
}

// CommitTime is when the transaction that the event begins was committed, on the server whose binlog it
// is: to the microsecond on MySQL. MariaDB tells, in whole seconds, when the statement began that
// committed it, and a session can forge that.
func (e *Event) CommitTime() time.Time { return time.UnixMicro(e.Committed).UTC() }

// End offset of the event in the source file.
func (e *Event) EndOffset() uint64 { return e.Offset + uint64(e.Size) }

// Boundary reports whether a log may be cut after this fragment.
func (e *Event) Boundary() bool { return e.Last && !e.Open }

// Point is a place in a source's binlog files.
type Point struct {
	File   string
	Offset uint64
}

// String returns "file:offset".
func (p Point) String() string { return fmt.Sprintf("%s:%d", p.File, p.Offset) }
