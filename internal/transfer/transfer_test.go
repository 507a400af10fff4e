package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/internal/verify"
	"tidemark/storage"
	driver "tidemark/storage/file"
)

// TestCopy: a copy holds what the archive holds, byte for byte, and a second copy finds nothing to do.
func TestCopy(t *testing.T) {
	a := sample(t)
	to := empty(t)
	r := a.copied(to, Options{})
	if r.Segments != 7 || r.Bases != 2 || r.Timelines != 2 || r.SegmentsThere != 0 || r.Bytes == 0 || len(r.Recipients) > 0 {
		t.Errorf("%+v", r)
	}
	same(t, a.Catalog, to)
	for o, err := range a.Catalog.Objects(ctx, "") {
		must(t, err)
		switch o.Class {
		case catalog.ClassHead, catalog.ClassIndex, catalog.ClassProbe:
		default:
			ours, err := storage.ReadAll(ctx, a.Store, "default/"+o.Key, 1<<20)
			must(t, err)
			theirs, err := storage.ReadAll(ctx, to, "default/"+o.Key, 1<<20)
			if err != nil || !bytes.Equal(ours, theirs) {
				t.Errorf("%s: %v", o.Key, err)
			}
		}
	}
	if r := a.copied(to, Options{}); r.Segments+r.Bases != 0 || r.SegmentsThere != 7 || r.BasesThere != 2 || r.Bytes != 0 {
		t.Errorf("again: %+v", r)
	}
	// What comes later is copied by the next one.
	a.more()
	if r := a.copied(to, Options{}); r.Segments != 2 || r.Bases != 0 {
		t.Errorf("later: %+v", r)
	}
	same(t, a.Catalog, to)
}

// TestEncrypt: a copy for other recipients is opened by their identity only, and holds the same. What
// was encrypted before needs an identity, which is asked for before anything is written.
func TestEncrypt(t *testing.T) {
	a := sample(t)
	id1, r1 := pair(t)
	id2, r2 := pair(t)
	first, second := empty(t), empty(t)
	if r := a.copied(first, Options{Recipients: r1}); r.Segments != 7 || r.Bases != 2 || len(r.Recipients) != 1 {
		t.Errorf("%+v", r)
	}
	c := open(t, first)
	if err := read(c); !fault.Is(err, fault.WrongKey) {
		t.Errorf("without an identity: %v", err)
	}
	for o, err := range c.Objects(ctx, "") {
		must(t, err)
		if (o.Class == catalog.ClassData || o.Class == catalog.ClassPart) && !strings.HasSuffix(o.Key, ".age") {
			t.Errorf("%s is not encrypted", o.Key)
		}
	}
	for _, ids := range []*keys.Identities{nil, id2} {
		c.Unlock(ids)
		if _, err := Run(ctx, c, second, options(Options{Recipients: r2})); !fault.Is(err, fault.WrongKey) {
			t.Errorf("encrypted anew without the identity: %v", err)
		}
		for o := range second.List(ctx, "", "") {
			t.Errorf("%s was written", o.Key)
		}
	}
	c.Unlock(id1)
	same(t, a.Catalog, first)
	_, err := Run(ctx, c, second, options(Options{Recipients: r2}))
	must(t, err)
	again := open(t, second)
	again.Unlock(id1)
	if err := read(again); !fault.Is(err, fault.WrongKey) {
		t.Errorf("with the identity of before: %v", err)
	}
	again.Unlock(id2)
	must(t, read(again))
	// As it is, it needs none.
	c.Unlock(nil)
	third := empty(t)
	_, err = Run(ctx, c, third, options(Options{}))
	must(t, err)
	whole3 := open(t, third)
	whole3.Unlock(id1)
	must(t, read(whole3))
	// A copy that goes on with other recipients leaves what is there.
	a.more()
	if r := a.copied(first, Options{Recipients: r2}); r.Segments != 2 || r.SegmentsThere != 7 {
		t.Errorf("%+v", r)
	}
	// What is there in the clear is not passed off as encrypted.
	plain := empty(t)
	a.copied(plain, Options{})
	a.more()
	if _, err := Run(ctx, a.Catalog, plain, options(Options{Recipients: r2})); !fault.Is(err, fault.TargetNotEmpty) || !strings.Contains(err.Error(), "in the clear") {
		t.Errorf("a copy in the clear that is to go on encrypted: %v", err)
	}
}

var errDown = errors.New("the storage is down")

// TestInterrupted: wherever storage fails, on either side, what is there is an archive without a
// fault, only shorter; and the same copy, begun again, completes it.
func TestInterrupted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	a := sample(t)
	_, recipients := pair(t)
	for _, o := range []Options{{}, {Recipients: recipients}, {Window: Window{Base: "b2"}}} {
		for n := int64(1); ; n += 1 + rng.Int64N(7) {
			to := empty(t)
			var ops atomic.Int64
			late := rng.IntN(2) == 0
			fail := func(op, key string) error {
				if ops.Add(1) < n {
					return nil
				}
				if late && (op == "put" || op == "upload" || op == "delete") {
					return storage.After(errDown)
				}
				return errDown
			}
			from := open(t, storage.Faulty(a.Store, func(string, string) error { return nil }))
			_, err := Run(ctx, from, storage.Faulty(to, fail), options(o))
			if err == nil {
				if n < 20 {
					t.Errorf("only %d operations", n)
				}
				break
			}
			if !errors.Is(err, errDown) {
				t.Fatalf("seed %d, operation %d: %v", seed, n, err)
			}
			if c, err := catalog.Open(ctx, to, "default", "test"); err == nil {
				verified(t, c)
			} else if !fault.Is(err, fault.NoArchive) {
				t.Fatalf("seed %d, operation %d: %v", seed, n, err)
			}
			_, err = Run(ctx, from, to, options(o))
			if err != nil {
				t.Fatalf("seed %d, operation %d, begun again: %v", seed, n, err)
			}
			verified(t, open(t, to))
		}
	}
	// The side that is read from.
	for n := int64(1); ; n += 1 + rng.Int64N(5) {
		to := empty(t)
		var ops atomic.Int64
		from, err := catalog.Open(ctx, storage.Faulty(a.Store, func(string, string) error {
			if ops.Add(1) < n {
				return nil
			}
			return errDown
		}), "default", "test")
		if err != nil {
			continue
		}
		if _, err = Run(ctx, from, to, options(Options{})); err == nil {
			break
		}
		if !errors.Is(err, errDown) {
			t.Fatalf("seed %d, reading operation %d: %v", seed, n, err)
		}
		if c, err := catalog.Open(ctx, to, "default", "test"); err == nil {
			verified(t, c)
		}
	}
}

// TestPartsOnce: a base backup whose copy ended just before its manifest is not copied again, but
// read there; a part that was damaged meanwhile is.
func TestPartsOnce(t *testing.T) {
	a := sample(t)
	ids, recipients := pair(t)
	for _, o := range []Options{{}, {Recipients: recipients}} {
		f := &file{t: t, Store: empty(t)}
		var uploads atomic.Int64
		broken := true
		counted := storage.Faulty(f.Store, func(op, key string) error {
			if strings.HasPrefix(key, "default/base/b1/") {
				switch {
				case op == "upload":
					uploads.Add(1)
				case op == "put" && strings.HasSuffix(key, "/manifest.json") && broken:
					return errDown
				}
			}
			return nil
		})
		for n, want := range []int64{3, 0, 1} {
			if n == 2 {
				for o, err := range open(t, f.Store).Objects(ctx, "base/b1/00002") {
					must(t, err)
					f.flip(o.Key)
				}
			}
			uploads.Store(0)
			if _, err := Run(ctx, a.Catalog, counted, options(o)); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
			if got := uploads.Load(); got != want {
				t.Errorf("run %d uploads %d parts, %d expected", n, got, want)
			}
		}
		broken = false
		_, err := Run(ctx, a.Catalog, counted, options(o))
		must(t, err)
		c := open(t, f.Store)
		c.Unlock(ids)
		must(t, read(c))
		for o, err := range c.Objects(ctx, "") {
			must(t, err)
			if o.Class == catalog.ClassProbe {
				t.Errorf("%s is left", o.Key)
			}
		}
	}
}

// TestDifferent: what is there and is something else is refused, named, and left as it is.
func TestDifferent(t *testing.T) {
	a := sample(t)
	key := func(i int) string { return a.Segments[i].Stored.Key }
	for name, tt := range map[string]struct {
		make  func(*file)
		kind  fault.Kind
		named string
	}{
		"another cluster":    {func(f *file) { f.from(sample(t)) }, fault.TargetNotEmpty, "cluster.json"},
		"data missing":       {func(f *file) { f.from(a); must(t, os.Remove(f.path(key(1)))) }, fault.Integrity, key(1)},
		"data cut off":       {func(f *file) { f.from(a); must(t, os.Truncate(f.path(key(1)), 20)) }, fault.Integrity, key(1)},
		"manifest changed":   {func(f *file) { f.from(a); f.flip(catalog.SegmentKey(1, 2, 2)) }, fault.Integrity, catalog.SegmentKey(1, 2, 2)},
		"base changed":       {func(f *file) { f.from(a); f.flip("base/b1/manifest.json") }, fault.Integrity, "base/b1/manifest.json"},
		"other segments":     {func(f *file) { f.from(a.twin()) }, fault.TargetNotEmpty, catalog.SegmentKey(1, 7, 7)},
		"the archive itself": {func(f *file) { f.Store = a.Store }, fault.Usage, "default"},
		"within the archive": {func(f *file) {
			dir := filepath.Join(a.Dir, "default", "x")
			must(t, os.MkdirAll(dir, 0o700))
			s, err := driver.Open(dir)
			must(t, err)
			f.Store = s
		}, fault.Usage, "default/x"},
		"begins later":        {func(f *file) { a.copied(f.Store, Options{Window: Window{Base: "b2"}}) }, fault.TargetNotEmpty, catalog.TimelineKey(1)},
		"a hole between them": {func(f *file) { a.copied(f.Store, Options{Window: Window{To: begun.Add(3 * time.Minute)}}) }, fault.TargetNotEmpty, "log/00000001"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &file{t: t, Store: empty(t)}
			tt.make(f)
			before := f.all()
			o := Options{}
			if name == "a hole between them" {
				o.Window.Base = "b2"
			}
			_, err := Run(ctx, a.Catalog, f.Store, options(o))
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.named) || fault.HintOf(err) == "" {
				t.Errorf("%v", err)
			}
			if after := f.all(); before != after {
				t.Error("something has changed")
			}
		})
	}
}

// TestDamagedSource: what is damaged is named and not copied, and what was copied before is whole.
func TestDamagedSource(t *testing.T) {
	_, recipients := pair(t)
	for _, o := range []Options{{}, {Recipients: recipients}} {
		a := sample(t)
		f := &file{t: t, Store: a.Store, dir: a.Dir}
		f.flip(a.Segments[3].Stored.Key)
		to := empty(t)
		if _, err := Run(ctx, a.Catalog, to, options(o)); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), a.Segments[3].Stored.Key) {
			t.Errorf("%v", err)
		}
		c := open(t, to)
		verified(t, c)
		if last, err := c.Segments(ctx, 1, 0), error(nil); err == nil {
			n := 0
			for _, err := range last {
				must(t, err)
				n++
			}
			if n > 3 {
				t.Errorf("%d segments are there", n)
			}
		}
		must(t, os.Remove(filepath.Join(a.Dir, "default", a.Segments[4].Stored.Key)))
		if _, err := Run(ctx, a.Catalog, to, options(o)); !fault.Is(err, fault.Integrity) {
			t.Errorf("%v", err)
		}
	}
}

// TestWindow: a window is an archive of its own: it begins with a base backup, and covers its end.
func TestWindow(t *testing.T) {
	a := sample(t)
	for name, tt := range map[string]struct {
		w         Window
		first     uint64
		segments  int // of timeline 1
		timelines int
		bases     string
	}{
		"from a base":           {Window{Base: "b2"}, 4, 2, 2, "b2"},
		"from a time":           {Window{From: begun.Add(13 * time.Minute)}, 4, 2, 2, "b2"},
		"from an earlier time":  {Window{From: begun.Add(5 * time.Minute)}, 2, 4, 2, "b1 b2"},
		"to a time":             {Window{To: begun.Add(5*time.Minute + time.Second)}, 1, 3, 2, "b1"},
		"to a time, and a base": {Window{Base: "b1", To: begun.Add(9 * time.Minute)}, 2, 2, 2, "b1"},
		"to the end of time":    {Window{To: begun.AddDate(1, 0, 0)}, 1, 5, 2, "b1 b2"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, recipients := range []*keys.Recipients{nil, second(pair(t))} {
				to := empty(t)
				a.copied(to, Options{Window: tt.w, DryRun: true, Recipients: recipients})
				for o := range to.List(ctx, "", "") {
					t.Fatalf("the dry run wrote %s", o.Key)
				}
				r := a.copied(to, Options{Window: tt.w, Recipients: recipients})
				c := open(t, to)
				v, err := c.Overview(ctx, nil)
				must(t, err)
				var bases []string
				for _, b := range v.Bases {
					bases = append(bases, b.ID)
				}
				one := v.Timelines[0]
				if one.Skipped+1 != tt.first || one.Segments != tt.segments || len(v.Timelines) != tt.timelines || r.Timelines != tt.timelines ||
					strings.Join(bases, " ") != tt.bases || len(one.Holes) > 0 || len(v.Problems) > 0 {
					t.Errorf("first %d, %d segments, %d timelines, bases %v, holes %v, problems %v", one.Skipped+1, one.Segments, len(v.Timelines), bases, one.Holes, v.Problems)
				}
				if to := tt.w.To; !to.IsZero() && one.Windows[0].To.Before(to) && one.CoveredUntil.Before(to) && !to.After(begun.Add(time.Hour)) {
					t.Errorf("it reaches %s, and should reach %s", one.Windows[0].To, to)
				}
				// The window can grow at its end, and not at its beginning.
				rest := tt.w
				rest.To = time.Time{}
				a.copied(to, Options{Window: rest, Recipients: recipients})
				verified(t, open(t, to))
			}
		})
	}
	for _, w := range []Window{{Base: "b9"}, {From: begun.Add(-time.Hour)}} {
		if _, err := Run(ctx, a.Catalog, empty(t), options(Options{Window: w})); !fault.Is(err, fault.Unreachable) {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// verified checks an archive, stored bytes too.
func verified(t *testing.T, c *catalog.Catalog) {
	t.Helper()
	r, err := verify.Run(ctx, c, verify.Options{Stored: true, Clock: clock.System{}})
	if err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
}

// read reads everything in an archive, plain.
func read(c *catalog.Catalog) error {
	v, err := c.Overview(ctx, nil)
	if err != nil {
		return err
	}
	for _, b := range v.Bases {
		for _, p := range b.Parts {
			if err := c.VerifyPart(ctx, p); err != nil {
				return err
			}
		}
	}
	for _, l := range v.Timelines {
		for s, err := range c.Segments(ctx, l.Number, 0) {
			if err != nil {
				return err
			}
			r, err := c.OpenPlain(ctx, s)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r)
			r.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

var ctx = context.Background()
