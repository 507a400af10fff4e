// Package binlogtest writes MariaDB binlog files for tests, every kind of transaction in them, and
// knows of each event what a reader must find.
//
//	l := binlogtest.New(7, binlogtest.Options{})
//	l.List()
//	l.Rows(binlogtest.G(0, 7, 1), 100, 5<<20) // a transaction of two row events
//	l.DDL(binlogtest.G(0, 7, 2), "CREATE TABLE t (a INT)")
//	l.Rotate("binlog.000002")
//	... l.Bytes(), l.Events
package binlogtest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"

	"tidemark/internal/binlog"
	"tidemark/internal/gtid"
)

// Event is what a reader must find.
type Event struct {
	Type   binlog.Type
	Offset uint64 // in the file
	Size   uint32
	Begin  bool
	End    bool
	Open   bool // a transaction is unfinished after it
	GTID   gtid.GTID
}

// Options of a file. The zero value is a file with checksums.
type Options struct {
	NoChecksum bool
	Version    string // server version; "10.11.19-MariaDB-log" if ""
	Time       uint32 // of the events until Log.Time is set; 1700000000 if 0
	Created    uint32 // when the server started, in the first file after it
	Seed       uint64 // of what fills row events
	NoPos      bool   // log_pos is 0 inside transactions, as MariaDB 11.4 and later write it
}

// Log is a binlog file in the making.
type Log struct {
	Events []Event
	Time   uint32 // of the next events, seconds

	server uint32
	o      Options
	rng    *rand.Rand
	buf    bytes.Buffer
	gtid   gtid.GTID // of the open transaction
}

// Flags of GTID events.
const (
	Standalone  = 1
	PreparedXA  = 64
	CompletedXA = 128
)

// G makes a GTID.
func G(domain, server uint32, seq uint64) gtid.GTID {
	return gtid.GTID{Domain: domain, Server: server, Seq: seq}
}

// New begins a file of a server: magic and format description.
func New(server uint32, o Options) *Log {
	if o.Version == "" {
		o.Version = "10.11.19-MariaDB-log"
	}
	if o.Time == 0 {
		o.Time = 1700000000
	}
	l := &Log{server: server, o: o, Time: o.Time, rng: rand.New(rand.NewPCG(o.Seed, uint64(server)))}
	l.buf.WriteString(binlog.Magic)
	l.add(binlog.TypeFormatDescription, server, 0, l.format(), false, false)
	return l
}

func (l *Log) format() []byte {
	b := make([]byte, 2+50+4+1+171+1)
	binary.LittleEndian.PutUint16(b, 4)
	copy(b[2:52], l.o.Version)
	binary.LittleEndian.PutUint32(b[52:], l.o.Created)
	b[56] = binlog.HeaderSize
	if !l.o.NoChecksum {
		b[len(b)-1] = 1
	}
	return b
}

// Bytes returns the file so far.
func (l *Log) Bytes() []byte { return l.buf.Bytes() }

// Size is the length of the file so far, which is where the next event begins.
func (l *Log) Size() uint64 { return uint64(l.buf.Len()) }

// Encode returns a whole event. log_pos is the offset of its end.
func Encode(typ binlog.Type, server, time uint32, flags uint16, logPos uint32, body []byte, checksum bool) []byte {
	n := binlog.HeaderSize + len(body)
	if checksum {
		n += binlog.ChecksumSize
	}
	b := make([]byte, binlog.HeaderSize, n)
	binary.LittleEndian.PutUint32(b, time)
	b[4] = byte(typ)
	binary.LittleEndian.PutUint32(b[5:], server)
	binary.LittleEndian.PutUint32(b[9:], uint32(n))
	binary.LittleEndian.PutUint32(b[13:], logPos)
	binary.LittleEndian.PutUint16(b[17:], flags)
	b = append(b, body...)
	if checksum {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	return b
}

// add appends an event. A format description always carries a checksum.
func (l *Log) add(typ binlog.Type, server uint32, flags uint16, body []byte, begin, end bool) {
	checksum := !l.o.NoChecksum || typ == binlog.TypeFormatDescription
	size := binlog.HeaderSize + len(body)
	if checksum {
		size += binlog.ChecksumSize
	}
	at := l.Size()
	pos := uint32(at) + uint32(size)
	inside := l.gtid != gtid.GTID{} && !begin && !end
	if inside && l.o.NoPos {
		pos = 0
	}
	l.buf.Write(Encode(typ, server, l.Time, flags, pos, body, checksum))
	l.Events = append(l.Events, Event{Type: typ, Offset: at, Size: uint32(size), Begin: begin, End: end,
		Open: l.gtid != gtid.GTID{} && !end, GTID: l.gtid})
	if end {
		l.gtid = gtid.GTID{}
	}
}

// Begin opens a transaction by its GTID event, whose server_id is the GTID's. With flags of an XA transaction it bears
// the XID 'x'.
func (l *Log) Begin(g gtid.GTID, flags byte) {
	body := make([]byte, 19)
	if flags&(PreparedXA|CompletedXA) != 0 {
		body = append(body[:13], 1, 0, 0, 0, 1, 0, 'x')
	}
	binary.LittleEndian.PutUint64(body, g.Seq)
	binary.LittleEndian.PutUint32(body[8:], g.Domain)
	body[12] = flags
	l.gtid = g
	l.add(binlog.TypeMariaGTID, g.Server, 0, body, true, false)
}

// In appends an event inside the open transaction, with n random bytes as its body.
func (l *Log) In(typ binlog.Type, n int) {
	body := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(body[i:], l.rng.Uint64())
	}
	l.add(typ, l.server, 0, body, false, false)
}

// Query appends a statement; end says whether it ends the transaction.
func (l *Log) Query(text string, end bool) {
	l.add(binlog.TypeQuery, l.server, 0, QueryBody("db", text), false, end)
}

// QueryBody is the body of a QUERY event with some status variables.
func QueryBody(db, text string) []byte {
	vars := []byte{0, 1, 0, 0, 0} // flags2
	b := make([]byte, 13)
	b[8] = byte(len(db))
	binary.LittleEndian.PutUint16(b[11:], uint16(len(vars)))
	b = append(append(b, vars...), db...)
	return append(append(b, 0), text...)
}

// XID ends a transaction as InnoDB does.
func (l *Log) XID() { l.add(binlog.TypeXID, l.server, 0, make([]byte, 8), false, true) }

// Rows appends a transaction of row events with bodies of the sizes given.
func (l *Log) Rows(g gtid.GTID, sizes ...int) {
	l.Begin(g, 2)
	l.In(binlog.TypeAnnotateRows, 30)
	for _, n := range sizes {
		l.In(19, 40) // TABLE_MAP
		l.In(23, n)  // WRITE_ROWS
	}
	l.XID()
}

// NonTransactional appends a transaction of MyISAM: it ends with COMMIT, or ROLLBACK.
func (l *Log) NonTransactional(g gtid.GTID, end string) {
	l.Begin(g, 0)
	l.Query("INSERT INTO m VALUES ('COMMIT')", false)
	l.Query(end, true)
}

// DDL appends a statement that is its own transaction, after some that only prepare it.
func (l *Log) DDL(g gtid.GTID, text string) {
	l.Begin(g, Standalone)
	l.In(binlog.TypeIntvar, 9)
	l.Query(text, true)
}

// XAPrepare appends the first half of an XA transaction.
func (l *Log) XAPrepare(g gtid.GTID) {
	l.Begin(g, PreparedXA)
	l.Query("XA START X'78',X'',1", false)
	l.In(23, 50)
	l.Query("XA END X'78',X'',1", false)
	l.add(binlog.TypeXAPrepare, l.server, 0, make([]byte, 14), false, true)
}

// XAEnd appends the second half: "XA COMMIT" or "XA ROLLBACK".
func (l *Log) XAEnd(g gtid.GTID, verb string, standalone bool) {
	flags := byte(CompletedXA)
	if standalone {
		flags |= Standalone
	}
	l.Begin(g, flags)
	l.Query(verb+" X'78',X'',1", true)
}

// CreateSelect appends CREATE TABLE .. SELECT: a definition and rows in one transaction.
func (l *Log) CreateSelect(g gtid.GTID) {
	l.Begin(g, 2)
	l.Query("CREATE TABLE c (a INT)", false)
	l.In(23, 60)
	l.XID()
}

// LoadData appends LOAD DATA by statement.
func (l *Log) LoadData(g gtid.GTID, n int) {
	l.Begin(g, 2)
	l.In(17, n) // BEGIN_LOAD_QUERY
	l.In(9, n)  // APPEND_BLOCK
	l.In(binlog.TypeExecuteLoadQuery, 80)
	l.XID()
}

// List appends a GTID_LIST.
func (l *Log) List(list ...gtid.GTID) {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, g := range list {
		b = binary.LittleEndian.AppendUint32(b, g.Domain)
		b = binary.LittleEndian.AppendUint32(b, g.Server)
		b = binary.LittleEndian.AppendUint64(b, g.Seq)
	}
	l.add(binlog.TypeMariaGTIDList, l.server, 0, b, false, false)
}

// Checkpoint appends a BINLOG_CHECKPOINT.
func (l *Log) Checkpoint(file string) {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(file)))
	l.add(binlog.TypeBinlogCheckpoint, l.server, 0, append(b, file...), false, false)
}

// Rotate ends the file.
func (l *Log) Rotate(next string) {
	l.gtid = gtid.GTID{}
	l.add(binlog.TypeRotate, l.server, 0, RotateBody(4, next), false, false)
}

// RotateBody is the body of a ROTATE.
func RotateBody(offset uint64, file string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, offset), file...)
}

// Stop ends the file of a server that shuts down.
func (l *Log) Stop() {
	l.gtid = gtid.GTID{}
	l.add(binlog.TypeStop, l.server, 0, nil, false, false)
}

// Everything appends one transaction of every kind, numbered from seq on, and returns the next number.
func (l *Log) Everything(domain uint32, seq uint64) uint64 {
	next := func() gtid.GTID { seq++; return G(domain, l.server, seq-1) }
	l.Rows(next(), 0, 100, 3000)
	l.NonTransactional(next(), "COMMIT")
	l.NonTransactional(next(), "ROLLBACK")
	l.DDL(next(), "CREATE TABLE t (a INT)")
	l.DDL(next(), "COMMIT") // not one: standalone
	l.XAPrepare(next())
	l.XAEnd(next(), "XA COMMIT", true)
	l.XAPrepare(next())
	l.XAEnd(next(), "XA ROLLBACK", false)
	l.CreateSelect(next())
	l.LoadData(next(), 500)
	l.Begin(next(), Standalone)
	l.add(binlog.TypeQueryCompressed, l.server, 0, make([]byte, 70), false, true)
	l.Begin(next(), 2)
	l.Query("SAVEPOINT a", false)
	l.Query("ROLLBACK TO a", false)
	l.Query("COMMIT AND CHAIN", false)
	l.In(binlog.TypeQueryCompressed, 60)
	l.XID()
	return seq
}
