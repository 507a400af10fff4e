package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/binlog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Request says who we are and where the binlog is wanted from.
type Request struct {
	ServerID  uint32
	UUID      string // persistent; MySQL tells replicas apart by it
	Heartbeat time.Duration
	Buffer    int // bytes for events, and as much again for packets; 0 means 1 MiB

	// From is the place in the server's files, a transaction's start. Without a file, the binlog is
	// requested behind the GTID position After.
	From   binlog.Point
	After  string
	Expect binlog.Point // where the first transaction behind After probably begins; completes 32-bit offsets

	// SemiSync asks to be one whose acknowledgement commits wait for. Then the request itself says
	// that all before From or After is safe.
	SemiSync bool
}

// Fixed is the request whatever the server is.
func (r Request) Fixed(*Server) (Request, error) { return r, nil }

// Stream is a running dump. Next, Body and AckWanted are for one goroutine; the rest may be called by
// others.
type Stream struct {
	Server *Server

	conn     *client.Conn
	packets  *packets
	scan     *binlog.Scanner
	taken    uint64 // bytes of events that the scanner has returned
	wanted   bool   // the event in hand is to be acknowledged
	acks     acks
	clock    clock.Clock
	arrivals *arrivals
	stop     func() bool

	mu     sync.Mutex
	caught binlog.Point
	at     time.Time
}

// Open connects, registers as a replica and requests the binlog. What is requested may depend on which
// server it is. Cancelling ctx ends the stream.
func Open(ctx context.Context, o Options, request func(*Server) (Request, error), clk clock.Clock) (*Stream, error) {
	o.arrivals = &arrivals{clock: clk}
	conn, err := Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Stream{conn: conn, clock: clk, arrivals: o.arrivals}
	if err := s.start(o, request); err != nil {
		_ = conn.Close()
		return nil, err
	}
	// A blocked read ends when its deadline has passed.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return s, nil
}

func (s *Stream) start(o Options, request func(*Server) (Request, error)) (err error) {
	if s.Server, err = Probe(s.conn, s.clock.Now); err != nil {
		return err
	}
	if err := s.Server.Archivable(); err != nil {
		return err
	}
	r, err := request(s.Server)
	if err != nil {
		return err
	}
	if r.ServerID == s.Server.ID {
		return fault.New(fault.Primary, "register with", o.Host, refused(fmt.Sprintf("our server_id %d is the server's own", r.ServerID))).
			WithHint("Give this archiver a server_id of its own (clusters.NAME.server_id).")
	}
	set, err := s.Server.settings(r)
	if err != nil {
		return err
	}
	for _, stmt := range set {
		if _, err := s.conn.Execute(stmt); err != nil {
			return queryError("set up the dump", err, s.Server.Flavor)
		}
	}
	if err := s.unclaimed(r); err != nil {
		return err
	}
	if err := s.register(r); err != nil {
		return err
	}
	if err := s.dump(r); err != nil {
		return err
	}
	buffer := r.Buffer
	if buffer == 0 {
		buffer = binlog.DefaultBuffer
	}
	s.packets = newPackets(s.conn.Conn.Conn, s.clock, 2*r.Heartbeat+time.Second, buffer)
	if r.SemiSync {
		s.packets.semi = semiUnknown
	}
	s.scan = binlog.NewScanner(s.packets, buffer)
	if r.From.File == "" {
		s.scan.Lose(r.Expect)
	}
	return nil
}

// settings are the statements that prepare a session for a dump.
func (s *Server) settings(r Request) ([]string, error) {
	set := []string{
		fmt.Sprintf("SET @master_heartbeat_period = %d, @source_heartbeat_period = %d", r.Heartbeat.Nanoseconds(), r.Heartbeat.Nanoseconds()),
		"SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
		fmt.Sprintf("SET @slave_uuid = '%s', @replica_uuid = '%s'", r.UUID, r.UUID),
		// A dump waits for events: a server-side limit on the silence of clients is not for us.
		"SET net_write_timeout = 120",
	}
	if r.SemiSync {
		set = append(set, "SET @rpl_semi_sync_slave = 1, @rpl_semi_sync_replica = 1")
	}
	if s.Flavor == gtid.MySQL {
		return set, nil
	}
	set = append(set, "SET @mariadb_slave_capability = 4")
	if r.From.File == "" {
		after, err := gtid.ParsePosition(r.After)
		if err != nil {
			return nil, err
		}
		set = append(set, "SET @slave_connect_state = '"+after.String()+"'", "SET @slave_gtid_strict_mode = 0", "SET @slave_gtid_ignore_duplicates = 0")
	}
	return set, nil
}

// register makes us visible in the primary's list of replicas.
func (s *Stream) register(r Request) error {
	id, name := r.ServerID, r.name()
	b := make([]byte, 4, 64)
	b = append(b, mysql.COM_REGISTER_SLAVE)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = append(b, byte(len(name)))
	b = append(b, name...)
	b = append(b, 0, 0)                        // user and password are never told
	b = binary.LittleEndian.AppendUint16(b, 0) // port
	b = binary.LittleEndian.AppendUint32(b, 0) // rank
	b = binary.LittleEndian.AppendUint32(b, 0) // primary's id
	s.conn.ResetSequence()
	if err := s.conn.WritePacket(b); err != nil {
		return fault.New(fault.Primary, "register as a replica", "", cause(err))
	}
	if _, err := s.conn.ReadOKPacket(); err != nil {
		return queryError("register as a replica", err, s.Server.Flavor)
	}
	return nil
}

// dumpFlags ask MariaDB for the annotations of row events, and MySQL for heartbeats of version 2.
const dumpFlags = 2

// dump requests the binlog.
func (s *Stream) dump(r Request) error {
	if r.From.File == "" && s.Server.Flavor == gtid.MySQL {
		return s.dumpAfter(r)
	}
	return s.dumpFrom(r)
}

// dumpAfter requests what is not in a set of MySQL's GTIDs.
func (s *Stream) dumpAfter(r Request) error {
	set, err := gtid.ParseSet(r.After)
	if err != nil {
		return err
	}
	if err := s.has(set); err != nil {
		return err
	}
	data := set.Encode()
	b := make([]byte, 4, 64+len(data))
	b = append(b, mysql.COM_BINLOG_DUMP_GTID)
	b = binary.LittleEndian.AppendUint16(b, dumpFlags)
	b = binary.LittleEndian.AppendUint32(b, r.ServerID)
	b = binary.LittleEndian.AppendUint32(b, 0) // no file name
	b = binary.LittleEndian.AppendUint64(b, uint64(len(binlog.Magic)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return s.request(append(b, data...))
}

// has checks that a MySQL server has executed a set. It would send its own transactions all the same if
// it has not: to MySQL that only means that it is behind.
func (s *Stream) has(set *gtid.Set) error {
	history, err := ReadHistory(s.conn, s.Server.Flavor)
	if err != nil {
		return err
	}
	lacks := history.Lacks(gtid.NewSetState(set))
	if lacks == "" {
		return nil
	}
	return fault.New(fault.Primary, "request the binlog", "", fmt.Errorf("%w: it lacks %s", ErrDiverged, lacks)).
		WithHint("The primary was reset, restored or replaced. If it stays so, its history becomes a timeline of its own (fork_grace).")
}

// dumpFrom requests the binlog from a place in a file, or behind MariaDB's @slave_connect_state. The
// offset has 32 bits in this command.
func (s *Stream) dumpFrom(r Request) error {
	if r.From.Offset >= 1<<32 {
		return fmt.Errorf("request the binlog at %s: the protocol counts offsets in 32 bits", r.From)
	}
	offset := uint32(r.From.Offset)
	if r.From.File == "" {
		offset = uint32(len(binlog.Magic))
	}
	b := make([]byte, 4, 64)
	b = append(b, mysql.COM_BINLOG_DUMP)
	b = binary.LittleEndian.AppendUint32(b, offset)
	b = binary.LittleEndian.AppendUint16(b, dumpFlags)
	b = binary.LittleEndian.AppendUint32(b, r.ServerID)
	return s.request(append(b, r.From.File...))
}

// request sends a dump command. Its answer is the stream.
func (s *Stream) request(b []byte) error {
	s.conn.ResetSequence()
	if err := s.conn.WritePacket(b); err != nil {
		return fault.New(fault.Primary, "request the binlog", "", cause(err))
	}
	return nil
}

// Next returns the next event of the server's files, or a fragment of a large one. Events made up
// for the connection are not handed on. After an error the stream is over.
func (s *Stream) Next() (*binlog.Event, error) {
	for {
		ev, err := s.scan.Next()
		if err != nil {
			return nil, s.wrap(err)
		}
		s.note(ev)
		switch {
		case ev.Head: // a format description sent again
		case ev.Type == binlog.TypeHeartbeat, ev.Type == binlog.TypeHeartbeatV2:
			if err := s.heartbeat(ev); err != nil {
				return nil, s.wrap(err)
			}
		case ev.Artificial():
		default:
			return ev, nil
		}
	}
}

// wrap gives an error its kind.
func (s *Stream) wrap(err error) error {
	if fault.KindOf(err) != fault.Other {
		return err
	}
	f := fault.New(fault.Primary, "read the binlog", "", err)
	if errors.Is(err, binlog.ErrChecksum) {
		return f.WithHint("The event was damaged on the way or in the primary's file; `mariadb-binlog --verify-binlog-checksum` on the primary tells.")
	}
	return f
}

// Format returns the format description of the file being read, or nil before the first.
func (s *Stream) Format() *binlog.FormatDescription { return s.scan.Format() }

// ServerUUID identifies a MySQL server; "" for MariaDB.
func (s *Stream) ServerUUID() string { return s.Server.UUID }

// Body returns what lies between header and checksum of the event in hand.
func (s *Stream) Body(ev *binlog.Event) []byte { return s.scan.Body(ev) }

func (s *Stream) heartbeat(ev *binlog.Event) error {
	p, err := binlog.ParseHeartbeat(ev.Header, s.scan.Body(ev))
	if err != nil || s.arrivals.since.IsZero() {
		return err
	}
	at := s.arrivals.since.Add(s.Server.ClockGap)
	s.mu.Lock()
	s.caught, s.at = p, at
	s.mu.Unlock()
	return nil
}

// CaughtUp returns the place at which the server last said that it has nothing more, and a time, by
// its own clock, at which that was so: not later than when it said it, as far as can be known. The
// offset is modulo 2^32. The time is zero before the first such word.
func (s *Stream) CaughtUp() (binlog.Point, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caught, s.at
}

// Close ends the stream.
func (s *Stream) Close() error {
	s.stop()
	return s.conn.Close()
}
