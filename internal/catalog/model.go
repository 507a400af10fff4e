package catalog

import (
	"crypto/sha256"
	"fmt"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/gtid"
)

// FormatVersion is the archive format this program writes and reads.
const FormatVersion = 1

// Digest is a SHA-256.
type Digest = [sha256.Size]byte

// Cluster is one replication history.
type Cluster struct {
	UUID    string
	Name    string
	Flavor  gtid.Flavor
	Created time.Time
}

// Timeline is an unbroken history inside a cluster.
type Timeline struct {
	Number           uint32
	Parent           uint32 // 0: none
	ParentSegment    uint64
	ParentBodyOffset uint64
	Position         Position
	Skipped          uint64 `json:",omitzero"` // segments that a copy leaves out at its beginning
	Seed             Digest // the chain digest before the first segment that there is
	Reason           string // start, failover, reset, gap, restore
	Created          time.Time
	Gaps             []Gap
	Abandoned        []string

	Expired ExpiredLog `json:"-"` // what of it has expired, as another object says
	apart   bool       // its parent's log does not reach where it begins any more
}

// Gap is what was purged before it could be archived.
type Gap struct {
	From, To Position
	Noticed  time.Time
}

// Position is a place in a replication history, in the server's notation.
type Position struct {
	GTID  string   // MariaDB: last GTID of every domain; MySQL: the whole set
	State []string // MariaDB: the binlog state, in GTID_LIST order
}

// PositionOf returns the position a binlog state describes.
func PositionOf(s *gtid.State) Position {
	if s.Flavor() == gtid.MySQL {
		return Position{GTID: s.String()}
	}
	list := s.List()
	state := make([]string, len(list))
	for i, g := range list {
		state[i] = g.String()
	}
	return Position{GTID: s.String(), State: state}
}

// LogState returns the binlog state of a position.
func (p Position) LogState(f gtid.Flavor) (*gtid.State, error) {
	if f == gtid.MySQL {
		set, err := gtid.ParseSet(p.GTID)
		if err != nil {
			return nil, err
		}
		return gtid.NewSetState(set), nil
	}
	list := make([]gtid.GTID, len(p.State))
	for i, s := range p.State {
		g, err := gtid.Parse(s)
		if err != nil {
			return nil, err
		}
		list[i] = g
	}
	return gtid.NewState(list), nil
}

// Equal reports whether both are the same place.
func (p Position) Equal(q Position) bool {
	if p.GTID != q.GTID || len(p.State) != len(q.State) {
		return false
	}
	for i := range p.State {
		if p.State[i] != q.State[i] {
			return false
		}
	}
	return true
}

// Source is the server a segment came from and where it lay there.
type Source struct {
	ServerID    uint32
	ServerUUID  string
	Version     string
	File        string // "" where the source has no files
	Start, End  uint64 // offsets of the body in File
	Format      Digest // fingerprint of the file's format description
	FileCreated uint32 // timestamp of the file's format description, seconds
}

// SameFile reports whether both lie in one binlog file of one server.
func (s Source) SameFile(t Source) bool {
	return s.File == t.File && s.ServerID == t.ServerID && s.ServerUUID == t.ServerUUID &&
		s.Format == t.Format && s.FileCreated == t.FileCreated
}

// Flavor tells what kind of server it is: those of MySQL have a UUID.
func (s Source) Flavor() gtid.Flavor {
	if s.ServerUUID != "" {
		return gtid.MySQL
	}
	return gtid.MariaDB
}

// StartPoint is where the body begins in the source.
func (s Source) StartPoint() binlog.Point { return binlog.Point{File: s.File, Offset: s.Start} }

// EndPoint is where the body ends in the source.
func (s Source) EndPoint() binlog.Point { return binlog.Point{File: s.File, Offset: s.End} }

// Stored is a stored object.
type Stored struct {
	Key         string // relative to the cluster
	Size        int64
	CRC32C      uint32
	SHA256      Digest
	Compression string
	Recipients  []string
}

// TimeRange holds commit times; all are zero where there are no transactions.
type TimeRange struct {
	First, Last time.Time // of the first and last transaction in log order
	Min, Max    time.Time
	Precision   time.Duration
}

// Segment is the manifest of one segment.
type Segment struct {
	ClusterUUID  string
	Timeline     uint32
	First, Last  uint64
	Writer       string
	Source       Source
	ServerIDs    []uint32 // ascending
	Before       Position
	After        Position
	Commit       TimeRange
	Transactions uint64
	Events       uint64
	HeadBytes    uint64
	BodyBytes    uint64
	BodySHA256   Digest
	ChainBefore  Digest
	ChainAfter   Digest
	Members      []Member
	Tail         *Tail // its last transaction, for whoever goes on behind it; nil where nobody does
	Stored       Stored
	Sealed       time.Time
	CreatedBy    string

	// Variables are those of the server from its first event on, as of a Base; nil where nobody has looked since the segment before.
	Variables map[string]string `json:",omitempty"`

	// Barriers are what no server can replay of it, in log order: the first ones, and the last.
	Barriers []Barrier `json:",omitempty"`

	Manifest Digest `json:"-"` // its manifest's own; zero unless it was read from an archive
}

// Barrier is a place in a segment that no server gets past which replays the log: it says that something happened, and does not
// hold what.
type Barrier struct {
	Kind   string    // "incident" or "import"
	Offset uint64    // of the event, in the source file
	GTID   string    // of its transaction; "" outside of one
	Time   time.Time // of the event, by the primary's clock
	What   string    // what the event says: printable, at most some hundred bytes, without literals
}

// HeldBy reports whether a base backup was taken behind a barrier of a segment, and so holds what has happened there.
func (b *Barrier) HeldBy(base *Base, s *Segment) bool {
	switch {
	case base.Timeline != s.Timeline:
		return base.Timeline > s.Timeline
	case base.Segment > s.Last:
		return true
	}
	return base.Segment >= s.First && base.Source.Offset > b.Offset
}

// MostBarriers is how many of its barriers a segment names: the first ones, and the last.
const MostBarriers = 100

// AddBarrier adds the next barrier of a segment to those that it names. The last one is always among them: it tells which base
// backups are behind all.
func AddBarrier(list []Barrier, b Barrier) []Barrier {
	if len(list) == MostBarriers {
		list = list[:MostBarriers-1]
	}
	return append(list, b)
}

// Name is how people call the segment: "12" or "12-340".
func (s *Segment) Name() string {
	if s.First == s.Last {
		return fmt.Sprint(s.First)
	}
	return fmt.Sprintf("%d-%d", s.First, s.Last)
}

// chainAt returns the chain digest after the member with a number, if it has that.
func (s *Segment) chainAt(number uint64) (Digest, bool) {
	d := s.ChainBefore
	for _, m := range s.Members {
		if d = NextDigest(d, m.BodySHA256); m.Number == number {
			return d, true
		}
	}
	return Digest{}, false
}

// ReceivedLast is when the last event was received, by the archiver's clock.
func (s *Segment) ReceivedLast() time.Time {
	if len(s.Members) == 0 {
		return time.Time{}
	}
	return s.Members[len(s.Members)-1].ReceivedLast
}

// Member is one segment as it was first sealed.
type Member struct {
	Number        uint64
	BodyBytes     uint64
	BodySHA256    Digest
	ReceivedFirst time.Time
	ReceivedLast  time.Time
	Live          bool
}

// Tail is the end of a segment from the start of its last transaction; of a segment without one,
// the whole body. A reconnect asks the source for it again and compares.
type Tail struct {
	GTID   string
	Offset uint64 // in the source file
	Bytes  uint64
	SHA256 Digest
	Before Position // position before the last transaction
}

// Head says how far the archive reaches.
type Head struct {
	Timeline     uint32
	Sequence     uint64
	Segment      uint64 // 0: none
	Chain        Digest
	Position     Position
	CoveredUntil time.Time // by the primary's clock
	Written      time.Time
	Writer       string
}

// Base is the manifest of one base backup.
type Base struct {
	ClusterUUID   string
	ID            string
	Engine        string
	ToolVersion   string
	ServerVersion string
	Flavor        gtid.Flavor
	ServerID      uint32
	ServerUUID    string
	Timeline      uint32
	PositionMin   Position
	PositionMax   Position
	Source        binlog.Point // of PositionMax
	Segment       uint64       // in which it lies
	FromLSN       uint64
	ToLSN         uint64
	Variables     map[string]string
	Parts         []Part
	PlainBytes    int64
	Started       time.Time
	Finished      time.Time
	Consistent    time.Time // by the primary's clock, at PositionMax
	Writer        string
	CreatedBy     string
	EmptyTables   []string
	UncopiedFiles []string `json:",omitempty"` // of the primary's databases, which no engine copies, by their paths in the data directory
	KeepUntil     time.Time
}

// StoredBytes is the size of all parts as stored.
func (b *Base) StoredBytes() int64 {
	var n int64
	for _, p := range b.Parts {
		n += p.Stored.Size
	}
	return n
}

// Part is a run of a base backup's stream, sealed alone.
type Part struct {
	Number      uint32
	PlainBytes  int64
	PlainSHA256 Digest
	Stored      Stored
}

// NextDigest is the chain digest after a segment with the given body digest.
func NextDigest(before, body Digest) Digest {
	return sha256.Sum256(append(append(make([]byte, 0, 2*sha256.Size), before[:]...), body[:]...))
}
