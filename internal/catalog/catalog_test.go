package catalog

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/storage/file"
)

func TestCreate(t *testing.T) {
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, store, "shop", "test"); !fault.Is(err, fault.NoArchive) || fault.HintOf(err) == "" {
		t.Errorf("open without an archive: %v", err)
	}
	if _, err := Open(ctx, store, "a/../b", "test"); err == nil || fault.Is(err, fault.NoArchive) {
		t.Errorf("open with a bad name: %v", err)
	}
	// Several at once agree on one.
	uuids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range uuids {
		wg.Go(func() {
			c, err := Create(ctx, store, "shop", "test", gtid.MariaDB, birth.Add(time.Duration(i)*time.Second))
			if err != nil {
				t.Error(err)
				return
			}
			uuids[i] = c.Cluster.UUID
		})
	}
	wg.Wait()
	if slices.Sort(uuids); uuids[0] != uuids[7] || uuids[0] == "" {
		t.Errorf("clusters %v", uuids)
	}
	c, err := Open(ctx, store, "shop", "other")
	if err != nil || c.Cluster.Name != "shop" || c.Cluster.Flavor != gtid.MariaDB || c.Cluster.UUID != uuids[0] || c.Cluster.Created.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	tl, err := c.Timeline(ctx, 0)
	if err != nil || tl.Number != 1 || tl.Parent != 0 || tl.Reason != "start" || tl.Seed != c.seed() {
		t.Errorf("%+v, %v", tl, err)
	}
	if _, err := c.Timeline(ctx, 7); !fault.Is(err, fault.Unreachable) {
		t.Errorf("timeline 7: %v", err)
	}
	if _, err := Create(ctx, store, "shop", "test", gtid.MySQL, birth); !fault.Is(err, fault.Config) {
		t.Errorf("create with another flavor: %v", err)
	}
	if !strings.HasSuffix(c.URL(), "/shop") {
		t.Errorf("URL is %s", c.URL())
	}
	// A crash between the two objects leaves no timeline; the next start puts it.
	a := &archive{Catalog: c, t: t, dir: strings.TrimPrefix(store.URL(), "file://")}
	a.remove("timelines/00000001.json")
	if _, err := c.Timeline(ctx, 0); !fault.Is(err, fault.Integrity) {
		t.Errorf("no timeline: %v", err)
	}
	if _, err := Create(ctx, store, "shop", "test", gtid.MariaDB, birth); err != nil {
		t.Error(err)
	}
	if _, err := c.Timeline(ctx, 0); err != nil {
		t.Error(err)
	}
	// Seeds of clusters differ.
	d, err := Create(ctx, store, "crm", "test", gtid.MariaDB, birth)
	if err != nil || d.seed() == c.seed() {
		t.Errorf("the seeds are equal, %v", err)
	}
}

// TestClusters: all clusters are found, and nothing else, whatever lies beside and in them.
func TestClusters(t *testing.T) {
	dir := t.TempDir()
	store, err := file.New(unsynced{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := Clusters(ctx, store); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	var want []string
	for _, name := range []string{"shop", "shop-2", "shop.x", "shop2", "a", "z", "notes-2", "SHOP"} {
		if _, err := Create(ctx, store, name, "test", gtid.MariaDB, birth); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	for _, key := range []string{"notes", "README.txt", "shop/base/b1/00001.mbstream.zst", "shop/log/00000001/x", "shop/zzz",
		"nothing/base/x", "nothing/zzz", "shop/base/cluster.json", "notes-2/aaa"} {
		if err := store.Put(ctx, key, []byte("x"), true); err != nil {
			t.Fatal(err)
		}
	}
	names, err := Clusters(ctx, store)
	if slices.Sort(want); err != nil || !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("%v, %v; want %v", names, err, want)
	}
}

func TestTimelines(t *testing.T) {
	a := newArchive(t)
	fork := &Timeline{Number: 2, Parent: 1, ParentSegment: 3, ParentBodyOffset: 77, Position: Position{GTID: "0-1-5", State: []string{"0-1-5"}},
		Seed: sha([]byte("x")), Reason: "failover", Created: birth, Abandoned: []string{"0-1-6"},
		Gaps: []Gap{{From: Position{GTID: "0-1-5"}, To: Position{GTID: "0-1-9"}, Noticed: birth}}}
	a.must(a.PutTimeline(ctx, fork))
	list, err := a.Timelines(ctx)
	if err != nil || len(list) != 2 || list[0].Number != 1 || list[1].Parent != 1 || list[1].Gaps[0].To.GTID != "0-1-9" || list[1].Abandoned[0] != "0-1-6" {
		t.Errorf("%+v, %v", list, err)
	}
	if tl, err := a.Timeline(ctx, 0); err != nil || tl.Number != 2 {
		t.Errorf("the newest is %+v, %v", tl, err)
	}
	if err := a.PutTimeline(ctx, fork); err != nil {
		t.Errorf("our own again: %v", err)
	}
	fork.Reason = "reset"
	if err := a.PutTimeline(ctx, fork); err == nil {
		t.Error("another one in its place is accepted")
	}
	a.must(os.Rename(a.path("timelines/00000002.json"), a.path("timelines/00000005.json")))
	if _, err := a.Timelines(ctx); !fault.Is(err, fault.Integrity) {
		t.Errorf("moved to another key: %v", err)
	}
}

// TestObjects: what does not belong, does not match or is not understood is refused with its key, and
// what a later version adds is ignored.
func TestObjects(t *testing.T) {
	type object struct {
		key  string
		read func(a *archive) error
	}
	objects := []object{
		{"cluster.json", func(a *archive) error { _, err := Open(ctx, a.Catalog.store, "shop", "test"); return err }},
		{"timelines/00000001.json", func(a *archive) error { _, err := a.Timelines(ctx); return err }},
		{segmentKey(1, 1, 1), func(a *archive) error { _, err := a.names(0); return err }},
		{segmentKey(1, 1, 1), func(a *archive) error { _, err := a.SegmentAt(ctx, 1, 1, 1); return err }},
		{headKey(1, 1), func(a *archive) error { _, err := a.LastHead(ctx, 1); return err }},
		{headKey(1, 1), func(a *archive) error { _, err := a.Last(ctx, 1); return err }},
		{baseKey("b1"), func(a *archive) error { _, err := a.Bases(ctx); return err }},
	}
	fresh := func() *archive {
		a := newArchive(t)
		a.add(1)
		a.must(a.PutHead(ctx, &Head{Timeline: 1, Segment: 1, Chain: a.last.ChainAfter, Position: a.last.After, Written: birth}))
		a.must(a.PutBase(ctx, base(a, "b1")))
		return a
	}
	for _, o := range objects {
		for _, tt := range []struct {
			name     string
			old, new string
			raw      bool // the digest is left as it is
			want     string
		}{
			{"as it is", "{", "{", false, ""},
			{"an unknown field", "{", `{"fromTheFuture": {"a": [1, "x"]},`, false, ""},
			{"another version", `"formatVersion":`, `"formatVersion": 2, "x":`, false, "format version is 2; this program reads version 1"},
			{"a version with other types", `"formatVersion":`, `"formatVersion": 3, "created": {"no": 1}, "timeline": "x", "uuid": 7, "clusterUuid": 7, "x":`, false, "format version is 3"},
			{"no version", `"formatVersion":`, `"x":`, false, "format version is 0"},
			{"not JSON", "{", "[", false, ""},
			{"a flipped bit", `"formatVersion":`, `"formatversion":`, true, ""},
			{"white space", "{", "{ ", true, "SHA-256"},
			{"another digest", `"manifestSha256":`, `"manifestSha256": "00", "y":`, true, ""},
			{"no digest", `"manifestSha256"`, `"manifestSha257"`, true, "no SHA-256 of its own"},
		} {
			a := fresh()
			if tt.raw || tt.name == "not JSON" {
				data, err := os.ReadFile(a.path(o.key))
				a.must(err)
				a.must(os.WriteFile(a.path(o.key), []byte(strings.Replace(string(data), tt.old, tt.new, 1)), 0o600))
			} else {
				a.edit(o.key, tt.old, tt.new)
			}
			err := o.read(a)
			fine := tt.name == "as it is" || tt.name == "an unknown field"
			switch {
			case fine && err != nil:
				t.Errorf("%s with %s: %v", o.key, tt.name, err)
			case fine:
			case !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), o.key):
				t.Errorf("%s with %s: %v", o.key, tt.name, err)
			case strings.Contains(tt.name, "version") && tt.name != "no version" && !strings.Contains(fault.HintOf(err), "later"):
				t.Errorf("%s with %s: hint %q", o.key, tt.name, fault.HintOf(err))
			}
		}
		// Another cluster's, in the same place.
		a, other := fresh(), fresh()
		data, err := os.ReadFile(other.path(o.key))
		a.must(err)
		a.must(os.WriteFile(a.path(o.key), data, 0o600))
		if err := o.read(a); o.key != "cluster.json" && !fault.Is(err, fault.Integrity) {
			t.Errorf("%s of another cluster: %v", o.key, err)
		}
		// Empty, and cut off.
		for _, n := range []int{0, len(data) / 2} {
			a.must(os.WriteFile(a.path(o.key), data[:n], 0o600))
			if err := o.read(a); !fault.Is(err, fault.Integrity) {
				t.Errorf("%s cut to %d bytes: %v", o.key, n, err)
			}
		}
	}
	// A cluster's archive that was copied under another name.
	a := fresh()
	a.must(os.Rename(a.dir+"/shop", a.dir+"/crm"))
	if _, err := Open(ctx, a.Catalog.store, "crm", "test"); !fault.Is(err, fault.Integrity) {
		t.Errorf("under another name: %v", err)
	}
}

// TestRoundTrip: what is written comes back, field by field.
func TestRoundTrip(t *testing.T) {
	a := newArchive(t)
	s := a.next(3)
	data, err := EncodeSegment(s)
	a.must(err)
	got, err := DecodeSegment(data)
	a.must(err)
	if again, err := EncodeSegment(got); err != nil || string(again) != string(data) {
		t.Errorf("%+v comes back as %+v, %v", s, got, err)
	}
	if _, err := DecodeSegment(data[:len(data)-5]); err == nil {
		t.Error("a record that is cut off is accepted")
	}
	// Nothing is zero in what was encoded, so that no field is forgotten.
	for _, name := range []string{"clusterUuid", "timeline", "first", "last", "writer", "serverId", "serverVersion", "file", "startOffset",
		"endOffset", "formatDescription", "fileCreated", "serverIds", "after", "precision", "transactions", "events", "headBytes", "bodyBytes",
		"bodySha256", "chainBefore", "chainAfter", "receivedFirst", "receivedLast", "live", "sourceOffset", "crc32c", "compression", "sealed", "createdBy"} {
		if !strings.Contains(string(data), `"`+name+`"`) {
			t.Errorf("%s is not in the record", name)
		}
	}
	if !got.Commit.First.Equal(birth) || got.Commit.Precision != time.Second {
		t.Errorf("commit times are %+v", got.Commit)
	}
}
