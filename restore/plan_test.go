package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
	"tidemark/storage/file"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fixture is an archive of made-up logs, and where its transactions lie.
type fixture struct {
	*archivetest.Archive
	dir  string // where its objects are files
	t    *testing.T
	log  *archivetest.Log
	name string
	seq  map[uint32]uint64
	at   map[string]uint64 // where a transaction begins, by GTID
	end  map[string]uint64
}

func newFixture(t *testing.T) *fixture {
	dir := t.TempDir()
	store, err := file.New(unsynced{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Archive: archivetest.New(t, store), dir: filepath.Join(dir, "default"), t: t, seq: map[uint32]uint64{}, at: map[string]uint64{}, end: map[string]uint64{}}
	f.file("binlog.000001", noon)
	return f
}

// unsynced is a file system that is fast because nothing in a test must survive a loss of power.
type unsynced struct{ durable.OS }

func (u unsynced) Create(path string) (durable.File, error) {
	f, err := u.OS.Create(path)
	return unsyncedFile{f}, err
}

func (unsynced) SyncDir(string) error { return nil }

type unsyncedFile struct{ durable.File }

func (unsyncedFile) Sync() error { return nil }

func (f *fixture) file(name string, begun time.Time) {
	f.name, f.log = name, archivetest.NewLog(1, begun)
}

// tx logs a transaction so many seconds after noon and returns its GTID.
func (f *fixture) tx(domain uint32, seconds int) string {
	f.seq[domain]++
	return f.as(gtid.GTID{Domain: domain, Server: 1, Seq: f.seq[domain]}, seconds)
}

func (f *fixture) as(g gtid.GTID, seconds int) string {
	f.at[g.String()] = f.log.Offset()
	f.log.Change(g, after(seconds), "shop", fmt.Sprintf("t%d", g.Seq))
	f.end[g.String()] = f.log.Offset()
	return g.String()
}

func after(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// flush archives the file as it is, one segment for every transaction unless cut says otherwise.
func (f *fixture) flush(cut ...archivetest.Cut) {
	c := archivetest.Cut{Every: 1}
	if len(cut) > 0 {
		c = cut[0]
	}
	f.Append(f.name, f.log.Bytes(), c)
}

func (f *fixture) base(id, file string, offset uint64, position string, seconds int) *catalog.Base {
	return f.AddBase(catalog.Base{ID: id, Consistent: after(seconds)}, binlog.Point{File: file, Offset: offset}, position,
		strings.NewReader("a base backup"), 5)
}

func (f *fixture) plan(target Target) (*Plan, error) {
	return MakePlan(context.Background(), f.Catalog, PlanOptions{Target: target})
}

// reach plans a restore that must be possible, to after the transaction (or the position) given.
func (f *fixture) reach(target Target, position string) *Plan {
	f.t.Helper()
	p, err := f.plan(target)
	if err != nil {
		f.t.Fatalf("%s: %v (%s)", target, err, fault.HintOf(err))
	}
	if p.Stop.GTID != position {
		f.t.Errorf("%s stops at %s, want %s", target, p.Stop.GTID, position)
	}
	return p
}

// refuse plans a restore that must be refused, with the words in the error or its hint.
func (f *fixture) refuse(target Target, kind fault.Kind, words ...string) {
	f.t.Helper()
	p, err := f.plan(target)
	if err == nil {
		f.t.Errorf("%s is not refused but stops at %+v from base %s", target, p.Stop, p.Base.ID)
		return
	}
	if !fault.Is(err, kind) {
		f.t.Errorf("%s is refused as %s, want %s: %v", target, fault.KindOf(err), kind, err)
	}
	for _, w := range words {
		if text := err.Error() + " " + fault.HintOf(err); !strings.Contains(text, w) {
			f.t.Errorf("%s is refused without %q: %s", target, w, text)
		}
	}
}

func must(t *testing.T) func(Target, error) Target {
	return func(target Target, err error) Target {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
}

func seconds(n int) Target { return ToTime(after(n)) }

// simple is ten transactions, a second apart from 1 s after noon, and base backups after the second
// and the sixth.
func simple(t *testing.T) *fixture {
	f := newFixture(t)
	for i := 1; i <= 10; i++ {
		f.tx(0, i)
		if i == 7 {
			f.log.Rotate(after(i), "binlog.000002")
			f.flush()
			f.file("binlog.000002", after(i))
		}
	}
	f.flush()
	f.base("b1", "binlog.000001", f.end["0-1-2"], "0-1-2", 2)
	f.base("b2", "binlog.000001", f.end["0-1-6"], "0-1-6", 6)
	f.Head(after(30))
	return f
}

func TestPlanTargets(t *testing.T) {
	f := simple(t)
	ok := must(t)
	check := func(target Target, position, base string, transactions uint64) *Plan {
		t.Helper()
		p := f.reach(target, position)
		if p.Base.ID != base || p.Transactions != transactions {
			t.Errorf("%s: base %s and %d transactions, want %s and %d", target, p.Base.ID, p.Transactions, base, transactions)
		}
		return p
	}
	p := check(ToLatest(), "0-1-10", "b2", 4)
	if p.FirstNotApplied != nil || p.LastApplied.GTID != "0-1-10" || p.LastApplied.What != "UPDATE `shop`.`t10`" || p.HasWarnings() {
		t.Errorf("plan is %+v", p)
	}
	p = check(seconds(5), "0-1-4", "b1", 2)
	if p.FirstNotApplied.GTID != "0-1-5" || p.LastApplied.GTID != "0-1-4" || !p.LastApplied.Time.Equal(after(4)) {
		t.Errorf("around the stop: %v, %v", p.LastApplied, p.FirstNotApplied)
	}
	check(ToTime(after(4).Add(time.Millisecond)), "0-1-4", "b1", 2)
	check(seconds(9), "0-1-8", "b2", 2) // in the second file
	p = check(seconds(7), "0-1-6", "b2", 0)
	if p.LastApplied != nil || p.FirstNotApplied.GTID != "0-1-7" {
		t.Errorf("nothing to apply: %v, %v", p.LastApplied, p.FirstNotApplied)
	}
	check(seconds(20), "0-1-10", "b2", 4) // covered although nothing happened
	check(seconds(30), "0-1-10", "b2", 4)
	check(ok(ToGTID("0-1-8")), "0-1-8", "b2", 2)
	check(ok(ToGTID("0-1-6")), "0-1-6", "b2", 0)
	check(ok(ToGTID("0-1-5")), "0-1-5", "b1", 3)
	check(ok(BeforeGTID("0-1-8")), "0-1-7", "b2", 1)
	check(ok(BeforeGTID("0-1-7")), "0-1-6", "b2", 0)
	check(ok(BeforeGTID("0-1-3")), "0-1-2", "b1", 0)

	at := func(file string, offset uint64) Target { return ok(ToPosition(fmt.Sprintf("%s:%d", file, offset))) }
	check(at("binlog.000001", f.at["0-1-4"]), "0-1-3", "b1", 1)
	check(at("/var/lib/mysql/binlog.000001", f.at["0-1-4"]+1), "0-1-3", "b1", 1)
	check(at("binlog.000001", f.end["0-1-4"]-1), "0-1-3", "b1", 1)
	check(at("binlog.000001", f.end["0-1-4"]), "0-1-4", "b1", 2)
	check(at("binlog.000002", 4), "0-1-7", "b2", 1)
	check(at("binlog.000002", 0), "0-1-7", "b2", 1)
	check(at("binlog.000002", f.end["0-1-10"]), "0-1-10", "b2", 4)

	f.refuse(at("binlog.000002", f.end["0-1-10"]+1), fault.Unreachable, "from 4 to")
	f.refuse(at("binlog.000003", 4), fault.Unreachable, "no such file", "can be restored from")
	f.refuse(at("binlog.000001", f.end["0-1-1"]), fault.Unreachable, "before the first", "0-1-2")
	f.refuse(seconds(1), fault.Unreachable, "before the first", "12:00:02Z")
	f.refuse(seconds(2), fault.Unreachable, "before the first")
	f.refuse(ToTime(noon.Add(-time.Hour)), fault.Unreachable, "before the first")
	f.refuse(seconds(31), fault.Unreachable, "up to 2026-11-21T12:00:30Z", "0-1-10")
	f.refuse(ok(ToGTID("0-1-11")), fault.Unreachable, "not in the archived log", "0-1-10")
	f.refuse(ok(ToGTID("0-2-3")), fault.Unreachable, "not in the archived log")
	f.refuse(ok(ToGTID("7-1-3")), fault.Unreachable, "not in the archived log")
	f.refuse(ok(BeforeGTID("0-1-11")), fault.Unreachable, "not in the archived log")
	f.refuse(ok(ToGTID("0-1-1")), fault.Unreachable, "before the first")
	f.refuse(ok(BeforeGTID("0-1-1")), fault.Unreachable, "before the first")

	data, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(data), `"stop":{"timeline":1,"segment":7,"file":"binlog.000001","offset":`) {
		t.Errorf("as JSON: %s, %v", data, err)
	}
}

// TestPlanCompacted finds the same points where segments have been put together.
func TestPlanCompacted(t *testing.T) {
	f := simple(t)
	before := map[int]*Plan{}
	for i := 3; i <= 10; i++ {
		before[i] = f.reach(seconds(i), fmt.Sprintf("0-1-%d", i-1))
	}
	f.Compact(0, 9)
	f.Compact(2, 4)
	for i := 3; i <= 10; i++ {
		p := f.reach(seconds(i), fmt.Sprintf("0-1-%d", i-1))
		if p.Stop != before[i].Stop || p.Base.ID != before[i].Base.ID || p.Transactions != before[i].Transactions || p.LogBytes != before[i].LogBytes {
			t.Errorf("%d s: %+v from %s, before compaction %+v from %s", i, p.Stop, p.Base.ID, before[i].Stop, before[i].Base.ID)
		}
	}
	f.reach(must(t)(ToGTID("0-1-4")), "0-1-4")
}

// TestPlanBeforeFirstSegment has a base backup that is as old as the log.
func TestPlanLogBeginsWithBase(t *testing.T) {
	f := newFixture(t)
	f.seq[0], f.seq[1] = 40, 7
	f.log.List(noon, gtid.GTID{Server: 1, Seq: 40}, gtid.GTID{Domain: 1, Server: 3, Seq: 7})
	begin := f.log.Offset()
	f.tx(0, 100)
	f.tx(0, 101)
	f.flush(archivetest.Cut{})
	f.base("b1", "binlog.000001", begin, "0-1-40,1-3-7", 50)
	f.Head(after(200))
	f.reach(must(t)(ToGTID("0-1-41")), "0-1-41,1-3-7")
	f.reach(must(t)(ToGTID("0-1-41,1-3-7")), "0-1-41,1-3-7")
	f.reach(must(t)(BeforeGTID("0-1-41")), "0-1-40,1-3-7")
	f.reach(seconds(50), "0-1-40,1-3-7")
	f.reach(seconds(60), "0-1-40,1-3-7")
	f.refuse(seconds(49), fault.Unreachable, "12:00:50Z")
	f.refuse(must(t)(ToGTID("1-3-6")), fault.Unreachable, "not in the archived log")
}

func TestPlanDomains(t *testing.T) {
	f := newFixture(t)
	f.tx(0, 1) // 0-1-1
	f.flush()
	f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", 1)
	f.tx(1, 2) // 1-1-1
	f.tx(0, 3) // 0-1-2
	f.tx(0, 4) // 0-1-3
	f.tx(1, 5) // 1-1-2
	f.tx(0, 6) // 0-1-4
	f.flush(archivetest.Cut{From: f.end["0-1-1"], Every: 200})
	f.Head(after(9))
	ok := must(t)
	f.reach(ok(ToGTID("1-1-1,0-1-3")), "0-1-3,1-1-1")
	f.reach(ok(ToGTID("0-1-3,1-1-2")), "0-1-3,1-1-2")
	f.reach(ok(ToGTID("1-1-1")), "0-1-1,1-1-1")
	f.reach(ok(BeforeGTID("0-1-2,1-1-2")), "0-1-1,1-1-1")
	f.reach(ok(BeforeGTID("0-1-4,1-1-2")), "0-1-3,1-1-1")
	f.refuse(ok(ToGTID("0-1-4,1-1-1")), fault.Unreachable, "0-1-1,1-1-1 and 0-1-4,1-1-2")
	f.refuse(ok(ToGTID("0-1-2,1-1-2")), fault.Unreachable, "0-1-2,1-1-1 and 0-1-3,1-1-2")
	f.reach(ok(BeforeGTID("0-1-2,1-1-1")), "0-1-1")
}

func TestPlanNonStrict(t *testing.T) {
	f := newFixture(t)
	f.as(gtid.GTID{Server: 1, Seq: 100}, 1)
	f.flush()
	f.base("b1", "binlog.000001", f.end["0-1-100"], "0-1-100", 1)
	f.as(gtid.GTID{Server: 1, Seq: 50}, 2)
	f.as(gtid.GTID{Server: 2, Seq: 7}, 3)
	f.as(gtid.GTID{Server: 1, Seq: 51}, 4)
	f.as(gtid.GTID{Server: 1, Seq: 50}, 5)
	f.as(gtid.GTID{Server: 1, Seq: 101}, 6)
	f.flush(archivetest.Cut{From: f.end["0-1-100"], Every: 1})
	f.Head(after(9))
	f.reach(must(t)(ToGTID("0-1-51")), "0-1-51")
	f.reach(must(t)(ToGTID("0-2-7")), "0-2-7")
	f.reach(must(t)(BeforeGTID("0-1-51")), "0-2-7")
	f.reach(must(t)(ToGTID("0-1-100")), "0-1-100")
	f.refuse(must(t)(ToGTID("0-1-50")), fault.Unreachable, "more than once", fmt.Sprint(f.at["0-1-50"]))
}

func TestPlanAmbiguousPosition(t *testing.T) {
	f := simple(t)
	f.file("binlog.000001", after(100)) // the names begin again after RESET MASTER
	f.tx(0, 101)
	f.flush()
	f.Head(after(102))
	f.refuse(must(t)(ToPosition("binlog.000001:300")), fault.Unreachable, "2 files had that name", "of server 1",
		"segments 1 to", "segments 14 to", "12:01:40Z")
	f.reach(must(t)(ToPosition("binlog.000002:4")), "0-1-7")
}

func TestPlanUnfinishedTransaction(t *testing.T) {
	f := newFixture(t)
	f.tx(0, 1)
	f.flush()
	f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", 1)
	f.log.Unfinished(gtid.GTID{Server: 1, Seq: 2}, after(2)) // the server died in it, and used the number again
	f.log.Rotate(after(3), "binlog.000002")
	f.flush(archivetest.Cut{From: f.end["0-1-1"]})
	f.file("binlog.000002", after(3))
	f.tx(0, 4)
	f.tx(0, 5)
	f.flush()
	f.Head(after(9))
	p := f.reach(seconds(4), "0-1-1")
	if p.FirstNotApplied.GTID != "0-1-2" || p.Transactions != 0 {
		t.Errorf("plan %+v, next %v", p, p.FirstNotApplied)
	}
	f.reach(must(t)(ToGTID("0-1-2")), "0-1-2")
}

func TestPlanWithoutBaseOrLog(t *testing.T) {
	f := newFixture(t)
	f.refuse(ToLatest(), fault.Unreachable, "no log yet")
	f.tx(0, 1)
	f.flush()
	f.refuse(ToLatest(), fault.Unreachable, "no base backup", "tidemark backup")
	p, err := MakePlan(context.Background(), f.Catalog, PlanOptions{Timeline: 9})
	if !fault.Is(err, fault.Unreachable) {
		t.Errorf("timeline 9: %v, %v", p, err)
	}
}

func TestPlanDamage(t *testing.T) {
	remove := func(f *fixture, key string) {
		if err := os.Remove(filepath.Join(f.dir, key)); err != nil {
			t.Fatal(err)
		}
	}
	ok := must(t)
	t.Run("data missing", func(t *testing.T) {
		f := simple(t)
		key := f.Segments[8].Stored.Key
		remove(f, key)
		f.refuse(ToLatest(), fault.Integrity, key, "missing")
		f.reach(seconds(6), "0-1-5")
	})
	t.Run("data cut off", func(t *testing.T) {
		f := simple(t)
		key := f.Segments[8].Stored.Key
		if err := os.Truncate(filepath.Join(f.dir, key), 40); err != nil {
			t.Fatal(err)
		}
		f.refuse(ToLatest(), fault.Integrity, key, "40 bytes")
	})
	t.Run("manifest missing", func(t *testing.T) {
		f := simple(t)
		remove(f, catalog.SegmentKey(1, 9, 9))
		f.refuse(ToLatest(), fault.Integrity, catalog.SegmentKey(1, 9, 9), "missing")
		f.refuse(seconds(20), fault.Integrity, catalog.SegmentKey(1, 9, 9))
		f.refuse(ok(ToGTID("0-1-8")), fault.Integrity, catalog.SegmentKey(1, 9, 9))
		if p := f.reach(seconds(6), "0-1-5"); !p.HasWarnings() {
			t.Error("the damage behind the target is not named")
		}
	})
	t.Run("tail missing", func(t *testing.T) {
		f := simple(t)
		last := f.Segments[len(f.Segments)-1]
		remove(f, catalog.SegmentKey(1, last.First, last.Last))
		f.refuse(ToLatest(), fault.Integrity, "missing now")
		f.refuse(seconds(20), fault.Integrity, "missing now")
		f.reach(seconds(6), "0-1-5")
	})
	t.Run("base manifest damaged", func(t *testing.T) {
		f := simple(t)
		if err := os.WriteFile(filepath.Join(f.dir, "base/b2/manifest.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := f.reach(ToLatest(), "0-1-10")
		if p.Base.ID != "b1" || !p.HasWarnings() {
			t.Errorf("base %s, warnings %q", p.Base.ID, p.Warnings)
		}
	})
	t.Run("part missing", func(t *testing.T) {
		f := simple(t)
		remove(f, catalog.PartKey("b2", 2, "mbstream"))
		p := f.reach(ToLatest(), "0-1-10")
		if p.Base.ID != "b1" || !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, "b2/00002.mbstream") }) {
			t.Errorf("base %s, warnings %q", p.Base.ID, p.Warnings)
		}
		remove(f, catalog.PartKey("b1", 2, "mbstream"))
		f.refuse(ToLatest(), fault.Integrity, "b2/00002.mbstream", "missing")
	})
	t.Run("base is elsewhere", func(t *testing.T) {
		f := simple(t)
		f.base("b3", "binlog.000001", f.end["0-1-7"], "0-1-6", 7)
		f.refuse(ToLatest(), fault.Integrity, "b3", "0-1-6")
	})
	t.Run("base inside a transaction", func(t *testing.T) {
		f := simple(t)
		f.base("b3", "binlog.000001", f.end["0-1-7"]-1, "0-1-6", 7)
		f.refuse(ToLatest(), fault.Integrity, "b3", "inside")
	})
	t.Run("hole between bases", func(t *testing.T) {
		f := simple(t)
		remove(f, catalog.SegmentKey(1, 5, 5))
		f.reach(ToLatest(), "0-1-10")
		f.reach(seconds(8), "0-1-7")
		f.reach(ok(ToGTID("0-1-3")), "0-1-3")
		f.refuse(seconds(4), fault.Unreachable, "before the first", "hole", "0000000000000005-0000000000000005.json", "to GTID position 0-1-3", "and from 2026-11-21T12:00:06Z") // between the third and the hole
		f.refuse(ok(ToGTID("0-1-4")), fault.Integrity, catalog.SegmentKey(1, 5, 5))
	})
}

// TestPlanBaseOfLeftBranch: a base backup in the segment in which another timeline leaves, but behind that place, holds
// what was left behind: one before it is chosen.
func TestPlanBaseOfLeftBranch(t *testing.T) {
	f := newFixture(t)
	for i := 1; i <= 4; i++ {
		f.tx(0, i)
	}
	f.flush(archivetest.Cut{})
	f.base("b1", f.name, f.end["0-1-1"], "0-1-1", 1)
	f.base("b2", f.name, f.end["0-1-3"], "0-1-3", 3)
	f.Head(after(5))
	s := f.Segments[0]
	err := f.Catalog.PutTimeline(context.Background(), &catalog.Timeline{Number: 2, Parent: 1, ParentSegment: s.Last, ParentBodyOffset: f.end["0-1-2"] - s.Source.Start,
		Position: catalog.PositionOf(gtid.NewState([]gtid.GTID{{Server: 1, Seq: 2}})), Reason: "failover", Created: after(6)})
	if err != nil {
		t.Fatal(err)
	}
	if p := f.reach(ToLatest(), "0-1-2"); p.Base.ID != "b1" || p.Transactions != 1 {
		t.Errorf("it begins from %s with %d transactions", p.Base.ID, p.Transactions)
	}
	old, err := MakePlan(context.Background(), f.Catalog, PlanOptions{Timeline: 1})
	if err != nil || old.Base.ID != "b2" || old.Stop.GTID != "0-1-4" {
		t.Errorf("on the branch that was left: %+v, %v", old, err)
	}
}

// TestUncopiedFiles: a plan names what the base backup lacks, whatever its names hold.
func TestUncopiedFiles(t *testing.T) {
	p := &Plan{base: &catalog.Base{ID: "b1", UncopiedFiles: []string{"d/data.csv", "d/\x1b[2J"}}}
	p.warnOfEmpty()
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], `base backup b1 lacks files`) || !strings.Contains(p.Warnings[0], `"d/data.csv", "d/\x1b[2J"`) {
		t.Errorf("%q", p.Warnings)
	}
}

// TestSeries: a plan says where the log goes over to another series than the base backup's.
func TestSeries(t *testing.T) {
	segment := func(version, before string) *catalog.Segment {
		return &catalog.Segment{Source: catalog.Source{Version: version}, Before: catalog.Position{GTID: before}}
	}
	p := &Plan{base: &catalog.Base{ID: "b1", ServerVersion: "10.11.19-MariaDB-log"},
		segments: []*catalog.Segment{segment("10.11.19-MariaDB-log", "0-1-1"), segment("10.11.20-MariaDB-log", "0-1-5")}}
	if p.warnOfSeries(); len(p.Warnings) != 0 {
		t.Errorf("of one series: %q", p.Warnings)
	}
	p.segments = append(p.segments, segment("11.8.9-MariaDB-log", "0-1-9"), segment("11.8.9-MariaDB-log", "0-1-12"))
	if p.warnOfSeries(); len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "behind GTID position 0-1-9 was written by") {
		t.Errorf("of two: %q", p.Warnings)
	}
}
