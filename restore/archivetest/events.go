package archivetest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/gtid"
)

// Log is a MariaDB binlog file in the making, with event checksums. Offsets are those in the file.
type Log struct {
	server uint32
	buf    bytes.Buffer
}

// NewLog begins a file.
func NewLog(server uint32, begun time.Time) *Log {
	l := &Log{server: server}
	l.buf.WriteString(binlog.Magic)
	const types = 171
	body := make([]byte, 2+50+4+1+types+1)
	binary.LittleEndian.PutUint16(body, 4)
	copy(body[2:], "10.11.19-MariaDB-log")
	lengths := body[2+50+4:] // by type; the first byte is that of all headers
	copy(lengths, []byte{binlog.HeaderSize, 56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 228, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2,
		0, 0, 0, 10, 10, 10, 0, 0, 0, 0, 0, 0, 10, 10, 10})
	copy(lengths[161:], []byte{4, 19, 4, 0, 13, 8, 8, 8, 10, 10, 10})
	body[len(body)-1] = 1 // CRC-32
	l.event(begun, binlog.TypeFormatDescription, body)
	return l
}

// Bytes returns the file. Offset returns its length so far, which is where the next event begins.
func (l *Log) Bytes() []byte  { return l.buf.Bytes() }
func (l *Log) Offset() uint64 { return uint64(l.buf.Len()) }

// event appends an event with its checksum.
func (l *Log) event(t time.Time, typ binlog.Type, body []byte) {
	size := binlog.HeaderSize + len(body) + binlog.ChecksumSize
	ev := make([]byte, binlog.HeaderSize, size)
	binary.LittleEndian.PutUint32(ev, uint32(t.Unix()))
	ev[4] = byte(typ)
	binary.LittleEndian.PutUint32(ev[5:], l.server)
	binary.LittleEndian.PutUint32(ev[9:], uint32(size))
	binary.LittleEndian.PutUint32(ev[13:], uint32(l.buf.Len()+size))
	ev = append(ev, body...)
	ev = binary.LittleEndian.AppendUint32(ev, crc32.ChecksumIEEE(ev))
	l.buf.Write(ev)
}

// Flags of GTID events.
const (
	standalone    = 1
	transactional = 4
	definition    = 32
)

// gtid appends a GTID event. Its server_id is the GTID's.
func (l *Log) gtid(g gtid.GTID, t time.Time, flags byte) {
	body := make([]byte, 19)
	binary.LittleEndian.PutUint64(body, g.Seq)
	binary.LittleEndian.PutUint32(body[8:], g.Domain)
	body[12] = flags
	own := l.server
	l.server = g.Server
	l.event(t, binlog.TypeMariaGTID, body)
	l.server = own
}

// List appends a GTID_LIST event.
func (l *Log) List(t time.Time, list ...gtid.GTID) {
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, g := range list {
		body = binary.LittleEndian.AppendUint32(body, g.Domain)
		body = binary.LittleEndian.AppendUint32(body, g.Server)
		body = binary.LittleEndian.AppendUint64(body, g.Seq)
	}
	l.event(t, binlog.TypeMariaGTIDList, body)
}

func query(db, text string) []byte {
	body := make([]byte, 13)
	body[8] = byte(len(db))
	body = append(body, db...)
	body = append(body, 0)
	return append(body, text...)
}

// Statement appends a transaction that is one statement: DDL.
func (l *Log) Statement(g gtid.GTID, t time.Time, db, text string) {
	l.gtid(g, t, standalone|definition)
	l.event(t, binlog.TypeQuery, query(db, text))
}

// Change appends a transaction that updates a row of a table, of at least pad bytes.
func (l *Log) Change(g gtid.GTID, t time.Time, db, table string, pad ...int) {
	l.gtid(g, t, transactional)
	m := []byte{1, 0, 0, 0, 0, 0, 1, 0, byte(len(db))}
	m = append(append(m, db...), 0, byte(len(table)))
	m = append(append(m, table...), 0, 1, 3, 0, 0)
	l.event(t, 19, m) // TABLE_MAP
	rows := make([]byte, 20)
	for _, n := range pad {
		rows = append(rows, make([]byte, n)...)
	}
	l.event(t, 24, rows) // UPDATE_ROWS_V1
	l.event(t, binlog.TypeXID, make([]byte, 8))
}

// Unfinished appends the beginning of a transaction that its server did not live to finish.
func (l *Log) Unfinished(g gtid.GTID, t time.Time) {
	l.gtid(g, t, transactional)
	l.event(t, binlog.TypeQuery, query("d", "INSERT INTO x VALUES (1)"))
}

// Rotate ends the file.
func (l *Log) Rotate(t time.Time, next string) {
	l.event(t, binlog.TypeRotate, append(binary.LittleEndian.AppendUint64(nil, 4), next...))
}
