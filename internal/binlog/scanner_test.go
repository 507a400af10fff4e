package binlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/gtid"
)

// found is what a scanner said of one event, put together from its fragments.
type found struct {
	binlogtest.Event
	sum       [sha256.Size]byte
	fragments int
}

// scan reads a whole file and checks what every fragment must hold to.
func scan(t *testing.T, r io.Reader, buffer int, head uint64, start binlog.Point) ([]found, *binlog.Scanner) {
	t.Helper()
	list, sc, err := scanAll(r, buffer, head, start)
	if err != nil {
		t.Fatal(err)
	}
	return list, sc
}

func scanAll(r io.Reader, buffer int, head uint64, start binlog.Point) ([]found, *binlog.Scanner, error) {
	sc, err := binlog.NewFileScanner(r, buffer, head, start)
	if err != nil {
		return nil, nil, err
	}
	list, err := collect(sc)
	return list, sc, err
}

// collect puts the events of a scanner together.
func collect(sc *binlog.Scanner) ([]found, error) {
	var list []found
	var f found
	hash := sha256.New()
	size := 0
	for {
		ev, err := sc.Next()
		if err == io.EOF {
			return list, nil
		}
		if err == nil && !ev.First && sc.Body(ev) != nil {
			return list, errors.New("a fragment behind the first has a body")
		}
		if err != nil {
			return list, err
		}
		if ev.Head {
			continue
		}
		if ev.First != (size == 0) {
			return list, fmt.Errorf("first is %v after %d bytes of the event at %d", ev.First, size, ev.Offset)
		}
		if ev.First {
			hash.Reset()
			f = found{Event: binlogtest.Event{Type: ev.Type, Offset: ev.Offset, Size: ev.Size, Begin: ev.Begin, End: ev.End, Open: ev.Open, GTID: ev.GTID}}
		} else if ev.Begin {
			return list, fmt.Errorf("a later fragment at %d begins a transaction", ev.Offset)
		}
		hash.Write(ev.Data)
		size += len(ev.Data)
		f.fragments++
		if ev.Last != (size == int(ev.Size)) || ev.Boundary() != (ev.Last && !f.Open) || ev.End != f.End || ev.Open != f.Open || ev.GTID != f.GTID || ev.EndOffset() != f.Offset+uint64(f.Size) {
			return list, fmt.Errorf("fragment %d at %d: %+v", f.fragments, ev.Offset, *ev)
		}
		if ev.Last {
			hash.Sum(f.sum[:0])
			list = append(list, f)
			f, size = found{}, 0
		}
	}
}

// expect compares what was found with what was written.
func expect(t *testing.T, got []found, l *binlogtest.Log, shift uint64) {
	t.Helper()
	if len(got) != len(l.Events) {
		t.Errorf("%d events, want %d", len(got), len(l.Events))
	}
	for i := range min(len(got), len(l.Events)) {
		want := l.Events[i]
		sum := sha256.Sum256(l.Bytes()[want.Offset : want.Offset+uint64(want.Size)])
		want.Offset += shift
		if got[i].Event != want {
			t.Fatalf("event %d is %+v, want %+v", i, got[i].Event, want)
		}
		if got[i].sum != sum {
			t.Fatalf("event %d at %d has other bytes", i, want.Offset)
		}
	}
}

var begin = binlog.Point{File: "binlog.000001", Offset: 4}

func everything(o binlogtest.Options) *binlogtest.Log {
	l := binlogtest.New(7, o)
	l.List(binlogtest.G(0, 7, 40), binlogtest.G(1, 9, 3))
	l.Checkpoint("binlog.000001")
	seq := l.Everything(0, 41)
	l.Checkpoint("binlog.000001")
	l.Everything(3, seq)
	l.Rotate("binlog.000002")
	return l
}

// TestEvents: offsets, transactions and bytes of every kind of event, with and without checksums, and
// with log_pos 0 inside transactions.
func TestEvents(t *testing.T) {
	for _, o := range []binlogtest.Options{{}, {NoChecksum: true}, {NoPos: true, Version: "11.8.2-MariaDB-log"}, {NoPos: true, NoChecksum: true}} {
		l := everything(o)
		got, sc := scan(t, bytes.NewReader(l.Bytes()), 0, 4, begin)
		expect(t, got, l, 0)
		if p := sc.Point(); p != (binlog.Point{File: begin.File, Offset: l.Size()}) || sc.Consumed() != l.Size() {
			t.Errorf("%+v: the scanner ends at %s, %d bytes consumed", o, p, sc.Consumed())
		}
		f := sc.Format()
		if f.Checksum == o.NoChecksum || f.ServerID != 7 || !f.MariaDB() || f.Timestamp != l.Time {
			t.Errorf("%+v: format is %+v", o, f)
		}
	}
}

// TestUnfinished: a transaction that its server did not live to finish stays open, whatever comes next.
func TestUnfinished(t *testing.T) {
	for _, next := range []string{"nothing", "rotate", "stop", "transaction"} {
		l := binlogtest.New(7, binlogtest.Options{})
		l.Rows(binlogtest.G(0, 7, 1), 10)
		l.Begin(binlogtest.G(0, 7, 2), 2)
		l.In(23, 10)
		switch next {
		case "rotate":
			l.Rotate("x")
		case "stop":
			l.Stop()
		case "transaction":
			l.Rows(binlogtest.G(0, 7, 3), 10)
		}
		got, _ := scan(t, bytes.NewReader(l.Bytes()), 0, 4, begin)
		expect(t, got, l, 0)
		if open := got[len(got)-1].Open; open != (next == "nothing") {
			t.Errorf("%s: open is %v at the end", next, open)
		}
	}
}

// chunked returns 1 to n bytes at a time.
type chunked struct {
	r   io.Reader
	n   int
	rng *rand.Rand
}

func (c *chunked) Read(p []byte) (int, error) {
	return c.r.Read(p[:min(len(p), 1+c.rng.IntN(c.n))])
}

// TestFragments: buffers of all sizes and readers that return little give the same events, also those
// larger than the buffer.
func TestFragments(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	const smallest = 1 << 16
	for _, none := range []bool{false, true} {
		l := binlogtest.New(7, binlogtest.Options{Seed: seed, NoChecksum: none})
		sizes := []int{200_000, 1 << 20, 3 << 20}
		// Events that end around the end of the buffer: the checksum falls apart in every way.
		for d := -6; d <= 6; d++ {
			sizes = append(sizes, smallest-binlog.HeaderSize-binlog.ChecksumSize+d)
		}
		seq := uint64(1)
		for _, n := range sizes {
			l.Rows(binlogtest.G(0, 7, seq), n, 10)
			seq++
		}
		l.DDL(binlogtest.G(0, 7, seq), "CREATE TABLE "+strings.Repeat("x", 100_000)) // ends a transaction in fragments
		for buffer := smallest; buffer <= 8<<20; buffer *= 2 {
			for _, most := range []int{0, 1 << 12, 1 << 17} {
				var r io.Reader = bytes.NewReader(l.Bytes())
				if most > 0 {
					r = &chunked{r, most, rng}
				}
				got, _, err := scanAll(r, buffer, 4, begin)
				if err != nil {
					t.Fatalf("seed %d, buffer %d, reads of %d: %v", seed, buffer, most, err)
				}
				expect(t, got, l, 0)
			}
		}
		// A reader of single bytes makes the checksum arrive byte by byte.
		small := binlogtest.New(7, binlogtest.Options{Seed: seed, NoChecksum: none})
		small.Rows(binlogtest.G(0, 7, 1), smallest-20, smallest+1)
		got, _ := scan(t, iotest.OneByteReader(bytes.NewReader(small.Bytes())), 0, 4, begin)
		expect(t, got, small, 0)
		got, _ = scan(t, iotest.DataErrReader(bytes.NewReader(small.Bytes())), 0, 4, begin)
		expect(t, got, small, 0)
	}
}

// TestDamage: any flipped bit of a file with checksums is found, in small and in fragmented events,
// and so is any file that ends inside an event.
func TestDamage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	l := binlogtest.New(7, binlogtest.Options{Seed: seed})
	l.List(binlogtest.G(0, 7, 1))
	l.Rows(binlogtest.G(0, 7, 2), 100, 200_000)
	l.Rotate("binlog.000002")
	large := l.Events[7]
	if large.Size < 200_000 {
		t.Fatalf("event 7 is %+v", large)
	}
	places := []uint64{large.Offset + 1, large.Offset + 1<<16, large.Offset + uint64(large.Size) - 1, large.Offset + uint64(large.Size) - 5}
	for range 300 {
		places = append(places, 4+rng.Uint64N(l.Size()-4))
	}
	for i, at := range places {
		data := bytes.Clone(l.Bytes())
		bit := byte(1) << rng.IntN(8)
		data[at] ^= bit
		if at == 4+17 && bit == binlog.FlagInUse {
			continue // the one bit that servers change themselves
		}
		if got, _, err := scanAll(bytes.NewReader(data), 0, 4, begin); err == nil {
			t.Errorf("seed %d: bit %#x of byte %d flipped: %d events and no error", seed, bit, at, len(got))
		} else if i < 4 && !errors.Is(err, binlog.ErrChecksum) {
			t.Errorf("byte %d of a large event: %v", at, err)
		}
	}
	ends := map[uint64]bool{4: true, l.Size(): true}
	for _, e := range l.Events {
		ends[e.Offset] = true
	}
	for range 300 {
		n := 4 + rng.Uint64N(l.Size()-4)
		_, _, err := scanAll(bytes.NewReader(l.Bytes()[:n]), 0, 4, begin)
		if ends[n] != (err == nil) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for n := range 4 {
		if _, _, err := scanAll(bytes.NewReader(l.Bytes()[:n]), 0, 4, begin); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, _, err := scanAll(strings.NewReader("\xfebinx"), 0, 3, begin); err == nil {
		t.Error("a head without the magic is accepted")
	}
	if _, _, err := scanAll(strings.NewReader("\xfeBINx"), 0, 4, begin); err == nil {
		t.Error("another magic is accepted")
	}
}

// TestErrors: an error of the reader comes back as it is, and the scanner stays failed.
func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	l := everything(binlogtest.Options{})
	for _, n := range []uint64{4, 10, 300, 1000} {
		sc, err := binlog.NewFileScanner(io.MultiReader(bytes.NewReader(l.Bytes()[:n]), iotest.ErrReader(broken)), 0, 4, begin)
		if err == nil {
			_, err = collect(sc)
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if _, again := sc.Next(); again != err {
			t.Errorf("after %d bytes: then %v", n, again)
		}
	}
}

// rotate is an artificial ROTATE as servers send it.
func rotate(file string, offset uint64, checksum bool) []byte {
	return binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(offset, file), checksum)
}

// resent is a file's format description as a server sends it to who begins behind it.
func resent(t *testing.T, l *binlogtest.Log) []byte {
	t.Helper()
	f, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
	if err != nil {
		t.Fatal(err)
	}
	return f.Copy()
}

// TestStream: what a primary sends: artificial rotates with and without a checksum, the format
// description again, heartbeats, and offsets from the middle of a file.
func TestStream(t *testing.T) {
	for _, none := range []bool{false, true} {
		first := binlogtest.New(7, binlogtest.Options{NoChecksum: none, Created: 1600000000})
		first.List()
		first.Rows(binlogtest.G(0, 7, 1), 100)
		at := first.Size()
		skip := len(first.Events)
		first.Rows(binlogtest.G(0, 7, 2), 100_000)
		first.Rotate("binlog.000009")
		second := binlogtest.New(7, binlogtest.Options{NoChecksum: none, Time: 1700000099})
		second.List(binlogtest.G(0, 7, 2))
		second.Rows(binlogtest.G(0, 7, 3), 100)
		for _, crc := range []bool{false, true} { // of the first rotate
			var stream []byte
			stream = append(stream, rotate("binlog.000008", at, crc)...)
			stream = append(stream, resent(t, first)...)
			stream = append(stream, first.Bytes()[at:]...)
			stream = append(stream, rotate("binlog.000009", 4, !none)...)
			stream = append(stream, second.Bytes()[4:]...)
			beat := binlogtest.Encode(binlog.TypeHeartbeat, 7, 0, 0, uint32(second.Size()), []byte("binlog.000009"), !none)
			stream = append(stream, beat...)

			sc := binlog.NewScanner(bytes.NewReader(stream), 0)
			var points []string
			i, l := skip, first
			var size uint32
			for {
				ev, err := sc.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("checksums %v, of the rotate %v: %v", !none, crc, err)
				}
				switch {
				case ev.Head:
					if ev.Type != binlog.TypeFormatDescription || len(points) != 1 {
						t.Errorf("event of type %d counts as head", ev.Type)
					}
				case ev.Type == binlog.TypeHeartbeat:
					if p, err := binlog.ParseHeartbeat(ev.Header, sc.Body(ev)); err != nil || p != sc.Point() || !ev.Artificial() {
						t.Errorf("heartbeat at %s, the scanner is at %s", p, sc.Point())
					}
					points = append(points, "heartbeat")
				case ev.Artificial():
					points = append(points, sc.Point().String())
					if len(points) == 2 {
						i, l = 0, second
					}
				default:
					if size += uint32(len(ev.Data)); !ev.Last {
						continue
					}
					want := l.Events[i]
					if ev.Offset != want.Offset || ev.Size != want.Size || size != ev.Size || ev.Open != want.Open || ev.GTID != want.GTID {
						t.Fatalf("%+v, want %+v", ev, want)
					}
					if ev.File+":" != points[len(points)-1][:len(ev.File)+1] {
						t.Errorf("event of file %s after %v", ev.File, points)
					}
					size = 0
					i++
				}
			}
			if got := strings.Join(points, " "); got != fmt.Sprintf("binlog.000008:%d binlog.000009:4 heartbeat", at) {
				t.Errorf("checksums %v, of the rotate %v: %s", !none, crc, got)
			}
		}
	}
}

// TestMore: an event that is in memory counts only when it is one of the source's own: behind a
// heartbeat or an artificial rotate nothing may come for hours.
func TestMore(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.DDL(binlogtest.G(0, 7, 1), "CREATE TABLE t (a INT)")
	beat := binlogtest.Encode(binlog.TypeHeartbeat, 7, 0, 0, uint32(l.Size()), []byte("binlog.000001"), true)
	for _, tt := range []struct {
		name string
		next []byte
		more bool
	}{
		{"nothing", nil, false},
		{"a heartbeat", beat, false},
		{"an artificial rotate", rotate("binlog.000002", 4, true), false},
		{"the format description again", resent(t, l), false},
		{"half an event", l.Bytes()[4:200], false},
		{"an event", l.Bytes()[l.Events[1].Offset:l.Events[2].Offset], true},
	} {
		sc := binlog.NewScanner(bytes.NewReader(append(append(rotate("binlog.000001", 4, false), l.Bytes()[4:]...), tt.next...)), 0)
		for i := range len(l.Events) + 1 {
			ev, err := sc.Next()
			if err != nil {
				t.Fatal(err)
			}
			want := i < len(l.Events) || tt.more
			if ev.More != want {
				t.Errorf("%s comes next: event %d says %v", tt.name, i, ev.More)
			}
		}
	}
}

// TestSegment: a head of ours is told from the body, and offsets are those of the source.
func TestSegment(t *testing.T) {
	for _, none := range []bool{false, true} {
		l := binlogtest.New(7, binlogtest.Options{NoChecksum: none, Created: 1600000000})
		l.List()
		l.Rows(binlogtest.G(0, 7, 1), 100)
		at := l.Size()
		skip := len(l.Events)
		seq := l.Everything(0, 2)
		f, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
		if err != nil {
			t.Fatal(err)
		}
		state := gtid.NewState([]gtid.GTID{binlogtest.G(0, 7, 1), binlogtest.G(5, 8, 9)})
		head := f.Head(at, state)
		if got := f.Head(4, state); string(got) != binlog.Magic {
			t.Errorf("the head of a segment at offset 4 has %d bytes", len(got))
		}
		data := append(bytes.Clone(head), l.Bytes()[at:]...)
		start := binlog.Point{File: "b.1", Offset: at}
		sc, err := binlog.NewFileScanner(bytes.NewReader(data), 0, uint64(len(head)), start)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := sc.Next()
		if err != nil || !ev.Head || ev.Type != binlog.TypeFormatDescription || ev.LogPos != 0 || sc.Format().Created != 0 {
			t.Fatalf("first is %+v, %v", ev, err)
		}
		if !bytes.Equal(ev.Data[:19], f.Copy()[:19]) || sc.Format().Fingerprint() != f.Fingerprint() {
			t.Error("the format description in the head is not that of the file")
		}
		ev, err = sc.Next()
		if err != nil || !ev.Head || ev.Type != binlog.TypeMariaGTIDList || !ev.Artificial() {
			t.Fatalf("second is %+v, %v", ev, err)
		}
		if list, err := binlog.ParseGTIDList(sc.Body(ev)); err != nil || gtid.FormatList(list) != "0-7-1,5-8-9" {
			t.Errorf("the list is %v, %v", list, err)
		}
		got, err := collect(sc)
		if err != nil || seq == 2 {
			t.Fatal(err)
		}
		rest := *l
		rest.Events = l.Events[skip:]
		expect(t, got, &rest, 0)

		// A head whose length is wrong is refused: it would move offsets.
		for _, n := range []uint64{uint64(len(head)) - 1, uint64(len(head)) + 1, 5} {
			if _, _, err := scanAll(bytes.NewReader(data), 0, n, start); err == nil {
				t.Errorf("a head of %d bytes in place of %d is accepted", n, len(head))
			}
		}
	}
}

// TestBeyond4GiB: log_pos wraps, offsets do not.
func TestBeyond4GiB(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{NoPos: true})
	l.List()
	at := l.Size()
	skip := len(l.Events)
	for seq := range uint64(20) {
		l.Rows(binlogtest.G(0, 7, seq+1), 1000)
	}
	for _, start := range []uint64{1<<32 - 5000, 1<<32 - 100, 1 << 32, 7<<32 + 12345, 1<<40 - 3000} {
		f, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
		if err != nil {
			t.Fatal(err)
		}
		head := f.Head(start, gtid.NewState(nil))
		data := append(bytes.Clone(head), shifted(l.Bytes()[at:], start-at)...)
		got, sc := scan(t, bytes.NewReader(data), 0, uint64(len(head)), binlog.Point{File: "b", Offset: start})
		for i, e := range l.Events[skip:] {
			e.Offset += start - at
			if got[i].Event != e {
				t.Fatalf("from %d: event %d is %+v, want %+v", start, i, got[i].Event, e)
			}
		}
		if want := start + l.Size() - at; sc.Point().Offset != want {
			t.Errorf("from %d: ends at %d, want %d", start, sc.Point().Offset, want)
		}
		// The same with an offset that is one too large.
		if _, _, err := scanAll(bytes.NewReader(data), 0, uint64(len(head)), binlog.Point{File: "b", Offset: start + 1}); err == nil {
			t.Error("an offset that contradicts log_pos is accepted")
		}

		// By GTID: the server says where it is in 32 bits only.
		for _, tt := range []struct {
			expect binlog.Point
			want   uint64
		}{
			{binlog.Point{File: "b", Offset: start}, start},
			{binlog.Point{File: "other", Offset: start}, start % (1 << 32)},
			{binlog.Point{File: "b", Offset: start + 8}, start % (1 << 32)},
			{binlog.Point{}, start % (1 << 32)},
		} {
			stream := append(rotate("b", 4, false), f.Copy()...)
			stream = append(stream, data[len(head):]...)
			sc := binlog.NewScanner(bytes.NewReader(stream), 0)
			sc.Lose(tt.expect)
			var at []uint64
			for {
				ev, err := sc.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("from %d, expecting %s: %v", start, tt.expect, err)
				}
				if !ev.Head && !ev.Artificial() {
					at = append(at, ev.Offset)
				}
			}
			for i, e := range l.Events[skip:] {
				if want := e.Offset - l.Events[skip].Offset + tt.want; at[i] != want {
					t.Fatalf("from %d, expecting %s: event %d is at %d, want %d", start, tt.expect, i, at[i], want)
				}
			}
		}
	}
}

// shifted moves events to another offset.
func shifted(data []byte, by uint64) []byte {
	data = bytes.Clone(data)
	for at := 0; at < len(data); {
		ev := data[at:]
		ev = ev[:binary.LittleEndian.Uint32(ev[9:])]
		if pos := binary.LittleEndian.Uint32(ev[13:]); pos != 0 {
			binary.LittleEndian.PutUint32(ev[13:], pos+uint32(by))
			n := len(ev) - 4
			binary.LittleEndian.PutUint32(ev[n:], crc32.ChecksumIEEE(ev[:n]))
		}
		at += len(ev)
	}
	return data
}
