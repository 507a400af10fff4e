package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
	"tidemark/storage"
)

var begun = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

// sample is an archive of two source files in five segments, a base backup of three parts, and two
// heads. n is how many transactions it has.
func sample(t testing.TB) (a *archivetest.Archive, n uint64) {
	t.Helper()
	a = archivetest.InDir(t)
	now := begun
	for file := range 2 {
		log := archivetest.NewLog(1, now)
		log.List(now, a.State.List()...)
		var cuts []uint64
		for i := range 8 {
			n++
			now = now.Add(time.Minute)
			g := gtid.GTID{Domain: uint32(n % 3 / 2), Server: 1 + uint32(n%2), Seq: n}
			if i%4 == 3 {
				log.Statement(g, now, "shop", "ALTER TABLE orders ADD c INT")
				cuts = append(cuts, log.Offset())
			} else {
				log.Change(g, now, "shop", "orders", 100*i)
			}
		}
		if file == 0 {
			log.Unfinished(gtid.GTID{Server: 1, Seq: 1000}, now)
			log.Rotate(now, "binlog.000002")
		}
		a.Append([]string{"binlog.000001", "binlog.000002"}[file], log.Bytes(), archivetest.Cut{At: cuts, Live: true})
		a.Head(now)
	}
	s := a.Segments[1]
	a.AddBase(catalog.Base{ID: "b1", Consistent: begun.Add(time.Hour)}, s.Source.EndPoint(), s.After.GTID, strings.NewReader("0123456789"), 4)
	for _, s := range a.Segments {
		complete(t, a, s)
	}
	return a, n
}

// complete sets a segment's tail from its events and writes its manifest again.
func complete(t testing.TB, a *archivetest.Archive, s *catalog.Segment) {
	t.Helper()
	r, err := a.Catalog.OpenSegment(context.Background(), s)
	must(t, err)
	defer r.Close()
	state, err := s.Before.LogState(gtid.MariaDB)
	must(t, err)
	var body []byte
	var begin int
	tail := catalog.Tail{Offset: s.Source.Start}
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if ev.Head {
			continue
		}
		if ev.Begin {
			begin = len(body)
		}
		body = append(body, ev.Data...)
		if ev.Type == binlog.TypeMariaGTIDList {
			list, err := binlog.ParseGTIDList(r.Body(ev))
			must(t, err)
			state.Follow(gtid.NewState(list))
		}
		if ev.End {
			tail = catalog.Tail{GTID: ev.GTID.String(), Offset: s.Source.Start + uint64(begin), Before: catalog.PositionOf(state)}
			state.Add(ev.GTID)
		}
	}
	if tail.GTID == "" {
		tail.Before = catalog.PositionOf(state)
	}
	bytes := body[tail.Offset-s.Source.Start:]
	tail.Bytes, tail.SHA256 = uint64(len(bytes)), sha256.Sum256(bytes)
	s.Tail = &tail
	put(t, a, s)
}

// put writes a manifest, over what is there.
func put(t testing.TB, a *archivetest.Archive, s *catalog.Segment) {
	t.Helper()
	data, err := catalog.EncodeSegment(s)
	must(t, err)
	must(t, os.WriteFile(path(a, manifest(s)), data, 0o600))
}

func manifest(s *catalog.Segment) string { return catalog.SegmentKey(s.Timeline, s.First, s.Last) }

func path(a *archivetest.Archive, key string) string {
	return filepath.Join(a.Dir, "default", filepath.FromSlash(key))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, a *archivetest.Archive, data bool) (*Report, error) {
	t.Helper()
	return Run(context.Background(), a.Catalog, Options{Data: data, Clock: clock.System{}})
}

func TestClean(t *testing.T) {
	a, n := sample(t)
	for _, data := range []bool{false, true} {
		var last Progress
		r, err := Run(context.Background(), a.Catalog, Options{Data: data, Clock: clock.System{}, Progress: func(p Progress) { last = p }})
		if err != nil || len(r.Findings) > 0 {
			t.Fatalf("data %v: %v\n%+v", data, err, r)
		}
		if r.Timelines != 1 || r.Segments != int64(len(a.Segments)) || r.Transactions != n || r.Bases != 1 || r.Parts != 3 || r.StoredBytes == 0 {
			t.Errorf("data %v: %+v", data, r)
		}
		if (r.ReadBytes > 0) != data {
			t.Errorf("data %v: %d bytes read", data, r.ReadBytes)
		}
		if last.Objects != last.AllObjects || last.Bytes != last.AllBytes || (last.AllBytes > 0) != data {
			t.Errorf("data %v: progress ends at %+v", data, last)
		}
	}
}

func remove(t *testing.T, a *archivetest.Archive, key string) { must(t, os.Remove(path(a, key))) }

func content(t *testing.T, a *archivetest.Archive, key string) []byte {
	data, err := os.ReadFile(path(a, key))
	must(t, err)
	return data
}

func write(t *testing.T, a *archivetest.Archive, key string, data []byte) {
	must(t, os.WriteFile(path(a, key), data, 0o600))
}

func swap(t *testing.T, a *archivetest.Archive, k, l string) {
	x, y := content(t, a, k), content(t, a, l)
	write(t, a, k, y)
	write(t, a, l, x)
}

func TestLeftovers(t *testing.T) {
	a, _ := sample(t)
	upload := func(key string) {
		must(t, a.Catalog.Upload(context.Background(), key, strings.NewReader("x")))
	}
	behind := catalog.SegmentDataKey(1, 99, 99, "n")
	within := catalog.SegmentDataKey(1, 2, 2, "other")
	part := catalog.PartKey("b9", 1, "mbstream")
	for _, key := range []string{behind, within, part, catalog.ProbePrefix + "x", "lease/0000000000000001.json"} {
		upload(key)
	}
	must(t, a.Catalog.BeginBase(context.Background(), &catalog.Base{ID: "b9"}))
	r, err := check(t, a, true)
	if err != nil || r.Count(Note) != 3 || len(r.Findings) != 3 {
		t.Errorf("young: %v, %+v", err, r)
	}
	old := time.Now().Add(-25 * time.Hour)
	for _, key := range []string{behind, within, part} {
		must(t, os.Chtimes(path(a, key), old, old))
	}
	upload("log/00000001/what.is.this")
	r, err = check(t, a, true)
	if !fault.Is(err, fault.Warnings) || r.Count(Warning) != 3 || r.Count(Note) != 1 {
		t.Errorf("old: %v, %+v", err, r)
	}
	// Nobody is storing it any more: it has lost its manifest.
	must(t, a.Catalog.EndBase(context.Background(), "b9"))
	r, err = check(t, a, false)
	if !fault.Is(err, fault.Integrity) || r.Count(Damage) != 1 || !slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Object == "base/b9/manifest.json" && f.Kind == kindMissing
	}) {
		t.Errorf("lost: %v, %+v", err, r)
	}
}

func TestCompacted(t *testing.T) {
	a, _ := sample(t)
	a.Compact(1, 3)
	complete(t, a, a.Segments[1])
	r, err := check(t, a, true)
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	// The members that it covers are still checked.
	must(t, os.WriteFile(path(a, catalog.SegmentKey(1, 3, 3)), []byte("{}"), 0o600))
	if r, err = check(t, a, false); !fault.Is(err, fault.Integrity) || r.Findings[0].Object != catalog.SegmentKey(1, 3, 3) {
		t.Errorf("%v, %+v", err, r)
	}
	// When they go, nothing is missing; what is left of them is no damage.
	for _, n := range []uint64{2, 3} {
		must(t, os.Remove(path(a, catalog.SegmentKey(1, n, n))))
	}
	if r, err = check(t, a, true); err != nil || r.Count(Note) != len(r.Findings) {
		t.Errorf("%v, %+v", err, r)
	}
}

// sweeping is a store that removes objects when one is read.
type sweeping struct {
	storage.Store
	at    string
	sweep func()
}

func (s *sweeping) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if strings.HasSuffix(key, s.at) && s.sweep != nil {
		s.sweep()
		s.sweep = nil
	}
	return s.Store.Get(ctx, key, offset, length)
}

// TestSweptMeanwhile: segments that a compacted one has replaced go while the check reads them, their manifests first.
// That is no damage, but the loss of data whose manifest stands is.
func TestSweptMeanwhile(t *testing.T) {
	for _, manifests := range []bool{true, false} {
		for _, at := range []string{"manifest", "data"} {
			a, _ := sample(t)
			members := slices.Clone(a.Segments[1:3])
			a.Compact(1, 3)
			complete(t, a, a.Segments[1])
			key := members[0].Stored.Key
			if at == "manifest" {
				key = manifest(members[1])
			}
			cat, err := catalog.Open(context.Background(), &sweeping{a.Store, key, func() {
				for _, m := range members {
					if manifests {
						remove(t, a, manifest(m))
					}
					remove(t, a, m.Stored.Key)
				}
			}}, "default", "test")
			must(t, err)
			r, err := Run(context.Background(), cat, Options{Data: true, Clock: clock.System{}, Workers: 1})
			if manifests && (err != nil || r.Count(Damage) > 0) || !manifests && (!fault.Is(err, fault.Integrity) || r.Count(Damage) == 0) {
				t.Errorf("manifests too: %v, at %s: %v, %+v", manifests, at, err, r)
			}
		}
	}
}

func TestIndex(t *testing.T) {
	a, _ := sample(t)
	const key = "log/00000001/index/0000000000000001-0000000000001000.json.zst"
	must(t, a.Catalog.PutIndex(context.Background(), 1, 1, catalog.IndexEvery))
	if r, err := check(t, a, false); err != nil || len(r.Findings) > 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	good := *a.Segments[2]
	bad := good
	bad.Transactions += 5
	put(t, a, &bad)
	must(t, a.Catalog.PutIndex(context.Background(), 1, 1, catalog.IndexEvery))
	put(t, a, &good)
	r, err := check(t, a, false)
	if !fault.Is(err, fault.Integrity) || len(r.Findings) != 1 || r.Findings[0].Object != key {
		t.Errorf("a lie: %v, %+v", err, r)
	}
	must(t, os.WriteFile(path(a, key), []byte("nothing"), 0o600))
	if r, err = check(t, a, false); !fault.Is(err, fault.Warnings) || len(r.Findings) != 1 || r.Findings[0].Object != key {
		t.Errorf("damage: %v, %+v", err, r)
	}
}

func TestOneTimeline(t *testing.T) {
	a, _ := sample(t)
	must(t, a.Catalog.PutTimeline(context.Background(), &catalog.Timeline{Number: 2, Parent: 1, ParentSegment: 3, Reason: "failover", Created: begun}))
	must(t, os.Remove(path(a, manifest(a.Segments[4]))))
	for timeline, want := range map[uint32]fault.Kind{0: fault.Integrity, 1: fault.Integrity, 2: fault.None} {
		r, err := Run(context.Background(), a.Catalog, Options{Timeline: timeline, Data: true, Clock: clock.System{}})
		if fault.KindOf(err) != want {
			t.Errorf("timeline %d: %v, %+v", timeline, err, r)
		}
	}
	must(t, a.Catalog.PutTimeline(context.Background(), &catalog.Timeline{Number: 3, Parent: 1, ParentSegment: 70, Reason: "failover", Created: begun}))
	r, err := check(t, a, false)
	if !fault.Is(err, fault.Integrity) || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Object == catalog.TimelineKey(3) }) {
		t.Errorf("fork from nowhere: %v, %+v", err, r)
	}
}

func TestInterrupted(t *testing.T) {
	a, _ := sample(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := Run(ctx, a.Catalog, Options{Data: true, Clock: clock.System{}}); r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", r, err)
	}
}

// failing is a store that cannot read one object.
type failing struct {
	storage.Store
	key string
	err error
}

func (f *failing) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if strings.HasSuffix(key, f.key) {
		return nil, f.err
	}
	return f.Store.Get(ctx, key, offset, length)
}

// What the storage cannot tell is neither good nor bad.
func TestStorageFails(t *testing.T) {
	a, _ := sample(t)
	down := fault.New(fault.Storage, "get", "", errors.New("no route to host"))
	for _, key := range []string{manifest(a.Segments[2]), a.Segments[2].Stored.Key, catalog.HeadKey(1, 1), catalog.TimelineKey(1),
		"base/b1/manifest.json", catalog.PartKey("b1", 1, "mbstream")} {
		cat, err := catalog.Open(context.Background(), &failing{a.Store, key, down}, "default", "test")
		must(t, err)
		r, err := Run(context.Background(), cat, Options{Data: true, Clock: clock.System{}})
		if r != nil || !fault.Is(err, fault.Storage) {
			t.Errorf("%s: %+v, %v", key, r, err)
		}
	}
}

// signed gives an object of JSON that was changed on purpose its own digest again.
func signed(data []byte) []byte {
	data = bytes.Clone(data)
	field := []byte(`"manifestSha256"`)
	at := bytes.Index(data, field) + len(field)
	at += bytes.IndexByte(data[at:], '"') + 1
	digits := data[at : at+2*sha256.Size]
	copy(digits, bytes.Repeat([]byte("0"), len(digits)))
	sum := sha256.Sum256(data)
	hex.Encode(digits, sum[:])
	return data
}
