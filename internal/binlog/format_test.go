package binlog_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/gtid"
)

func sealed(event []byte) []byte {
	n := len(event) - binlog.ChecksumSize
	binary.LittleEndian.PutUint32(event[n:], crc32.ChecksumIEEE(event[:n]))
	return event
}

func TestFormatDescription(t *testing.T) {
	l := binlogtest.New(42, binlogtest.Options{Version: "10.11.19-MariaDB-log", Created: 1600000000, Time: 1700000000})
	raw := bytes.Clone(l.Bytes()[4:])
	f, err := binlog.ParseFormatDescription(raw)
	if err != nil {
		t.Fatal(err)
	}
	if f.ServerID != 42 || f.ServerVersion != "10.11.19-MariaDB-log" || f.Timestamp != 1700000000 || f.Created != 1600000000 || !f.Checksum || !f.MariaDB() {
		t.Errorf("%+v", f)
	}
	if !bytes.Equal(f.Raw(), raw) {
		t.Error("the raw bytes are others")
	}

	// What a server changes when it sends the event again does not change what file it is.
	whole := f.Fingerprint()
	inUse := bytes.Clone(raw)
	inUse[17] |= binlog.FlagInUse // without a new checksum, as the file in use has it
	resent := bytes.Clone(raw)
	binary.LittleEndian.PutUint32(resent[13:], 0)
	binary.LittleEndian.PutUint32(resent[19+2+50:], 0)
	sealed(resent)
	for name, b := range map[string][]byte{"in use": inUse, "sent again": resent, "a copy": f.Copy()} {
		g, err := binlog.ParseFormatDescription(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if g.Fingerprint() != whole {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	if c, err := binlog.ParseFormatDescription(f.Copy()); err != nil || c.Created != 0 || binary.LittleEndian.Uint32(c.Raw()[13:]) != 0 {
		t.Errorf("the copy is %+v, %v", c, err)
	}
	for name, o := range map[string]binlogtest.Options{
		"another version": {Version: "10.11.20-MariaDB-log"},
		"another time":    {Time: 1700000001},
		"no checksums":    {NoChecksum: true},
	} {
		g, err := binlog.ParseFormatDescription(binlogtest.New(42, o).Bytes()[4:])
		if err != nil || g.Fingerprint() == whole {
			t.Errorf("%s: the same fingerprint, %v", name, err)
		}
	}
	if mysql, err := binlog.ParseFormatDescription(binlogtest.New(1, binlogtest.Options{Version: "8.4.3"}).Bytes()[4:]); err != nil || mysql.MariaDB() {
		t.Errorf("8.4.3 is taken for MariaDB, %v", err)
	}
	// A version that fills its field has no zero behind it.
	if long, err := binlog.ParseFormatDescription(binlogtest.New(1, binlogtest.Options{Version: strings.Repeat("v", 50)}).Bytes()[4:]); err != nil || len(long.ServerVersion) != 50 {
		t.Errorf("a version of 50 bytes: %v", err)
	}

	edit := func(f func(b []byte)) []byte { b := bytes.Clone(raw); f(b); return b }
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"too short":      raw[:60],
		"damaged":        edit(func(b []byte) { b[100] ^= 1 }),
		"wrong checksum": edit(func(b []byte) { b[len(b)-1] ^= 1 }),
		"other type":     sealed(edit(func(b []byte) { b[4] = 2 })),
		"end torn":       edit(func(b []byte) { clear(b[len(b)-5:]) }),
		"no checksums?":  edit(func(b []byte) { b[len(b)-5] = 0 }),
		"version 3":      sealed(edit(func(b []byte) { b[19] = 3 })),
		"algorithm 7":    sealed(edit(func(b []byte) { b[len(b)-5] = 7 })),
	} {
		if _, err := binlog.ParseFormatDescription(b); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestDecoders(t *testing.T) {
	if p, err := binlog.ParseRotate(binlogtest.RotateBody(1<<33, "binlog.000007")); err != nil || p.String() != "binlog.000007:8589934592" {
		t.Errorf("rotate is %s, %v", p, err)
	}
	if _, err := binlog.ParseRotate(make([]byte, 8)); err == nil {
		t.Error("a rotate without a name is accepted")
	}
	if _, err := binlog.ParseGTIDList([]byte{1, 0, 0, 0, 1}); err == nil {
		t.Error("a list that is cut off is accepted")
	}
	if _, err := binlog.ParseGTIDList([]byte{1, 0}); err == nil {
		t.Error("a list without a count is accepted")
	}
	// The upper bits of the count are flags.
	if list, err := binlog.ParseGTIDList([]byte{0, 0, 0, 0x10}); err != nil || len(list) != 0 {
		t.Errorf("an empty list with flags is %v, %v", list, err)
	}
	for _, n := range []uint32{0, 18, binlog.MaxEventSize + 1, 1<<32 - 1} {
		b := make([]byte, binlog.HeaderSize)
		binary.LittleEndian.PutUint32(b[9:], n)
		if _, err := binlog.ParseHeader(b); err == nil {
			t.Errorf("a size of %d is accepted", n)
		}
	}
	for _, n := range []int{0, 1, 1000} {
		list := make([]gtid.GTID, n)
		for i := range list {
			list[i] = binlogtest.G(uint32(i), 1<<32-1, 1<<63+uint64(i))
		}
		for _, none := range []bool{false, true} {
			f, err := binlog.ParseFormatDescription(binlogtest.New(1, binlogtest.Options{NoChecksum: none}).Bytes()[4:])
			if err != nil {
				t.Fatal(err)
			}
			ev := binlog.GTIDListEvent(f, list)
			body := ev[binlog.HeaderSize:]
			if !none {
				body = body[:len(body)-4]
			}
			got, err := binlog.ParseGTIDList(body)
			if err != nil || gtid.FormatList(got) != gtid.FormatList(list) {
				t.Errorf("a list of %d comes back as one of %d, %v", n, len(got), err)
			}
		}
	}
}

// repeat gives the same bytes again and again, without memory.
type repeat struct {
	data []byte
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// endless is a scanner over the same transactions for ever: log_pos is 0, so that they fit anywhere.
func endless(tb testing.TB, sizes ...int) *binlog.Scanner {
	tb.Helper()
	l := binlogtest.New(7, binlogtest.Options{})
	at := l.Size()
	l.Rows(binlogtest.G(0, 7, 1), sizes...)
	l.DDL(binlogtest.G(0, 7, 2), "CREATE TABLE t (a INT)")
	l.NonTransactional(binlogtest.G(0, 7, 3), "COMMIT")
	body := bytes.Clone(l.Bytes()[at:])
	for at := 0; at < len(body); {
		ev := body[at:]
		ev = ev[:binary.LittleEndian.Uint32(ev[9:])]
		binary.LittleEndian.PutUint32(ev[13:], 0)
		sealed(ev)
		at += len(ev)
	}
	sc, err := binlog.NewFileScanner(io.MultiReader(bytes.NewReader(l.Bytes()[:at]), &repeat{data: body}), 0, 4, begin)
	if err != nil {
		tb.Fatal(err)
	}
	return sc
}

// TestAllocations: nothing is allocated for an event, or for a fragment of a large one.
func TestAllocations(t *testing.T) {
	for _, sizes := range [][]int{{100, 1000}, {300_000}} {
		sc := endless(t, sizes...)
		var failed error
		n := testing.AllocsPerRun(20_000, func() {
			if ev, err := sc.Next(); err != nil {
				failed = err
			} else {
				_ = sc.Body(ev)
			}
		})
		if failed != nil {
			t.Fatal(failed)
		}
		if n != 0 {
			t.Errorf("row events of %d bytes: %v allocations an event", sizes, n)
		}
	}
}

func BenchmarkScanner(b *testing.B) {
	sc := endless(b, 100, 200, 400)
	b.ReportAllocs()
	var bytes int64
	for b.Loop() {
		ev, err := sc.Next()
		if err != nil {
			b.Fatal(err)
		}
		bytes += int64(len(ev.Data))
	}
	b.SetBytes(bytes / int64(b.N))
}

// FuzzScanner: no bytes make the scanner panic, go round in circles, or say what cannot be.
func FuzzScanner(f *testing.F) {
	l := everything(binlogtest.Options{})
	none := everything(binlogtest.Options{NoChecksum: true})
	f.Add(l.Bytes(), uint16(4))
	f.Add(none.Bytes(), uint16(4))
	f.Add(none.Bytes()[:700], uint16(300))
	f.Add(append(rotate("b", 4, true), l.Bytes()[4:]...), uint16(0))
	f.Add([]byte(binlog.Magic), uint16(4))
	f.Fuzz(func(t *testing.T, data []byte, head uint16) {
		sc, err := binlog.NewFileScanner(bytes.NewReader(data), 0, uint64(head), begin)
		if head == 0 {
			sc, err = binlog.NewScanner(bytes.NewReader(data), 0), nil
			sc.Lose(binlog.Point{File: "b", Offset: 1 << 33})
		}
		if err != nil {
			return
		}
		total := sc.Consumed()
		for {
			ev, err := sc.Next()
			if err != nil {
				break
			}
			if len(ev.Data) == 0 || len(ev.Data) > int(ev.Size) || ev.Boundary() && ev.Open || ev.End && ev.Open {
				t.Fatalf("%+v", ev)
			}
			if total += uint64(len(ev.Data)); total != sc.Consumed() || total > uint64(len(data)) {
				t.Fatalf("%d bytes of %d handed on, %d consumed", total, len(data), sc.Consumed())
			}
			body := sc.Body(ev)
			if !ev.First {
				continue
			}
			_, _ = binlog.ParseGTIDList(body)
			_, _ = binlog.ParseRotate(body)
			_, _ = binlog.ParseHeartbeat(ev.Header, body)
		}
	})
}
