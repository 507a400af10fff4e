package verify

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// TestSubset reads an archive in twenty parts, as twenty runs do: every data object is read once, to its
// end, and damage shows in the one part that it is in.
func TestSubset(t *testing.T) {
	a, _ := sample(t)
	whole, err := check(t, a, true)
	must(t, err)
	var mu sync.Mutex
	reads := map[string]int{}
	cat, err := catalog.Open(context.Background(), storage.Faulty(a.Store, func(op, key string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "get" && (strings.Contains(key, ".zst") && !strings.Contains(key, "/index/")) {
			reads[key]++
		}
		return nil
	}), "default", "test")
	must(t, err)
	dir := t.TempDir()
	run := func(o Options) (*Report, error) {
		at, err := ReadPosition(durable.OS{}, dir) // each run is a process of its own
		must(t, err)
		o.Subset, o.Clock = at.Next(20), clock.System{}
		var last Progress
		o.Progress = func(p Progress) { last = p }
		r, err := Run(context.Background(), cat, o)
		if r == nil {
			t.Fatal(err)
		}
		if last.Bytes != last.AllBytes || last.Objects != last.AllObjects || last.Left != 0 || r.Subset != o.Subset.String() {
			t.Errorf("part %s ends at %+v", o.Subset, last)
		}
		at.Read(o.Subset)
		at.Last = r.Outcome(time.Now(), time.Now())
		must(t, at.Save(durable.OS{}, dir))
		return r, err
	}
	for round := range 2 {
		var bytes int64
		clear(reads)
		for range 20 {
			r, err := run(Options{Data: round == 0, Stored: round == 1})
			must(t, err)
			bytes += r.ReadBytes
		}
		if bytes != whole.ReadBytes {
			t.Errorf("round %d: %d bytes were read, there are %d", round, bytes, whole.ReadBytes)
		}
		for key, n := range reads {
			if n != 1 {
				t.Errorf("round %d: %s is read %d times", round, key, n)
			}
		}
		if len(reads) != len(a.Segments)+3 {
			t.Errorf("round %d: %d objects are read", round, len(reads))
		}
	}

	key := a.Segments[3].Stored.Key
	data := content(t, a, key)
	data[len(data)/2] ^= 4
	write(t, a, key, data)
	found := 0
	for range 20 {
		if r, err := run(Options{Data: true}); fault.Is(err, fault.Integrity) {
			found++
			at, perr := ReadPosition(durable.OS{}, dir)
			must(t, perr)
			if last := at.Last; last.Damage != 1 || !strings.HasPrefix(last.FirstFinding, key) || last.What != "data "+r.Subset || at.Done == 0 {
				t.Errorf("%+v", last)
			}
		}
	}
	if found != 1 {
		t.Errorf("found in %d parts", found)
	}
}

// TestPosition: parts follow each other, and begin anew where what is known does not fit.
func TestPosition(t *testing.T) {
	p := new(Position)
	for i, want := range []string{"1/3", "2/3", "3/3", "1/3", "2/3"} {
		s := p.Next(3)
		if s.String() != want {
			t.Errorf("%d: %s, want %s", i, s, want)
		}
		p.Read(s)
	}
	if s := p.Next(4); s != (Subset{1, 4}) {
		t.Errorf("of another number: %s", s)
	}
	for _, bad := range []string{"", "3", "0/3", "4/3", "a/3", "3/", "1/-2", fmt.Sprint("1/", 1<<62, "0")} {
		if s, err := ParseSubset(bad); err == nil {
			t.Errorf("%q is %s", bad, s)
		}
	}
	dir := t.TempDir()
	must(t, durable.WriteFileAtomic(durable.OS{}, dir+"/verify.json", []byte("{")))
	if p, err := ReadPosition(durable.OS{}, dir); err != nil || p.Next(5) != (Subset{1, 5}) {
		t.Errorf("damaged: %+v, %v", p, err)
	}
}
