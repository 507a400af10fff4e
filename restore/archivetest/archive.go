// Package archivetest builds archives for tests, out of the bytes of binlog files, real or made up.
//
//	a := archivetest.New(t, store)
//	log := archivetest.NewLog(1, begin)
//	log.Change(gtid.GTID{Server: 1, Seq: 1}, begin, "shop", "orders")
//	a.Append("binlog.000001", log.Bytes(), archivetest.Cut{Every: 1})
//	a.AddBase("b1", "binlog.000001", 1234, stream)
//	a.Head(now)
//	... a.Catalog
package archivetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/internal/seal"
	"tidemark/storage"
	"tidemark/storage/file"
)

// Archive is an archive with one timeline that grows, the first unless Fork began another. Its methods end the test when they fail.
type Archive struct {
	Catalog  *catalog.Catalog
	Store    storage.Store
	Segments []*catalog.Segment
	State    *gtid.State // after the last segment
	Dir      string      // where the objects are, of an archive made by InDir

	Recipients *keys.Recipients // that what is added from now on is encrypted for

	tb      testing.TB
	line    uint32 // the timeline that grows
	chain   catalog.Digest
	objects int
}

// InDir returns an empty archive in a temporary directory.
func InDir(tb testing.TB) *Archive {
	tb.Helper()
	dir := tb.TempDir()
	store, err := file.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	a := New(tb, store)
	a.Dir = dir
	return a
}

// New returns an empty archive of a MariaDB server, called "default", in an empty store.
func New(tb testing.TB, store storage.Store) *Archive {
	tb.Helper()
	a := &Archive{Store: store, State: gtid.NewState(nil), tb: tb, line: 1}
	var err error
	a.Catalog, err = catalog.Create(context.Background(), store, "default", "test", gtid.MariaDB, time.Now())
	a.must(err)
	t, err := a.Catalog.Timeline(context.Background(), 0)
	a.must(err)
	a.chain = t.Seed
	return a
}

// Cut says how a file becomes segments.
type Cut struct {
	From     uint64        // offset at which the first segment begins; 4 if 0
	Every    int           // bytes of body after which a segment ends; one segment if 0
	At       []uint64      // offsets, also, that end a segment; must be boundaries
	Live     bool          // received from its first commit to its last one; else it is not known when, unless Receipt tells
	Received time.Duration // time of receipt minus that of the last commit

	Receipt func(start, end uint64) (first, last time.Time) // when what lies between the offsets was received

	Variables func(start uint64) map[string]string // that a segment records which begins there; nil: none does
}

// Append adds a source's binlog file, given from its magic on, as segments.
func (a *Archive) Append(name string, data []byte, cut Cut) {
	a.tb.Helper()
	sc, err := binlog.NewFileScanner(bytes.NewReader(data), binlog.DefaultBuffer, uint64(len(binlog.Magic)),
		binlog.Point{File: name, Offset: uint64(len(binlog.Magic))})
	a.must(err)
	start := max(cut.From, uint64(len(binlog.Magic)))
	begin := func(start uint64) *catalog.Segment {
		s := a.segment(name, start)
		if cut.Variables != nil {
			s.Variables = cut.Variables(start)
		}
		return s
	}
	s := begin(start)
	var open catalog.TimeRange
	var openAt uint64
	for {
		ev, err := sc.Next()
		if err == io.EOF {
			break
		}
		a.must(err)
		if ev.Offset < start {
			continue
		}
		if ev.First {
			s.Events++
			if !slices.Contains(s.ServerIDs, ev.ServerID) {
				s.ServerIDs = append(s.ServerIDs, ev.ServerID)
			}
			if ev.Type == binlog.TypeMariaGTIDList {
				list, err := binlog.ParseGTIDList(sc.Body(ev))
				a.must(err)
				a.State = gtid.NewState(list)
			}
			if ev.Begin {
				open.First, openAt = ev.Time(), ev.Offset
			}
		}
		if ev.Last && ev.End {
			s.Tail = &catalog.Tail{GTID: ev.GTID.String(), Offset: openAt, Before: catalog.PositionOf(a.State)}
			a.State.Add(ev.GTID)
			count(s, open.First)
		}
		end := ev.EndOffset()
		if ev.Boundary() && (cut.Every > 0 && end-s.Source.Start >= uint64(cut.Every) || slices.Contains(cut.At, end)) {
			a.commit(s, sc.Format(), data[s.Source.Start:end], cut)
			s = begin(end)
		}
	}
	if rest := data[s.Source.Start:]; len(rest) > 0 {
		a.commit(s, sc.Format(), rest, cut)
	}
}

func (a *Archive) segment(name string, start uint64) *catalog.Segment {
	n := uint64(1)
	if k := len(a.Segments); k > 0 {
		n = a.Segments[k-1].Last + 1
	}
	return &catalog.Segment{ClusterUUID: a.Catalog.Cluster.UUID, Timeline: a.line, First: n, Last: n, Writer: "test",
		Source: catalog.Source{File: name, Start: start}, Before: catalog.PositionOf(a.State)}
}

func count(s *catalog.Segment, t time.Time) {
	r := &s.Commit
	if s.Transactions++; s.Transactions == 1 {
		*r = catalog.TimeRange{First: t, Min: t, Max: t, Precision: time.Second}
	}
	r.Last = t
	if t.Before(r.Min) {
		r.Min = t
	}
	if t.After(r.Max) {
		r.Max = t
	}
}

// commit stores a segment. The state before it is in its manifest, the one after it in a.State.
func (a *Archive) commit(s *catalog.Segment, format *binlog.FormatDescription, body []byte, cut Cut) {
	a.tb.Helper()
	s.Source.ServerID, s.Source.Version = format.ServerID, format.ServerVersion
	s.Source.Format, s.Source.FileCreated = format.Fingerprint(), format.Timestamp
	s.Source.End = s.Source.Start + uint64(len(body))
	s.After = catalog.PositionOf(a.State)
	before, err := s.Before.LogState(gtid.MariaDB)
	a.must(err)
	slices.Sort(s.ServerIDs)
	var first, last time.Time
	switch {
	case cut.Receipt != nil:
		first, last = cut.Receipt(s.Source.Start, s.Source.End)
	case cut.Live && s.Transactions > 0:
		first, last = s.Commit.First.Add(cut.Received), s.Commit.Last.Add(cut.Received)
	}
	if s.Tail == nil {
		s.Tail = &catalog.Tail{Offset: s.Source.Start, Before: s.Before}
	}
	s.Tail.Bytes, s.Tail.SHA256 = s.Source.End-s.Tail.Offset, sha256.Sum256(body[s.Tail.Offset-s.Source.Start:])
	s.Members = []catalog.Member{{Number: s.First, BodyBytes: uint64(len(body)), BodySHA256: sha256.Sum256(body),
		ReceivedFirst: first, ReceivedLast: last, Live: cut.Live}}
	a.store(s, format.Head(s.Source.Start, before), body)
	s.ChainBefore = a.chain
	s.ChainAfter = catalog.NextDigest(a.chain, s.BodySHA256)
	a.must(a.Catalog.Commit(context.Background(), s))
	a.chain = s.ChainAfter
	a.Segments = append(a.Segments, s)
}

// store uploads head and body and fills in what the manifest says of them.
func (a *Archive) store(s *catalog.Segment, head, body []byte) {
	a.tb.Helper()
	plain := append(bytes.Clone(head), body...)
	s.HeadBytes, s.BodyBytes = uint64(len(head)), uint64(len(body))
	s.BodySHA256 = sha256.Sum256(body)
	s.Stored = a.upload(catalog.SegmentDataKey(a.line, s.First, s.Last, a.nonce()), bytes.NewReader(plain))
}

func (a *Archive) upload(key string, plain io.Reader) catalog.Stored {
	a.tb.Helper()
	sealer, err := seal.New(seal.Options{Recipients: a.Recipients})
	a.must(err)
	key += sealer.Suffix()
	r, err := sealer.Seal(context.Background(), plain, func(ctx context.Context, r io.Reader) error {
		return a.Catalog.Upload(ctx, key, r)
	})
	a.must(err)
	return catalog.StoredAs(key, sealer, r)
}

func (a *Archive) nonce() string {
	a.objects++
	return "n" + strconv.Itoa(a.objects)
}

// Compact makes one segment of those with the indexes from and up to, but without, to, which must
// lie in one source file. The members' objects stay, as in the grace period.
func (a *Archive) Compact(from, to int) {
	a.tb.Helper()
	old := a.Segments[from:to]
	s := *old[0]
	s.Members, s.Commit, s.Transactions, s.Events = nil, catalog.TimeRange{}, 0, 0
	var plain []byte
	for i, m := range old {
		r, err := a.Catalog.OpenPlain(context.Background(), m)
		a.must(err)
		data, err := io.ReadAll(r)
		a.must(err)
		r.Close()
		if i > 0 {
			data = data[m.HeadBytes:]
		}
		plain = append(plain, data...)
		s.Members = append(s.Members, m.Members...)
		for _, id := range m.ServerIDs {
			if !slices.Contains(s.ServerIDs, id) {
				s.ServerIDs = append(s.ServerIDs, id)
			}
		}
		s.Transactions, s.Events = s.Transactions+m.Transactions, s.Events+m.Events
		if m.Transactions > 0 {
			s.Commit = join(s.Commit, m.Commit)
			tail := *m.Tail
			s.Tail = &tail
		}
	}
	last := old[len(old)-1]
	s.Last, s.Source.End, s.After, s.ChainAfter = last.Last, last.Source.End, last.After, last.ChainAfter
	a.store(&s, plain[:s.HeadBytes], plain[s.HeadBytes:])
	// Committed like one from the source, it finds its own members in the way.
	if err := a.Catalog.Commit(context.Background(), &s); err != nil && !fault.Is(err, fault.Locked) {
		a.must(err)
	}
	a.Segments = slices.Replace(a.Segments, from, to, &s)
}

func join(a, b catalog.TimeRange) catalog.TimeRange {
	if a.First.IsZero() {
		return b
	}
	a.Last = b.Last
	if b.Min.Before(a.Min) {
		a.Min = b.Min
	}
	if b.Max.After(a.Max) {
		a.Max = b.Max
	}
	return a
}

// Fork begins the next timeline behind the segment with the index, and returns the archive as it grows from
// there: its Segments are those of the new timeline.
func (a *Archive) Fork(timeline uint32, at int, now time.Time) *Archive {
	a.tb.Helper()
	s := a.Segments[at]
	state, err := s.After.LogState(gtid.MariaDB)
	a.must(err)
	a.must(a.Catalog.PutTimeline(context.Background(), &catalog.Timeline{Number: timeline, Parent: a.line, ParentSegment: s.Last,
		ParentBodyOffset: s.Members[len(s.Members)-1].BodyBytes, Position: s.After, Seed: s.ChainAfter, Reason: "failover", Created: now}))
	return &Archive{Catalog: a.Catalog, Store: a.Store, State: state, Dir: a.Dir, Recipients: a.Recipients, tb: a.tb, line: timeline, chain: s.ChainAfter,
		objects: 1_000_000 * int(timeline)}
}

// Head puts a head for all there is so far.
func (a *Archive) Head(covered time.Time) {
	a.tb.Helper()
	h := &catalog.Head{Timeline: a.line, Chain: a.chain, Position: catalog.PositionOf(a.State), CoveredUntil: covered,
		Written: covered, Writer: "test"}
	if n := len(a.Segments); n > 0 {
		h.Segment = a.Segments[n-1].Last
	}
	a.must(a.Catalog.PutHead(context.Background(), h))
}

func (a *Archive) must(err error) {
	a.tb.Helper()
	if err != nil {
		a.tb.Fatalf("build an archive: %v", err)
	}
}
