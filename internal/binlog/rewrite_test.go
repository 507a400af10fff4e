package binlog_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"tidemark/internal/binlog"
)

// TestRewriteLenient takes a session out of strict mode, and changes nothing else.
func TestRewriteLenient(t *testing.T) {
	const strict, others = uint64(1<<21 | 1<<22), uint64(1<<6 | 1<<23 | 1<<40)
	event := func(status []byte, checksum bool) []byte {
		e := append(make([]byte, binlog.HeaderSize), make([]byte, 8)...)
		e = append(e, 1, 0, 0, byte(len(status)), 0)
		e = append(append(e, status...), "d\x00CREATE TABLE t (i INT) DATA DIRECTORY='/far'"...)
		if checksum {
			e = append(e, 0, 0, 0, 0)
		}
		e[4] = byte(binlog.TypeQuery)
		binary.LittleEndian.PutUint32(e[9:], uint32(len(e)))
		if checksum {
			return sealed(e)
		}
		return e
	}
	mode := func(m uint64) []byte { return binary.LittleEndian.AppendUint64([]byte{1}, m) }
	flags := []byte{0, 1, 2, 3, 4}
	for name, status := range map[string]func(uint64) []byte{
		"behind flags": func(m uint64) []byte { return append(append(bytes.Clone(flags), mode(m)...), 2, 0) },
		"first":        mode,
	} {
		for _, checksum := range []bool{true, false} {
			got, err := binlog.RewriteLenient(event(status(strict|others), checksum), checksum)
			if want := event(status(others), checksum); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, checksum %v: %x, %v; want %x", name, checksum, got, err, want)
			}
		}
	}
	for name, status := range map[string][]byte{
		"none": nil, "no mode": append(bytes.Clone(flags), 2, 0), "not strict": mode(others), "cut off": mode(strict)[:5], "flags cut off": flags[:2],
	} {
		was := event(status, true)
		if got, err := binlog.RewriteLenient(was, true); err != nil || !bytes.Equal(got, was) {
			t.Errorf("%s: %x became %x, %v", name, was, got, err)
		}
	}
	if _, err := binlog.RewriteLenient(make([]byte, binlog.HeaderSize+5), true); err == nil {
		t.Error("a short event was taken")
	}
}

// TestRewriteTableMap changes the name of the database, and nothing else.
func TestRewriteTableMap(t *testing.T) {
	event := func(database string, checksum bool) []byte {
		e := append(make([]byte, binlog.HeaderSize), 7, 0, 0, 0, 0, 0, 1, 0, byte(len(database)))
		e = append(append(append(e, database...), 0, 1), "t\x00\x02\x03\x03\x00\x00"...)
		if checksum {
			e = append(e, 0, 0, 0, 0)
		}
		e[4] = 19
		binary.LittleEndian.PutUint32(e[9:], uint32(len(e)))
		if checksum {
			return sealed(e)
		}
		return e
	}
	for _, checksum := range []bool{true, false} {
		for _, name := range []string{"another", ""} {
			if got, err := binlog.RewriteTableMap(event("d", checksum), name, checksum); err != nil || !bytes.Equal(got, event(name, checksum)) {
				t.Errorf("%q, checksum %v: %x, %v", name, checksum, got, err)
			}
		}
	}
	for n := range event("d", false)[:binlog.HeaderSize+11] {
		if _, err := binlog.RewriteTableMap(event("d", false)[:n], "x", false); err == nil {
			t.Errorf("an event of %d bytes was taken", n)
		}
	}
}
