package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/seal"
	"tidemark/storage"
	"tidemark/storage/file"
)

var (
	ctx   = context.Background()
	birth = time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
)

// unsynced is a file system that syncs nothing, for tests of many files.
type unsynced struct{ durable.OS }

func (unsynced) SyncDir(string) error { return nil }

func (u unsynced) Create(path string) (durable.File, error) {
	f, err := u.OS.Create(path)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ durable.File }

func (unsyncedFile) Sync() error { return nil }

// archive is an archive in a directory of its own that grows segment by segment.
type archive struct {
	*Catalog
	t    testing.TB
	dir  string
	last *Segment
}

func newArchive(t testing.TB) *archive {
	t.Helper()
	dir := t.TempDir()
	store, err := file.New(unsynced{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Create(ctx, store, "shop", "test", gtid.MariaDB, birth)
	if err != nil {
		t.Fatal(err)
	}
	return &archive{Catalog: c, t: t, dir: dir}
}

func (a *archive) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// next makes the manifest of the next segment, of so many numbers. Its data exists only in name.
func (a *archive) next(members int) *Segment {
	a.t.Helper()
	first, start, seq := uint64(1), uint64(4), uint64(0)
	var before Position
	t, err := a.Timeline(ctx, 1)
	a.must(err)
	chain := t.Seed
	if p := a.last; p != nil {
		first, start, chain, before = p.Last+1, p.Source.End, p.ChainAfter, p.After
		seq = p.Last
	}
	s := &Segment{ClusterUUID: a.Cluster.UUID, Timeline: 1, First: first, Last: first + uint64(members) - 1, Writer: "writer",
		Source:    Source{ServerID: 7, Version: "10.11.19-MariaDB", File: "binlog.000001", Start: start, Format: sha([]byte("format")), FileCreated: 1},
		ServerIDs: []uint32{7}, Before: before, HeadBytes: 4, ChainBefore: chain, ChainAfter: chain, Sealed: birth, CreatedBy: "test",
		Transactions: uint64(members), Events: 3 * uint64(members),
		Commit: TimeRange{First: birth, Last: birth, Min: birth, Max: birth, Precision: time.Second}}
	body := sha256.New()
	for n := s.First; n <= s.Last; n++ {
		b := []byte(fmt.Sprint("body of ", n))
		body.Write(b)
		m := Member{Number: n, BodyBytes: 100, BodySHA256: sha(b), ReceivedFirst: birth, ReceivedLast: birth, Live: true}
		s.Members = append(s.Members, m)
		s.BodyBytes += m.BodyBytes
		s.ChainAfter = NextDigest(s.ChainAfter, m.BodySHA256)
		seq++
	}
	s.BodySHA256 = Digest(body.Sum(nil))
	g := binlogtest.G(0, 7, seq).String()
	s.After = Position{GTID: g, State: []string{g}}
	s.Source.End = start + s.BodyBytes
	s.Tail = &Tail{GTID: g, Offset: s.Source.End - 50, Bytes: 50, SHA256: sha([]byte("tail")), Before: before}
	s.Stored = Stored{Key: SegmentDataKey(1, s.First, s.Last, "n"), Size: 50, CRC32C: 1, SHA256: sha([]byte("stored")), Compression: seal.Compression}
	return s
}

// add commits the next segments, one number each.
func (a *archive) add(n int) {
	a.t.Helper()
	for range n {
		s := a.next(1)
		a.must(a.Commit(ctx, s))
		a.last = s
	}
}

// cover puts a manifest that covers several numbers, beside theirs.
func (a *archive) cover(first, last uint64) *Segment {
	a.t.Helper()
	b := *a
	b.last = nil
	if first > 1 {
		b.last = a.read(first - 1)
	}
	s := b.next(int(last - first + 1))
	a.must(a.putNew(ctx, segmentKey(1, first, last), segmentToWire(s)))
	return s
}

func (a *archive) read(n uint64) *Segment {
	a.t.Helper()
	s, err := a.SegmentAt(ctx, 1, n, n)
	a.must(err)
	return s
}

// names lists what Segments yields, and the error it ends with.
func (a *archive) names(from uint64) (string, error) {
	var names []string
	for s, err := range a.Segments(ctx, 1, from) {
		if err != nil {
			return strings.Join(names, " "), err
		}
		names = append(names, s.Name())
	}
	return strings.Join(names, " "), nil
}

func (a *archive) path(key string) string {
	return filepath.Join(a.dir, "shop", filepath.FromSlash(key))
}

func (a *archive) remove(key string) { a.t.Helper(); a.must(os.Remove(a.path(key))) }

// edit changes the text of an object of JSON and signs it again.
func (a *archive) edit(key, from, to string) {
	a.t.Helper()
	data, err := os.ReadFile(a.path(key))
	a.must(err)
	if !strings.Contains(string(data), from) {
		a.t.Fatalf("%s has no %q:\n%s", key, from, data)
	}
	data, err = sign([]byte(strings.Replace(string(data), from, to, 1)))
	a.must(err)
	a.must(os.WriteFile(a.path(key), data, 0o600))
}

// real stores the log of a file as segments with data, cut at the offsets, and returns them.
func (a *archive) real(l *binlogtest.Log, cuts ...uint64) []*Segment {
	a.t.Helper()
	f, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
	a.must(err)
	t, err := a.Timeline(ctx, 1)
	a.must(err)
	chain, start := t.Seed, uint64(4)
	state := gtid.NewState(nil)
	var list []*Segment
	for i, end := range append(cuts, l.Size()) {
		n := uint64(i + 1)
		head, body := f.Head(start, state), l.Bytes()[start:end]
		s := &Segment{ClusterUUID: a.Cluster.UUID, Timeline: 1, First: n, Last: n, Before: PositionOf(state),
			Source:    Source{ServerID: 7, File: "b.1", Start: start, End: end, Format: f.Fingerprint(), FileCreated: f.Timestamp},
			HeadBytes: uint64(len(head)), BodyBytes: uint64(len(body)), BodySHA256: sha(body), ChainBefore: chain,
			Members: []Member{{Number: n, BodyBytes: uint64(len(body)), BodySHA256: sha(body)}}}
		for _, e := range l.Events {
			if e.End && e.Offset >= start && e.Offset < end {
				state.Add(e.GTID)
			}
		}
		s.After = PositionOf(state)
		s.ChainAfter = NextDigest(chain, s.BodySHA256)
		s.Stored = a.store(SegmentDataKey(1, n, n, "n"), append(bytes.Clone(head), body...))
		a.must(a.Commit(ctx, s))
		list = append(list, s)
		chain, start = s.ChainAfter, end
	}
	return list
}

// store seals plain bytes into an object.
func (a *archive) store(key string, plain []byte) Stored {
	a.t.Helper()
	s, err := seal.New(seal.Options{})
	a.must(err)
	r, err := s.Seal(ctx, bytes.NewReader(plain), func(ctx context.Context, r io.Reader) error { return a.Upload(ctx, key, r) })
	a.must(err)
	return StoredAs(key, s, r)
}

// over returns the same archive over another store.
func (a *archive) over(store storage.Store) *archive {
	b := *a
	b.Catalog = &Catalog{Cluster: a.Cluster, store: store, by: "test"}
	return &b
}
