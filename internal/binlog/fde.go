package binlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"tidemark/internal/gtid"
)

// FormatDescription is the first event of every binlog file: who wrote it and how to read it.
type FormatDescription struct {
	ServerID      uint32
	ServerVersion string // as "10.11.19-MariaDB-log"
	Timestamp     uint32 // of the event: when the file was begun, seconds
	Created       uint32 // when the server started, in the first file after a start; else 0
	Checksum      bool   // events carry a CRC-32
	raw           []byte // the whole event
}

const (
	fdeVersionAt = HeaderSize + 2
	fdeCreatedAt = fdeVersionAt + 50
	fdeMinSize   = fdeCreatedAt + 4 + 1 + 1 + ChecksumSize
)

// ParseFormatDescription reads a whole event, checksum included, and checks it.
func ParseFormatDescription(event []byte) (*FormatDescription, error) {
	if len(event) < fdeMinSize {
		return nil, fmt.Errorf("format description event of %d bytes is too short", len(event))
	}
	h, err := ParseHeader(event)
	if err != nil {
		return nil, err
	}
	if h.Type != TypeFormatDescription {
		return nil, fmt.Errorf("event of type %d where a format description is expected", h.Type)
	}
	if v := binary.LittleEndian.Uint16(event[HeaderSize:]); v != 4 {
		return nil, fmt.Errorf("binlog version %d is not supported", v)
	}
	version := event[fdeVersionAt:fdeCreatedAt]
	if i := bytes.IndexByte(version, 0); i >= 0 {
		version = version[:i]
	}
	f := &FormatDescription{
		ServerID:      h.ServerID,
		ServerVersion: string(version),
		Timestamp:     h.Timestamp,
		Created:       binary.LittleEndian.Uint32(event[fdeCreatedAt:]),
		raw:           bytes.Clone(event),
	}
	// It carries a checksum even where the other events do not. But there a server does not renew it
	// when it sends the event without log_pos or created.
	alg := event[len(event)-ChecksumSize-1]
	if stale := alg == 0 && (h.LogPos == 0 || f.Created == 0); !stale && !checksumOK(event) {
		return nil, errors.New("format description event has a wrong checksum")
	}
	if alg > 1 {
		return nil, fmt.Errorf("binlog checksum algorithm %d is not supported", alg)
	}
	f.Checksum = alg == 1
	return f, nil
}

// MariaDB reports whether a MariaDB server wrote the file.
func (f *FormatDescription) MariaDB() bool { return strings.Contains(f.ServerVersion, "MariaDB") }

// Raw returns the whole event as it was read. It must not be changed.
func (f *FormatDescription) Raw() []byte { return f.raw }

// Copy returns the event as the head of a file that begins in the middle of the source's: created
// and log_pos are 0 (a created time would tell an applier that the source restarted) and the
// checksum is new.
func (f *FormatDescription) Copy() []byte {
	b := f.neutral()
	seal(b)
	return b
}

// Fingerprint identifies the file among files of one name: the SHA-256 of the event without what
// a server changes when it sends the event again. Together with Timestamp it tells a file from one
// that took its name after RESET MASTER.
func (f *FormatDescription) Fingerprint() [sha256.Size]byte { return sha256.Sum256(f.neutral()) }

func (f *FormatDescription) neutral() []byte {
	b := bytes.Clone(f.raw)
	binary.LittleEndian.PutUint32(b[fdeCreatedAt:], 0)
	binary.LittleEndian.PutUint32(b[13:], 0) // log_pos
	b[17] &^= FlagInUse
	binary.LittleEndian.PutUint32(b[len(b)-ChecksumSize:], 0)
	return b
}

// Head returns what stands before a body that begins at the given offset of a source file: the
// magic alone before offset 4, else magic, a copy of the file's format description, and a GTID_LIST or
// PREVIOUS_GTIDS event with the binlog state there.
func (f *FormatDescription) Head(offset uint64, state *gtid.State) []byte {
	head := []byte(Magic)
	if offset <= uint64(len(Magic)) {
		return head
	}
	head = append(head, f.Copy()...)
	if set := state.Set(); set != nil {
		return append(head, previousGTIDs(f, set)...)
	}
	return append(head, GTIDListEvent(f, state.List())...)
}

// GTIDListEvent builds MariaDB's GTID_LIST event, flagged artificial, with log_pos 0.
func GTIDListEvent(f *FormatDescription, list []gtid.GTID) []byte {
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, g := range list {
		body = binary.LittleEndian.AppendUint32(body, g.Domain)
		body = binary.LittleEndian.AppendUint32(body, g.Server)
		body = binary.LittleEndian.AppendUint64(body, g.Seq)
	}
	return f.artificial(TypeMariaGTIDList, 0, body)
}

// previousGTIDs builds MySQL's PREVIOUS_GTIDS event, flagged artificial, with log_pos 0.
func previousGTIDs(f *FormatDescription, set *gtid.Set) []byte {
	const ignorable = 0x80
	return f.artificial(TypePreviousGTIDs, ignorable, set.Encode())
}

// artificial builds an event of a segment's head.
func (f *FormatDescription) artificial(typ Type, flags uint16, body []byte) []byte {
	n := HeaderSize + len(body)
	if f.Checksum {
		n += ChecksumSize
	}
	b := make([]byte, n)
	Header{Timestamp: f.Timestamp, Type: typ, ServerID: f.ServerID, Size: uint32(n), Flags: flags | FlagArtificial}.Put(b)
	copy(b[HeaderSize:], body)
	if f.Checksum {
		seal(b)
	}
	return b
}

// seal writes the checksum of a whole event into its last four bytes.
func seal(event []byte) {
	n := len(event) - ChecksumSize
	binary.LittleEndian.PutUint32(event[n:], crc32.ChecksumIEEE(event[:n]))
}

// checksumOK checks the checksum of a whole event. The in-use flag of a format description is set
// and cleared in place by servers and does not count.
func checksumOK(event []byte) bool {
	n := len(event) - ChecksumSize
	want := binary.LittleEndian.Uint32(event[n:])
	if Type(event[4]) == TypeFormatDescription && event[17]&FlagInUse != 0 {
		event = bytes.Clone(event)
		event[17] &^= FlagInUse
	}
	return crc32.ChecksumIEEE(event[:n]) == want
}
