package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld/hostiletest"
)

// TestPackets: events come out as they went in, whatever the size of packets, reads and buffers; also
// those that end within a few bytes of a full packet.
func TestPackets(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	var sizes []int
	for range 600 { // the sequence number wraps twice
		sizes = append(sizes, 19+rng.IntN(300))
	}
	for _, tt := range []struct {
		name   string
		sizes  []int
		piece  func() int
		buffer int
	}{
		{"small", sizes, func() int { return 1 + rng.IntN(3000) }, 1 << 16},
		{"small buffer", sizes, hostiletest.Pieces(1 << 16), 512},
		{"byte by byte", sizes[:300], hostiletest.Pieces(1), 1 << 16},
		{"full packets", []int{maxPayload - 3, 40, maxPayload - 2, 40, maxPayload - 1, 40, maxPayload, 40, maxPayload + 1, 40}, hostiletest.Pieces(1 << 20), 1 << 20},
		{"many packets", []int{30, 2*maxPayload - 1, 30}, func() int { return 1 + rng.IntN(1<<20) }, 1 << 18},
	} {
		s := hostiletest.NewPackets(1)
		var want bytes.Buffer
		for _, n := range tt.sizes {
			ev := make([]byte, n)
			for i := 0; i < n; i += 997 {
				ev[i] = byte(rng.Uint32())
			}
			s.Event(ev)
			want.Write(ev)
		}
		conn := hostiletest.Send(s.Bytes(), tt.piece)
		got, err := io.ReadAll(newPackets(conn, clock.System{}, time.Minute, tt.buffer))
		if !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%s, seed %d: %v", tt.name, seed, err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s, seed %d: %d bytes of %d, or others", tt.name, seed, len(got), want.Len())
		}
		conn.Close()
	}
}

// TestSemiSyncPackets: with the two bytes of semi-synchronous replication events come out as they went
// in, those that ask for an acknowledgement are known, and the count of packets begins anew after them;
// a server that leaves the bytes out is understood.
func TestSemiSyncPackets(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 2))
	for _, with := range []bool{true, false} {
		s := hostiletest.NewPackets(1)
		var want bytes.Buffer
		var asked []uint64
		for i := range 900 {
			n := 19 + rng.IntN(300)
			if i%300 == 150 {
				n = maxPayload - 5 + rng.IntN(10) // about a whole packet
			}
			ev := make([]byte, n)
			if i > 0 {
				ev[0] = semiMagic // as the time of an event may look
			}
			ask := with && i > 0 && rng.IntN(3) == 0
			if ask {
				asked = append(asked, uint64(want.Len()))
			}
			want.Write(ev)
			switch {
			case !with:
				s.Event(ev)
			case ask:
				s.Event(append([]byte{semiMagic, semiAck}, ev...))
				s.Seq = 1
			default:
				s.Event(append([]byte{semiMagic, 0}, ev...))
			}
		}
		conn := hostiletest.Send(s.Bytes(), func() int { return 1 + rng.IntN(1<<16) })
		p := newPackets(conn, clock.System{}, time.Minute, 1<<16)
		p.semi = semiUnknown
		got, err := io.ReadAll(p)
		if !fault.Is(err, fault.Primary) || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("with %v, seed %d: %d bytes of %d, or others: %v", with, seed, len(got), want.Len(), err)
		}
		if !slices.Equal(p.asked, asked) || (p.semi == semiOn) != with {
			t.Errorf("with %v, seed %d: %d events ask for an acknowledgement, %d expected", with, seed, len(p.asked), len(asked))
		}
		conn.Close()
	}
}

// TestPacketErrors: what is no event ends the stream with an error, after the events before it.
func TestPacketErrors(t *testing.T) {
	ev := make([]byte, 50)
	for _, tt := range []struct {
		name string
		end  func(s *hostiletest.Packets)
		want string
	}{
		{"err", func(s *hostiletest.Packets) {
			s.Err(1236, "#HY000", "Could not find first log file name in binary log index file")
		}, "error 1236: Could not find first log file"},
		{"err without a state", func(s *hostiletest.Packets) { s.Err(1053, "", "Server shutdown in progress") }, "error 1053: Server shutdown"},
		{"short err", func(s *hostiletest.Packets) { s.Packet([]byte{packetErr, 1}) }, "ended the stream"},
		{"eof", func(s *hostiletest.Packets) { s.Packet([]byte{packetEOF, 0, 0, 2, 0}) }, "ended the stream"},
		{"sequence", func(s *hostiletest.Packets) { s.Seq++; s.Event(ev) }, "packet 5 where packet 4"},
		{"sequence before a continuation", func(s *hostiletest.Packets) {
			s.Packet(append([]byte{packetOK}, make([]byte, maxPayload-1)...))
			s.Seq++
			s.Packet(ev)
		}, "packet 6 where packet 5"},
		{"empty packet", func(s *hostiletest.Packets) { s.Packet(nil); s.Event(ev) }, "empty packet"},
		{"status byte", func(s *hostiletest.Packets) { s.Packet([]byte{7, 1, 2}) }, "status byte 0x7"},
		{"cut header", func(s *hostiletest.Packets) { s.Raw(9, 0) }, "closed"},
		{"cut event", func(s *hostiletest.Packets) { s.Event(ev); s.Cut(3) }, "closed"},
		{"cut err", func(s *hostiletest.Packets) { s.Err(1236, "#HY000", "xxxxxxxxx"); s.Cut(3) }, "closed"},
		{"endless err", func(s *hostiletest.Packets) {
			s.Packet(append([]byte{packetErr}, make([]byte, 1<<18)...))
		}, ""},
	} {
		for _, piece := range []int{1 << 20, 7} {
			s := hostiletest.NewPackets(1)
			for range 3 {
				s.Event(ev)
			}
			tt.end(s)
			conn := hostiletest.Send(s.Bytes(), hostiletest.Pieces(max(piece, len(s.Bytes())>>12)))
			p := newPackets(conn, clock.System{}, time.Minute, 1<<16)
			got, err := io.ReadAll(p)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if len(got) < 150 {
				t.Errorf("%s: %d bytes before the error", tt.name, len(got))
			}
			conn.Close()
		}
	}
}

// TestSilence: a server that says nothing is given up after the time for it.
func TestSilence(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	_, err := newPackets(ours, clock.System{}, 20*time.Millisecond, 1<<16).Read(make([]byte, 10))
	if !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), "not even a heartbeat") {
		t.Errorf("got %v", err)
	}
}

// TestScanPackets: the scanner over packets does not lose an error that comes with the last bytes.
func TestScanPackets(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	seq := l.Everything(0, 1)
	l.Rows(binlogtest.G(0, 7, seq), 100_000)
	for _, piece := range []int{1 << 20, 13} {
		s := hostiletest.NewPackets(1)
		s.Event(binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(4, "b.1"), false))
		for _, e := range l.Events {
			s.Event(l.Bytes()[e.Offset : e.Offset+uint64(e.Size)])
		}
		s.Err(1236, "#HY000", "log event entry exceeded max_allowed_packet")
		conn := hostiletest.Send(s.Bytes(), hostiletest.Pieces(piece))
		sc := binlog.NewScanner(newPackets(conn, clock.System{}, time.Minute, 1<<16), 0)
		events := 0
		var err error
		for err == nil {
			var ev *binlog.Event
			if ev, err = sc.Next(); err == nil && ev.Last {
				events++
			}
		}
		var server *ServerError
		if !errors.As(err, &server) || server.Code != 1236 || events != len(l.Events)+1 {
			t.Errorf("%d events of %d, then %v", events, len(l.Events)+1, err)
		}
		conn.Close()
	}
}

// TestPacketAllocations: framing allocates nothing for an event.
func TestPacketAllocations(t *testing.T) {
	s := hostiletest.NewPackets(1)
	for range 256 {
		s.Event(make([]byte, 200))
	}
	p := newPackets(&loop{data: s.Bytes()}, clock.System{}, time.Minute, 1<<16)
	b := make([]byte, 200)
	n := testing.AllocsPerRun(10_000, func() {
		if _, err := io.ReadFull(p, b); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// loop gives the same bytes for ever.
type loop struct {
	net.Conn
	data []byte
	at   int
}

func (l *loop) SetReadDeadline(time.Time) error { return nil }

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}

// ticking is a clock that a test moves.
type ticking struct {
	clock.System
	now time.Time
}

func (c *ticking) Now() time.Time { return c.now }

// TestArrivals: what was read is known to be no older than the moment at which the socket was last
// empty before it; a socket that was not read for an hour makes nothing look an hour younger.
func TestArrivals(t *testing.T) {
	c := &ticking{now: time.Unix(1000, 0)}
	a := &arrivals{clock: c}
	w := &watched{Conn: &loop{data: make([]byte, 1000)}, a: a}
	read := func(room int, at int64) { t.Helper(); c.now = time.Unix(at, 0); _, _ = w.Read(make([]byte, room)) }
	check := func(want int64) {
		t.Helper()
		got := int64(0)
		if !a.since.IsZero() {
			got = a.since.Unix()
		}
		if got != want {
			t.Errorf("since %d, want %d", got, want)
		}
	}
	check(0)
	read(600, 1010) // full: more may wait
	check(0)
	read(600, 1020) // 400: empty now
	check(0)
	read(600, 5000) // an hour later
	check(1020)
	read(600, 5001)
	check(1020)
	read(1001, 5002)
	check(5001)
}

func TestRefusal(t *testing.T) {
	for _, tt := range []struct {
		code    uint16
		message string
		want    error
	}{
		{1236, "Could not find first log file name in binary log index file", ErrNoFile},
		{1236, "Client requested master to start replication from impossible position", ErrNoFile},
		{1236, "Client requested master to start replication from position > file size", ErrNoFile},
		{1236, "binlog truncated in the middle of event; consider out of disk space on master", ErrTorn},
		{1236, "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and required binlog files have been purged.", ErrPurged},
		{1236, "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere", ErrPurged},
		{1236, "Error: connecting slave requested to start from GTID 0-1-5, which is not in the master's binlog", ErrDiverged},
		{1236, "Error: connecting slave requested to start from GTID 0-1-5, which is not in the master's binlog. Since the master's binlog contains GTIDs with higher sequence numbers, it probably means that the slave has diverged due to executing extra erroneous transactions", ErrDiverged},
		{1236, "Replica has more GTIDs than the source has, using the source's SERVER_UUID.", ErrDiverged},
		{1236, "A slave with the same server_uuid/server_id as this slave has connected to the master; the first event ...", ErrDuplicateID},
		{4052, "A slave with the same server_uuid/server_id is already connected", ErrDuplicateID},
		{1236, "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master", ErrNoFile},
		{1053, "Server shutdown in progress", nil},
		{1927, "Connection was killed; binary logs have been purged", nil}, // the words count only with their code
	} {
		err := refusal(&ServerError{Code: tt.code, Message: tt.message})
		if !fault.Is(err, fault.Primary) || Refused(err) == passing[tt.code] {
			t.Errorf("%s: kind %v, refused %v", tt.message, fault.KindOf(err), Refused(err))
		}
		for _, reason := range []error{ErrPurged, ErrDiverged, ErrNoFile, ErrTorn, ErrDuplicateID} {
			if errors.Is(err, reason) != (reason == tt.want || reason == ErrNoFile && tt.want == ErrTorn) {
				t.Errorf("%s: is %q: %v", tt.message, reason, errors.Is(err, reason))
			}
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("error %d: %s", tt.code, tt.message)) {
			t.Errorf("the server's words are not in %q", err)
		}
		if tt.want != nil && fault.HintOf(err) == "" {
			t.Errorf("%s: no hint", tt.message)
		}
	}
	if Refused(errors.New("broken pipe")) {
		t.Error("a broken connection counts as a refusal")
	}
}
