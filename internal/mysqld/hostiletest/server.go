package hostiletest

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Server answers clients as a test says.
type Server struct {
	Answers Answers
	Dump    []byte // sent when the binlog is requested, in place of a stream
}

// Answers say what a server answers to statements that begin with their keys. The longest key counts.
type Answers map[string]Answer

// Answer is what a server answers to a statement: rows, or OK if there is neither a row nor a column.
type Answer struct {
	Columns []string // names; those that are missing are numbered from 1
	Rows    [][]string
	refused *refusal
}

type refusal struct {
	code    uint16
	message string
}

// Row is an answer of one row.
func Row(values ...string) Answer { return Answer{Rows: [][]string{values}} }

// Refuse is an answer that is an error.
func Refuse(code uint16, message string) Answer { return Answer{refused: &refusal{code, message}} }

// to finds the answer to a statement.
func (a Answers) to(sql string) (Answer, bool) {
	best, found := "", false
	for key := range a {
		if strings.HasPrefix(sql, key) && (!found || len(key) > len(best)) {
			best, found = key, true
		}
	}
	return a[best], found
}

// The commands that are understood.
const (
	comQuit     = 0x01
	comQuery    = 0x03
	comPing     = 0x0e
	comDump     = 0x12
	comRegister = 0x15
	comDumpGTID = 0x1e
)

// Listen serves clients until the test ends, on the address that it returns.
func (s *Server) Listen(t testing.TB) (addr string) {
	t.Helper()
	return Listen(t, func(conn net.Conn) {
		if err := s.session(t, conn); err != nil {
			t.Errorf("the stand-in of a server: %v", err)
		}
	})
}

// session serves one client until it goes. That it goes is no error.
func (s *Server) session(t testing.TB, conn net.Conn) error {
	if _, err := conn.Write(Packet(0, Greeting("mysql_native_password"))); err != nil {
		return nil
	}
	if _, err := ReadPacket(conn); err != nil { // who it is, is not looked at
		return nil
	}
	ok := NewPackets(2)
	ok.OK()
	if _, err := conn.Write(ok.Bytes()); err != nil {
		return nil
	}
	for {
		command, err := ReadPacket(conn)
		if err != nil || len(command) == 0 || command[0] == comQuit {
			return nil
		}
		p := NewPackets(1)
		switch command[0] {
		case comQuery:
			s.answer(t, p, string(command[1:]))
		case comPing, comRegister:
			p.OK()
		case comDump, comDumpGTID:
			_, _ = conn.Write(s.Dump)
			return nil
		default:
			return fmt.Errorf("command %#x is not understood", command[0])
		}
		if _, err := conn.Write(p.Bytes()); err != nil {
			return nil
		}
	}
}

func (s *Server) answer(t testing.TB, p *Packets, sql string) {
	a, found := s.Answers.to(sql)
	switch {
	case !found:
		t.Errorf("the stand-in of a server has no answer to: %s", sql)
		p.Err(1064, "#42000", "no answer")
	case a.refused != nil:
		p.Err(a.refused.code, "#HY000", a.refused.message)
	default:
		a.write(p)
	}
}

// write adds the packets of an answer, whose values are all text.
func (a Answer) write(p *Packets) {
	columns := len(a.Columns)
	for _, row := range a.Rows {
		columns = max(columns, len(row))
	}
	if columns == 0 {
		p.OK()
		return
	}
	p.Packet(length(columns))
	for i := range columns {
		name := fmt.Sprint(i + 1)
		if i < len(a.Columns) {
			name = a.Columns[i]
		}
		p.Packet(column(name))
	}
	p.EOF()
	for _, row := range a.Rows {
		var payload []byte
		for _, value := range row {
			payload = text(payload, value)
		}
		p.Packet(payload)
	}
	p.EOF()
}

// column describes a column of text.
func column(name string) []byte {
	const utf8mb4, varString = 45, 0xfd
	b := text(nil, "def")
	for _, s := range []string{"", "", "", name, name} { // schema, table twice, and the name twice
		b = text(b, s)
	}
	b = append(b, 0x0c, utf8mb4, 0)
	b = binary.LittleEndian.AppendUint32(b, 1<<24) // how long a value may be
	return append(b, varString, 0, 0, 0, 0, 0)
}

func text(b []byte, s string) []byte { return append(append(b, length(len(s))...), s...) }

// length is a number as the protocol writes lengths.
func length(n int) []byte {
	switch {
	case n < 251:
		return []byte{byte(n)}
	case n < 1<<16:
		return []byte{0xfc, byte(n), byte(n >> 8)}
	}
	return []byte{0xfd, byte(n), byte(n >> 8), byte(n >> 16)}
}
