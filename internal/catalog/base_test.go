package catalog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// base makes the manifest of a base backup with two parts whose data exists.
func base(a *archive, id string) *Base {
	a.t.Helper()
	b := &Base{ClusterUUID: a.Cluster.UUID, ID: id, Engine: "mbstream", ToolVersion: "10.11.19", ServerVersion: "10.11.19-MariaDB", Flavor: gtid.MariaDB,
		ServerID: 7, Timeline: 1, PositionMin: Position{GTID: "0-7-5", State: []string{"0-7-5"}}, PositionMax: Position{GTID: "0-7-5", State: []string{"0-7-5"}},
		Source: binlog.Point{File: "b.1", Offset: 700}, Segment: 1, FromLSN: 1, ToLSN: 2, Variables: map[string]string{"innodb_page_size": "16384"},
		Started: birth, Finished: birth, Consistent: birth, Writer: "w", CreatedBy: "test", EmptyTables: []string{"d.t"}, KeepUntil: birth.AddDate(1, 0, 0)}
	for n := uint32(1); n <= 2; n++ {
		plain := []byte(strings.Repeat(fmt.Sprint(id, n), 100))
		b.Parts = append(b.Parts, Part{Number: n, PlainBytes: int64(len(plain)), PlainSHA256: sha(plain), Stored: a.store(PartKey(id, n, "mbstream"), plain)})
		b.PlainBytes += int64(len(plain))
	}
	return b
}

func TestBases(t *testing.T) {
	a := newArchive(t)
	if list, err := a.Bases(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	ids := []string{"20260101T000000Z-1", "20260101T000000Z-10", "20260101T000000Z-2", "a", "a-b", "a.b", "aa", "zz"}
	for _, id := range ids {
		a.must(a.PutBase(ctx, base(a, id)))
	}
	// What has no manifest does not exist, and what else lies there does not matter.
	for _, key := range []string{"base/unfinished/00001.mbstream.zst", "base/a/zzz", "base/b/manifest.jso0", "base/b/manifest.json.bak", "base/x", "base/zzz/zz"} {
		a.must(a.Catalog.store.Put(ctx, a.key(key), []byte("x"), true))
	}
	a.must(os.MkdirAll(a.path("base/m"), 0o700)) // a manifest with nothing before it, and something behind
	m := base(a, "m")
	a.must(a.PutBase(ctx, m))
	a.remove(m.Parts[0].Stored.Key)
	a.remove(m.Parts[1].Stored.Key)
	a.must(a.Catalog.store.Put(ctx, a.key("base/m/zzz"), []byte("x"), true))
	want := append(slices.Clone(ids), "m")
	list, err := a.Bases(ctx)
	var got []string
	for _, b := range list {
		got = append(got, b.ID)
	}
	slices.SortFunc(want, func(x, y string) int { return strings.Compare(x+"/", y+"/") })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}

	b, err := a.BaseAt(ctx, "a")
	a.must(err)
	if b.Engine != "mbstream" || b.Source.String() != "b.1:700" || b.Variables["innodb_page_size"] != "16384" || len(b.Parts) != 2 || b.StoredBytes() != b.Parts[0].Stored.Size+b.Parts[1].Stored.Size ||
		!b.Consistent.Equal(birth) || b.EmptyTables[0] != "d.t" || !b.KeepUntil.Equal(birth.AddDate(1, 0, 0)) || b.PositionMax.GTID != "0-7-5" || b.ToLSN != 2 {
		t.Errorf("%+v", b)
	}
	for i, p := range b.Parts {
		r, err := a.OpenPart(ctx, p)
		a.must(err)
		plain, err := io.ReadAll(r)
		r.Close()
		if err != nil || sha(plain) != p.PlainSHA256 || int64(len(plain)) != p.PlainBytes {
			t.Errorf("part %d: %v", i+1, err)
		}
		a.must(a.VerifyPart(ctx, p))
	}
	swapped := b.Parts[0]
	swapped.PlainSHA256 = b.Parts[1].PlainSHA256
	if err := a.VerifyPart(ctx, swapped); !fault.Is(err, fault.Integrity) {
		t.Errorf("another plain digest: %v", err)
	}
}

func TestBadBases(t *testing.T) {
	for name, edit := range map[string]func(b *Base){
		"no parts":      func(b *Base) { b.Parts = nil },
		"part missing":  func(b *Base) { b.Parts = b.Parts[1:] },
		"parts swapped": func(b *Base) { b.Parts[0], b.Parts[1] = b.Parts[1], b.Parts[0] },
		"another ID":    func(b *Base) { b.ID = "b2" },
		"another one's": func(b *Base) { b.ClusterUUID = "x" },
	} {
		a := newArchive(t)
		b := base(a, "b1")
		edit(b)
		a.must(a.putNew(ctx, baseKey("b1"), baseToWire(b)))
		if _, err := a.Bases(ctx); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "b1/manifest.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLocate finds the segment and the binlog state of a place in a source's file.
func TestLocate(t *testing.T) {
	a := newArchive(t)
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	var ends []uint64
	for seq := range uint64(6) {
		l.Rows(binlogtest.G(0, 7, seq+1), 50)
		ends = append(ends, l.Size())
	}
	a.real(l, ends[1], ends[3])
	for i, end := range ends {
		p, err := a.Locate(ctx, 1, 0, 7, binlog.Point{File: "b.1", Offset: end})
		if err != nil || p.Segment.First != uint64(i/2+1) || p.Number != p.Segment.First || p.State.Position().String() != fmt.Sprint("0-7-", i+1) {
			t.Errorf("at %d: %+v, %v", end, p, err)
		}
	}
	var not *NotReached
	for _, p := range []binlog.Point{{File: "b.1", Offset: l.Size() + 1}, {File: "b.2", Offset: 700}} {
		if _, err := a.Locate(ctx, 1, 0, 7, p); !errors.As(err, &not) || not.Last.First != 3 {
			t.Errorf("at %s: %v", p, err)
		}
	}
	if _, err := a.Locate(ctx, 1, 0, 8, binlog.Point{File: "b.1", Offset: ends[0]}); !errors.As(err, &not) {
		t.Errorf("of another server: %v", err)
	}
	for _, offset := range []uint64{ends[0] - 10, ends[2] + 30} {
		if _, err := a.Locate(ctx, 1, 0, 7, binlog.Point{File: "b.1", Offset: offset}); !fault.Is(err, fault.Unreachable) {
			t.Errorf("inside a transaction at %d: %v", offset, err)
		}
	}
}
