package catalog

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"tidemark/internal/fault"
	"tidemark/storage"
)

func TestSegments(t *testing.T) {
	a := newArchive(t)
	if names, err := a.names(0); names != "" || err != nil {
		t.Errorf("of an empty log: %q, %v", names, err)
	}
	if s, err := a.Last(ctx, 1); s != nil || err != nil {
		t.Errorf("the last of an empty log: %v, %v", s, err)
	}
	a.add(10)
	for _, tt := range []struct {
		from uint64
		want string
	}{{0, "1 2 3 4 5 6 7 8 9 10"}, {1, "1 2 3 4 5 6 7 8 9 10"}, {7, "7 8 9 10"}, {10, "10"}, {11, ""}} {
		if names, err := a.names(tt.from); names != tt.want || err != nil {
			t.Errorf("from %d: %q, %v", tt.from, names, err)
		}
	}
	if s, err := a.Last(ctx, 1); err != nil || s.Last != 10 || s.ChainAfter != a.last.ChainAfter {
		t.Errorf("the last is %+v, %v", s, err)
	}
	chain := map[uint64]Digest{}
	for n := uint64(1); n <= 10; n++ {
		chain[n] = a.read(n).ChainAfter
	}
	// The widest wins, also inside others, and after the members are gone.
	a.cover(3, 5)
	a.cover(2, 6)
	a.cover(8, 9)
	for range 2 {
		for _, tt := range []struct {
			from uint64
			want string
		}{{0, "1 2-6 7 8-9 10"}, {4, "2-6 7 8-9 10"}, {6, "2-6 7 8-9 10"}, {7, "7 8-9 10"}, {9, "8-9 10"}} {
			if names, err := a.names(tt.from); names != tt.want || err != nil {
				t.Errorf("from %d: %q, %v", tt.from, names, err)
			}
		}
		for n := uint64(2); n < 7; n++ {
			_ = os.Remove(a.path(segmentKey(1, n, n)))
		}
	}
	for n := uint64(1); n <= 10; n++ {
		if d, ok, err := a.ChainAt(ctx, 1, n); err != nil || !ok || d != chain[n] {
			t.Errorf("the chain at %d is %x, %v, %v", n, d, ok, err)
		}
	}
	if _, ok, err := a.ChainAt(ctx, 1, 11); ok || err != nil {
		t.Errorf("the chain behind the end: %v, %v", ok, err)
	}
}

// TestHoles: what comes before a hole is yielded, then an error that names the number that is missing.
func TestHoles(t *testing.T) {
	for _, tt := range []struct {
		gone string
		from uint64
		want string
		hole string
	}{
		{"1", 0, "", "0000000000000001-0000000000000001"},
		{"1", 2, "2 3-4 5 6", ""},
		{"2", 0, "1", "0000000000000002-"},
		{"5", 0, "1 2 3-4", "0000000000000005-"},
		{"3-4", 0, "1 2", "0000000000000003-"},
		{"3-4", 4, "", "0000000000000004-"},
		{"3-4", 5, "5 6", ""},
		{"6", 0, "1 2 3-4 5", ""}, // only a head can tell
	} {
		a := newArchive(t)
		a.add(6)
		a.cover(3, 4)
		a.remove(segmentKey(1, 3, 3))
		a.remove(segmentKey(1, 4, 4))
		keys := map[string]string{"1": segmentKey(1, 1, 1), "2": segmentKey(1, 2, 2), "5": segmentKey(1, 5, 5), "6": segmentKey(1, 6, 6), "3-4": segmentKey(1, 3, 4)}
		a.remove(keys[tt.gone])
		names, err := a.names(tt.from)
		if names != tt.want {
			t.Errorf("without %s, from %d: %q", tt.gone, tt.from, names)
		}
		if tt.hole == "" != (err == nil) || err != nil && (!fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), tt.hole)) {
			t.Errorf("without %s, from %d: %v", tt.gone, tt.from, err)
		}
	}
}

// TestContradictions: a segment that does not go on where the one before it ends is refused.
func TestContradictions(t *testing.T) {
	type edit func(a *archive, s *Segment)
	chain := func(_ *archive, s *Segment) {
		s.ChainAfter = s.ChainBefore
		for _, m := range s.Members {
			s.ChainAfter = NextDigest(s.ChainAfter, m.BodySHA256)
		}
	}
	for _, tt := range []struct {
		name string
		edit edit
		want string // "": accepted
	}{
		{"nothing", func(*archive, *Segment) {}, ""},
		{"another file", func(_ *archive, s *Segment) { s.Source.File, s.Source.Start, s.Source.End = "binlog.000002", 4, 104 }, ""},
		{"a file of the same name", func(_ *archive, s *Segment) { s.Source.FileCreated, s.Source.Start, s.Source.End = 2, 4, 104 }, ""},
		{"another server", func(_ *archive, s *Segment) { s.Source.ServerID, s.Source.Start, s.Source.End = 8, 900, 1000 }, ""},
		{"chain", func(a *archive, s *Segment) { s.ChainBefore[0] ^= 1; chain(a, s) }, "the chain digest before it is not that after segment 2"},
		{"position", func(_ *archive, s *Segment) { s.Before.GTID = "0-7-1" }, "it begins at position"},
		{"state", func(_ *archive, s *Segment) { s.Before.State = []string{"0-8-1", "0-7-2"} }, "it begins at position"},
		{"offset", func(_ *archive, s *Segment) { s.Source.Start, s.Source.End = s.Source.Start+1, s.Source.End+1 }, "it begins at binlog.000001:205"},
		{"members", func(_ *archive, s *Segment) { s.Members = append(s.Members, s.Members[0]) }, "has 2 members"},
		{"no members", func(_ *archive, s *Segment) { s.Members = nil }, "has 0 members"},
		{"member's number", func(_ *archive, s *Segment) { s.Members[0].Number = 4 }, "has number 4"},
		{"member's size", func(_ *archive, s *Segment) { s.Members[0].BodyBytes = 99 }, "have 99 bytes"},
		{"no body", func(_ *archive, s *Segment) { s.Members[0].BodyBytes, s.BodyBytes = 0, 0 }, "with 0 bytes"},
		{"member's digest", func(_ *archive, s *Segment) { s.Members[0].BodySHA256[3] ^= 1 }, "different digests"},
		{"both digests", func(_ *archive, s *Segment) { s.Members[0].BodySHA256[3] ^= 1; s.BodySHA256[3] ^= 1 }, "does not follow from its members"},
		{"source bytes", func(_ *archive, s *Segment) { s.Source.End++ }, "covers 101 source bytes"},
		{"head", func(_ *archive, s *Segment) { s.HeadBytes = 3 }, "head of 3 bytes"},
		{"no data", func(_ *archive, s *Segment) { s.Stored.Key = "" }, "names no stored object"},
		{"number", func(_ *archive, s *Segment) { s.First, s.Last, s.Members[0].Number = 4, 4, 4 }, "manifest of segment 4"},
		{"timeline", func(_ *archive, s *Segment) { s.Timeline = 2 }, "of timeline 2"},
		{"cluster", func(_ *archive, s *Segment) { s.ClusterUUID = "x" }, "another cluster"},
	} {
		a := newArchive(t)
		a.add(2)
		s := a.next(1)
		tt.edit(a, s)
		a.must(a.putNew(ctx, segmentKey(1, 3, 3), segmentToWire(s)))
		names, err := a.names(0)
		if tt.want == "" {
			if err != nil || names != "1 2 3" {
				t.Errorf("%s: %q, %v", tt.name, names, err)
			}
			continue
		}
		if names != "1 2" || !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), segmentKey(1, 3, 3)) {
			t.Errorf("%s: %q, %v", tt.name, names, err)
		}
	}
	// The first one hangs on the timeline.
	a := newArchive(t)
	s := a.next(1)
	s.ChainBefore[0] ^= 1
	chain(a, s)
	a.must(a.Commit(ctx, s))
	if _, err := a.names(0); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "digest seed") {
		t.Errorf("another seed: %v", err)
	}
	// What contradicts itself is not committed at all.
	b := newArchive(t)
	s = b.next(1)
	s.BodyBytes++
	if err := b.Commit(ctx, s); err == nil {
		t.Error("a wrong manifest is committed")
	}
	if _, err := os.Stat(b.path(segmentKey(1, 1, 1))); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
}

// TestCommitRace: of several writers of a number one wins; a writer's own retried put is a success; and
// whoever comes after a number was compacted or passed has lost.
func TestCommitRace(t *testing.T) {
	a := newArchive(t)
	a.add(1)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			s := a.next(1)
			s.Writer = string(rune('a' + i))
			errs[i] = a.Commit(ctx, s)
		})
	}
	wg.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = string(rune('a' + i))
		case !fault.Is(err, fault.Locked):
			t.Errorf("writer %d: %v", i, err)
		}
	}
	there := a.read(2)
	if winner == "" || there.Writer != winner {
		t.Errorf("%s has won, %s is there", winner, there.Writer)
	}

	// Again, the same put, and the same segment with other data.
	again := *there
	if err := a.Commit(ctx, &again); err != nil {
		t.Errorf("the same again: %v", err)
	}
	again.Stored.Key, again.Sealed = SegmentDataKey(1, 2, 2, "second"), birth.AddDate(1, 0, 0)
	if err := a.Commit(ctx, &again); err != nil || again.Stored.Key != there.Stored.Key {
		t.Errorf("our own under another key: %v, %s", err, again.Stored.Key)
	}
	// Ours by name, but with another body.
	a.last = a.read(1)
	other := a.next(1)
	other.Writer, other.Members[0].BodySHA256 = winner, sha([]byte("other"))
	other.BodySHA256 = other.Members[0].BodySHA256
	other.ChainAfter = NextDigest(other.ChainBefore, other.BodySHA256)
	if err := a.Commit(ctx, other); !fault.Is(err, fault.Locked) || fault.HintOf(err) == "" {
		t.Errorf("another body: %v", err)
	}

	// Passed, and compacted away: the put wins the free key, and must not count.
	for name, prepare := range map[string]func(a *archive){
		"passed":    func(a *archive) { a.add(5); a.remove(segmentKey(1, 3, 3)) },
		"compacted": func(a *archive) { a.add(5); a.cover(2, 4); a.remove(segmentKey(1, 3, 3)) },
	} {
		a := newArchive(t)
		a.add(2)
		late := a.next(1)
		prepare(a)
		if err := a.Commit(ctx, late); !fault.Is(err, fault.Locked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCommitFails: an error of the storage leaves the outcome open, and a second try decides it.
func TestCommitFails(t *testing.T) {
	broken := errors.New("broken")
	for _, op := range []string{"put", "list", "next", "get"} {
		for _, late := range []bool{false, true} {
			a := newArchive(t)
			a.add(2)
			on := true
			b := a.over(storage.Faulty(a.Catalog.store, func(o, key string) error {
				if !on || o != op {
					return nil
				}
				if late {
					return storage.After(broken)
				}
				return broken
			}))
			s := a.next(1)
			err := b.Commit(ctx, s)
			if op == "get" && err != nil || op != "get" && !errors.Is(err, broken) {
				t.Errorf("%s fails, late %v: %v", op, late, err)
			}
			on = false
			s.Stored.Key = SegmentDataKey(1, 3, 3, "again")
			if err := b.Commit(ctx, s); err != nil {
				t.Errorf("%s failed, late %v, then: %v", op, late, err)
			}
			if there := a.read(3); there.Stored.Key != s.Stored.Key {
				t.Errorf("%s failed, late %v: %s is there, %s is said", op, late, there.Stored.Key, s.Stored.Key)
			}
		}
	}
	// Listing fails while segments are read.
	a := newArchive(t)
	a.add(3)
	b := a.over(storage.Faulty(a.Catalog.store, func(op, key string) error {
		if op == "next" && strings.Contains(key, "0002-") {
			return broken
		}
		return nil
	}))
	if names, err := b.names(0); !errors.Is(err, broken) || fault.Is(err, fault.Integrity) {
		t.Errorf("%q, %v", names, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range a.Segments(cancelled, 1, 0) {
		if !fault.Is(err, fault.Interrupted) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// TestLast: the end of the log must hold what the newest head anchors.
func TestLast(t *testing.T) {
	head := func(a *archive, s *Segment) {
		a.must(a.PutHead(ctx, &Head{Timeline: 1, Segment: s.Last, Chain: s.ChainAfter, Written: birth}))
	}
	a := newArchive(t)
	a.add(5)
	head(a, a.last)
	a.add(3)
	if s, err := a.Last(ctx, 1); err != nil || s.Last != 8 {
		t.Errorf("%+v, %v", s, err)
	}
	a.cover(4, 7)
	if s, err := a.Last(ctx, 1); err != nil || s.Last != 8 {
		t.Errorf("with a cover over the head: %+v, %v", s, err)
	}
	// Cut off behind the head, and before it.
	a.remove(segmentKey(1, 8, 8))
	if s, err := a.Last(ctx, 1); err != nil || s.Last != 7 {
		t.Errorf("without the end: %+v, %v", s, err)
	}
	for _, k := range []string{segmentKey(1, 4, 7), segmentKey(1, 7, 7), segmentKey(1, 6, 6), segmentKey(1, 5, 5)} {
		a.remove(k)
	}
	if _, err := a.Last(ctx, 1); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "reached segment 5 once") {
		t.Errorf("cut off: %v", err)
	}
	// A hole behind the head.
	b := newArchive(t)
	b.add(2)
	head(b, b.last)
	b.add(3)
	b.remove(segmentKey(1, 4, 4))
	if _, err := b.Last(ctx, 1); !fault.Is(err, fault.Integrity) {
		t.Errorf("a hole: %v", err)
	}
	// Another log in the place of the one that was archived.
	c := newArchive(t)
	c.add(5)
	d := newArchive(t)
	d.add(1)
	head(c, &Segment{Last: 5, ChainAfter: d.last.ChainAfter})
	if _, err := c.Last(ctx, 1); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "another digest") {
		t.Errorf("another log: %v", err)
	}
}
