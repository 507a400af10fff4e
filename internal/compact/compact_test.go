package compact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/internal/verify"
	"tidemark/restore/archivetest"
	"tidemark/storage"
)

var (
	ctx   = context.Background()
	begun = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
)

// sample is a log of three source files in 8, 5 and 4 segments.
func sample(t *testing.T) *archivetest.Archive {
	t.Helper()
	a := archivetest.InDir(t)
	fill(a)
	return a
}

func fill(a *archivetest.Archive) {
	now, seq := begun, uint64(0)
	for i, n := range []int{8, 5, 4} {
		log := archivetest.NewLog(1, now)
		log.List(now, a.State.List()...)
		var cuts []uint64
		for j := range 3 * n {
			seq++
			now = now.Add(time.Second)
			log.Change(gtid.GTID{Server: 1, Seq: seq}, now, "shop", "orders", 50*j)
			if j%3 == 2 {
				cuts = append(cuts, log.Offset())
			}
		}
		a.Append(fmt.Sprintf("binlog.%06d", i+1), log.Bytes(), archivetest.Cut{At: cuts, Live: true})
	}
	a.Head(now.Add(time.Second))
}

// content is what the log of an archive says: every event's bytes and place, and the chain's end.
func content(t *testing.T, c *catalog.Catalog) (events string, segments int) {
	t.Helper()
	h := sha256.New()
	var last *catalog.Segment
	for s, err := range c.Segments(ctx, 1, 0) {
		must(t, err)
		r, err := c.OpenSegment(ctx, s)
		must(t, err)
		for {
			ev, err := r.Next()
			if err == io.EOF {
				break
			}
			must(t, err)
			if !ev.Head {
				fmt.Fprintln(h, s.Source.File, ev.Offset)
				h.Write(ev.Data)
			}
		}
		must(t, r.Close())
		last = s
		segments++
	}
	return fmt.Sprintf("%x %x %v", h.Sum(nil), last.ChainAfter, last.After), segments
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// healthy fails unless the archive is whole; leftovers of what was interrupted are not damage.
func healthy(t *testing.T, c *catalog.Catalog, when string) {
	t.Helper()
	r, err := verify.Run(ctx, c, verify.Options{Data: true, Clock: clock.System{}})
	if err != nil {
		t.Fatalf("%s: %v: %+v", when, err, r.Findings)
	}
}

func options(o Options) Options {
	o.Clock, o.Writer, o.Version = clock.System{}, "tidemark compact", "test"
	return o
}

func open(t *testing.T, s storage.Store) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(ctx, s, "default", "test")
	must(t, err)
	return c
}

// What a log says is the same before, beside its small segments, and when they are gone.
func TestCompact(t *testing.T) {
	a := sample(t)
	before, _ := content(t, a.Catalog)
	dry, err := Run(ctx, a.Catalog, options(Options{DryRun: true}))
	must(t, err)
	if _, n := content(t, a.Catalog); n != 17 || dry.Segments != 13 || dry.Into != 2 {
		t.Errorf("a dry run: %d segments there, %+v", n, dry)
	}
	r, err := Run(ctx, a.Catalog, options(Options{}))
	must(t, err)
	// The last file may still grow.
	if after, n := content(t, a.Catalog); after != before || n != 6 || r.Segments != 13 || r.Into != 2 || r.Waiting != 13 || r.Removed != 0 {
		t.Errorf("%d segments, the same log: %v, %+v", n, after == before, r)
	}
	healthy(t, a.Catalog, "beside its members")
	r, err = Run(ctx, a.Catalog, options(Options{Grace: -1}))
	must(t, err)
	if after, n := content(t, a.Catalog); after != before || n != 6 || r.Into != 0 || r.Removed != 26 {
		t.Errorf("%d segments, the same log: %v, %+v", n, after == before, r)
	}
	healthy(t, a.Catalog, "without its members")
	if rep, err := verify.Run(ctx, a.Catalog, verify.Options{Clock: clock.System{}}); err != nil || len(rep.Findings) != 0 {
		t.Errorf("%v %+v", err, rep)
	}
}

// Members whose compacted segment is not there as its manifest says are all that there is: they stay.
func TestMembersOfLost(t *testing.T) {
	for _, size := range []int{-1, 20} { // of what is left of its data; it is gone
		a := sample(t)
		_, err := Run(ctx, a.Catalog, options(Options{}))
		must(t, err)
		for s, err := range a.Catalog.Segments(ctx, 1, 0) {
			must(t, err)
			if s.First == s.Last {
				continue
			}
			must(t, a.Catalog.Discard(ctx, s.Stored.Key))
			if size >= 0 {
				must(t, a.Catalog.Upload(ctx, s.Stored.Key, strings.NewReader(strings.Repeat("x", size))))
			}
			break
		}
		r, err := Run(ctx, a.Catalog, options(Options{Grace: -1}))
		if !fault.Is(err, fault.Integrity) || r.Removed != 0 {
			t.Errorf("%d objects were removed: %v", r.Removed, err)
		}
		for _, s := range a.Segments[:8] {
			must(t, a.Catalog.CheckStored(ctx, s.Stored))
		}
	}
}

// Sizes and ages end a run of segments.
func TestBounds(t *testing.T) {
	a := sample(t)
	before, _ := content(t, a.Catalog)
	r, err := Run(ctx, a.Catalog, options(Options{Age: 8 * time.Second}))
	must(t, err)
	if r.Into != 6 { // three segments of three seconds each, or what is left of them in a file
		t.Errorf("%+v", r)
	}
	if after, _ := content(t, a.Catalog); after != before {
		t.Error("the log differs")
	}
	b := sample(t)
	if r, err = Run(ctx, b.Catalog, options(Options{Size: 1})); err != nil || r.Into != 0 {
		t.Errorf("%v %+v", err, r)
	}
}

// TestVariables: a segment that records what the server's variables were from there on begins another one.
func TestVariables(t *testing.T) {
	a := archivetest.InDir(t)
	log, now := archivetest.NewLog(1, begun), begun
	log.List(now)
	var cuts []uint64
	for seq := range uint64(12) {
		now = now.Add(time.Second)
		log.Change(gtid.GTID{Server: 1, Seq: seq + 1}, now, "shop", "orders", 50)
		cuts = append(cuts, log.Offset())
	}
	want := map[string]string{"sql_mode": "other"}
	a.Append("binlog.000001", log.Bytes(), archivetest.Cut{At: cuts, Live: true, Variables: func(start uint64) map[string]string {
		if start == cuts[4] {
			return want
		}
		return nil
	}})
	a.Head(now)
	_, err := Run(ctx, a.Catalog, options(Options{}))
	must(t, err)
	for s, err := range a.Catalog.Segments(ctx, 1, 0) {
		must(t, err)
		if begins := s.Source.Start == cuts[4]; maps.Equal(s.Variables, want) != begins || s.Source.Start < cuts[4] && s.Source.End > cuts[4] {
			t.Errorf("segment %s from %s to %s records %v", s.Name(), s.Source.StartPoint(), s.Source.EndPoint(), s.Variables)
		}
	}
}

// What is encrypted takes an identity, and stays encrypted.
func TestEncrypted(t *testing.T) {
	a := archivetest.InDir(t)
	identity, recipient, err := keys.Generate(false)
	must(t, err)
	a.Recipients, err = keys.ParseRecipients([]string{recipient})
	must(t, err)
	ids, err := keys.ParseIdentities("file", []byte(identity))
	must(t, err)
	fill(a)
	if _, err := Run(ctx, a.Catalog, options(Options{Recipients: a.Recipients})); !fault.Is(err, fault.WrongKey) {
		t.Errorf("without an identity: %v", err)
	}
	a.Catalog.Unlock(ids)
	if _, err := Run(ctx, a.Catalog, options(Options{})); !fault.Is(err, fault.Config) {
		t.Errorf("without recipients: %v", err)
	}
	before, _ := content(t, a.Catalog)
	_, err = Run(ctx, a.Catalog, options(Options{Recipients: a.Recipients, Grace: -1}))
	must(t, err)
	if after, _ := content(t, a.Catalog); after != before {
		t.Error("the log differs")
	}
	for s, err := range a.Catalog.Segments(ctx, 1, 0) {
		must(t, err)
		if !slices.Equal(s.Stored.Recipients, a.Recipients.Fingerprints()) {
			t.Errorf("segment %s is encrypted for %v", s.Name(), s.Stored.Recipients)
		}
	}
	healthy(t, a.Catalog, "encrypted")
}

// interrupted is a store in which the operation of a number, counted over those that change something, fails
// before it is done or after it, and all that come later fail.
type interrupted struct {
	storage.Store
	left int
	done bool // the failing one is done all the same
}

var errPower = errors.New("the power is gone")

func (s *interrupted) step() (do bool, err error) {
	s.left--
	switch {
	case s.left > 0:
		return true, nil
	case s.left == 0 && s.done:
		return true, errPower
	}
	return false, errPower
}

func (s *interrupted) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	do, err := s.step()
	if do {
		if perr := s.Store.Put(ctx, key, data, ifAbsent); perr != nil {
			return perr
		}
	}
	return err
}

func (s *interrupted) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	do, err := s.step()
	if !do {
		return 0, err
	}
	n, uerr := s.Store.Upload(ctx, key, r)
	return n, errors.Join(uerr, err)
}

func (s *interrupted) Delete(ctx context.Context, key string) error {
	do, err := s.step()
	if do {
		if derr := s.Store.Delete(ctx, key); derr != nil {
			return derr
		}
	}
	return err
}

// Whatever operation is the last one, the log says the same, and the next run ends what was begun.
func TestInterrupted(t *testing.T) {
	for n := 1; ; n++ {
		ended := true
		for _, done := range []bool{false, true} {
			a := sample(t)
			before, _ := content(t, a.Catalog)
			_, err := Run(ctx, open(t, &interrupted{Store: a.Store, left: n, done: done}), options(Options{Grace: -1}))
			when := fmt.Sprintf("operation %d fails (done: %v)", n, done)
			if err != nil {
				ended = false
			}
			if after, _ := content(t, a.Catalog); after != before {
				t.Fatalf("%s: the log differs", when)
			}
			healthy(t, a.Catalog, when)
			_, err = Run(ctx, a.Catalog, options(Options{Grace: -1}))
			must(t, err)
			_, err = Run(ctx, a.Catalog, options(Options{Grace: -1}))
			must(t, err)
			if after, segments := content(t, a.Catalog); after != before || segments != 6 {
				t.Fatalf("%s, then once more: %d segments, the same log: %v", when, segments, after == before)
			}
			healthy(t, a.Catalog, when+", then once more")
		}
		if ended {
			if n < 20 {
				t.Errorf("all is done in %d operations", n)
			}
			return
		}
	}
}

// A writer that stalled with a segment in hand, and goes on when that is compacted away, or has even expired, does
// not get it in, and what it has put changes nothing.
func TestStalledWriter(t *testing.T) {
	for _, expires := range []bool{false, true} {
		a := sample(t)
		var mine *catalog.Segment
		for s, err := range a.Catalog.Segments(ctx, 1, 0) {
			must(t, err)
			if s.First == 5 {
				mine = s
			}
		}
		_, err := Run(ctx, a.Catalog, options(Options{Grace: -1}))
		must(t, err)
		if expires {
			wide, err := a.Catalog.SegmentAt(ctx, 1, 1, 8)
			must(t, err)
			must(t, a.Catalog.PutExpiry(ctx, &catalog.Expiry{Decided: begun, DeleteAfter: begun,
				Logs: []catalog.ExpiredLog{{Timeline: 1, Through: 8, Chain: wide.ChainAfter}}}))
			must(t, a.Catalog.Discard(ctx, catalog.SegmentKey(1, 1, 8)))
			must(t, a.Catalog.Discard(ctx, wide.Stored.Key))
		}
		before, n := content(t, a.Catalog)
		if expires != (n == 5) {
			t.Fatalf("%d segments are left", n)
		}
		late := *mine
		late.Writer = "stalled"
		if err := open(t, a.Store).Commit(ctx, &late); !fault.Is(err, fault.Locked) {
			t.Errorf("expired: %v: the segment of a writer that stalled: %v", expires, err)
		}
		if after, _ := content(t, a.Catalog); after != before {
			t.Errorf("expired: %v: the log differs", expires)
		}
	}
}

// Two runs at once, also with other sizes, leave a log that can be read.
func TestTwoAtOnce(t *testing.T) {
	for range 20 {
		a := sample(t)
		before, _ := content(t, a.Catalog)
		done := make(chan error, 2)
		for _, o := range []Options{{}, {Age: 8 * time.Second}} {
			c := open(t, a.Store)
			go func() {
				_, err := Run(ctx, c, options(o))
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil && !fault.Is(err, fault.Locked) {
				t.Fatal(err)
			}
		}
		if after, _ := content(t, a.Catalog); after != before {
			t.Fatal("the log differs")
		}
		healthy(t, a.Catalog, "two at once")
	}
}

// TestBarriers: what a segment names as impossible to replay is named by what it is put into.
func TestBarriers(t *testing.T) {
	barrier := func(offset uint64) []catalog.Barrier { return []catalog.Barrier{{Kind: "incident", Offset: offset}} }
	segment := func(number, start uint64, b []catalog.Barrier) *catalog.Segment {
		return &catalog.Segment{First: number, Last: number, Source: catalog.Source{Start: start, End: start + 100}, Tail: new(catalog.Tail), Barriers: b}
	}
	list := []*catalog.Segment{segment(1, 100, barrier(120)), segment(2, 200, nil), segment(3, 300, barrier(310))}
	got := merge(list).Barriers
	if len(got) != 2 || got[0].Offset != 120 || got[1].Offset != 310 || len(list[0].Barriers) != 1 {
		t.Errorf("%+v, of which the first segment has %+v", got, list[0].Barriers)
	}
}
