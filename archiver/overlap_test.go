package archiver

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// stopped archives a primary up to a byte of its dump and returns the archiver, not closed.
func stopped(t *testing.T, b *bench, p *primary, limit int) *Archiver {
	t.Helper()
	a := b.mustOpen()
	if err := feed(a, p, 1<<20, limit); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.spool.Release() })
	return a
}

// TestResume: after a reconnect, by file or by GTID, from the open segment or an archived one, what
// comes again is compared and dropped, and the archive is whole.
func TestResume(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	p := sample(seed, 3000)
	whole := len(p.dump(binlog.Point{File: p.names[0], Offset: 4}))
	for maxSize, step := range map[int64]int{1: 29_989, 9000: 6133, 1 << 30: 6133} {
		for _, byGTID := range []bool{false, true} {
			for limit := 500; limit < whole; limit += step {
				b := newBench(t).unsynced()
				b.options.MaxSize = maxSize
				a := stopped(t, b, p, limit)
				r, err := a.Resume(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				src := p.open(r, 1<<20, 0)
				if byGTID && !r.Fresh {
					var after gtid.GTID
					if list, err := gtid.ParseList(r.After); err != nil {
						t.Fatal(err)
					} else if len(list) > 0 {
						after = newest(p, list)
					}
					r.ByGTID = true
					src = p.byGTID(r, after)
				}
				if err := a.Stream(context.Background(), src, r); !errors.Is(err, errEnd) {
					t.Fatalf("seed %d, limit %d, size %d, by GTID %v: %v", seed, limit, maxSize, byGTID, err)
				}
				if s := a.Stats(); !r.Fresh && s.DuplicateBytes < r.tail.Bytes {
					t.Errorf("seed %d, limit %d: %d bytes came again, %d were asked for", seed, limit, s.DuplicateBytes, r.tail.Bytes)
				}
				if err := a.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				b.check(p, nil)
			}
		}
	}
}

// newest is which of several transactions comes last in the log.
func newest(p *primary, list []gtid.GTID) gtid.GTID {
	var last gtid.GTID
	for _, l := range p.logs {
		for _, e := range l.Events {
			if e.End && slices.Contains(list, e.GTID) {
				last = e.GTID
			}
		}
	}
	return last
}

// TestDiverged: a source that does not have what was archived from it is refused, and nothing of it
// is stored.
func TestDiverged(t *testing.T) {
	base := func(o binlogtest.Options) *binlogtest.Log {
		o.Seed = 1
		l := binlogtest.New(7, o)
		l.List()
		for seq := range uint64(5) {
			l.Rows(binlogtest.G(0, 7, seq+1), 100)
		}
		return l
	}
	one := func(name string, l *binlogtest.Log) *primary { p := new(primary); p.add(name, l); return p }
	original := base(binlogtest.Options{})
	longer := func(l *binlogtest.Log) *binlogtest.Log { l.Rows(binlogtest.G(0, 7, 6), 100); return l }
	tampered := func(l *binlogtest.Log) *binlogtest.Log { // same sizes, other rows
		o := binlogtest.New(7, binlogtest.Options{Seed: 2})
		o.List()
		for seq := range uint64(6) {
			o.Rows(binlogtest.G(0, 7, seq+1), 100)
		}
		return o
	}
	ends := func() *binlogtest.Log { // the last transaction is longer
		l := binlogtest.New(7, binlogtest.Options{Seed: 1})
		l.List()
		for seq := range uint64(4) {
			l.Rows(binlogtest.G(0, 7, seq+1), 100)
		}
		l.Rows(binlogtest.G(0, 7, 5), 100, 20_000)
		return l
	}
	failover := func(seq uint64) *binlogtest.Log {
		l := binlogtest.New(8, binlogtest.Options{Seed: 5})
		l.List()
		for ; seq < 8; seq++ {
			l.Rows(binlogtest.G(0, 7, seq), 100)
		}
		return l
	}
	for _, tt := range []struct {
		name   string
		p      *primary
		byGTID string // the transaction after which is asked
		want   string // "" if it goes on
	}{
		{"the same", one("b.1", longer(base(binlogtest.Options{}))), "", ""},
		{"the same, in use", one("b.1", inUse(longer(base(binlogtest.Options{})))), "", ""},
		{"other bytes", one("b.1", tampered(nil)), "", "its bytes differ"},
		{"a longer transaction", one("b.1", ends()), "", "behind what was archived"},
		{"another file of the name", one("b.1", longer(base(binlogtest.Options{Time: 1800000000}))), "", "another one of the same name"},
		{"another version", one("b.1", longer(base(binlogtest.Options{Version: "10.6.1-MariaDB-log"}))), "", "another one of the same name"},
		{"another server, in the middle", one("b.1", failover(4)), "0-7-4", ""},
		{"another server, another name", one("c.7", failover(4)), "0-7-4", ""},
		{"another server that lacks it", one("c.7", failover(6)), "0-7-5", "transaction 0-7-6 comes where 0-7-5 is expected"},
		{"the same server, renamed files", one("c.7", longer(base(binlogtest.Options{}))), "0-7-4", ""},
		{"the same server, reset, as far again", one("c.7", longer(base(binlogtest.Options{Time: 1800000000}))), "0-7-4", "it was committed at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			a := stopped(t, b, one("b.1", original), 0)
			r, err := a.Resume(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if r.ServerID != 7 || r.From.File != "b.1" || r.After != "0-7-4" {
				t.Fatalf("resume at %+v", r)
			}
			src := tt.p.open(r, 1<<20, 0)
			if tt.byGTID != "" {
				g, err := gtid.Parse(tt.byGTID)
				if err != nil {
					t.Fatal(err)
				}
				r.ByGTID = true
				src = tt.p.byGTID(r, g)
			}
			before := a.Stats()
			err = a.Stream(context.Background(), src, r)
			after := a.Stats()
			if tt.want == "" {
				if !errors.Is(err, errEnd) || after.Received.Point == before.Received.Point {
					t.Errorf("%v, received to %s", err, after.Received.Point)
				}
				if err := a.Close(context.Background()); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrDiverged) || !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), tt.want) || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
			if after.Received.Point != before.Received.Point || after.ReceivedBytes != before.ReceivedBytes {
				t.Errorf("received to %s, %d bytes", after.Received.Point, after.ReceivedBytes)
			}
		})
	}
}

// inUse marks a file as the one the server writes to.
func inUse(l *binlogtest.Log) *binlogtest.Log { l.Bytes()[4+17] |= binlog.FlagInUse; return l }

// TestDivergedWithoutTransaction: when what we have ends without a transaction, a source asked by
// file that has other files is not trusted, and one asked by GTID is.
func TestDivergedWithoutTransaction(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List(binlogtest.G(0, 7, 9))
	p := new(primary)
	p.add("b.2", l)
	o := binlogtest.New(8, binlogtest.Options{})
	o.List(binlogtest.G(0, 7, 8))
	o.Rows(binlogtest.G(0, 7, 9), 10)
	o.Rows(binlogtest.G(0, 7, 10), 10)
	other := new(primary)
	other.add("b.2", o)
	for _, byGTID := range []bool{false, true} {
		b := newBench(t)
		a := stopped(t, b, p, 0)
		r, err := a.Resume(context.Background())
		if err != nil || r.After != "0-7-9" {
			t.Fatalf("%+v, %v", r, err)
		}
		src := other.open(r, 1<<20, 0)
		if byGTID {
			r.ByGTID = true
			src = other.byGTID(r, binlogtest.G(0, 7, 9))
		}
		err = a.Stream(context.Background(), src, r)
		if byGTID != errors.Is(err, errEnd) || byGTID == errors.Is(err, ErrDiverged) {
			t.Errorf("by GTID %v: %v", byGTID, err)
		}
		if want := map[bool]string{true: "0-7-10", false: "0-7-9"}[byGTID]; a.Stats().Received.GTID != want {
			t.Errorf("by GTID %v: received to %s", byGTID, a.Stats().Received.GTID)
		}
	}
}

// TestSourceEndsInOverlap: a source that breaks before it has sent what we have again changes nothing.
func TestSourceEndsInOverlap(t *testing.T) {
	p := sample(1, 30_000)
	b := newBench(t)
	b.options.MaxSize = 1 << 30
	a := stopped(t, b, p, 60_000)
	r, err := a.Resume(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	before := a.Stats()
	for limit := 1; limit < int(r.tail.Bytes); limit += 997 {
		if err := a.Stream(context.Background(), p.open(r, 1<<20, limit), r); err == nil {
			t.Fatal("no error")
		}
		again, err := a.Resume(context.Background())
		if err != nil || again.From != r.From || again.tail.SHA256 != r.tail.SHA256 {
			t.Fatalf("after %d bytes: %+v, %v", limit, again, err)
		}
	}
	if s := a.Stats(); s.Received.Point != before.Received.Point || s.ReceivedBytes != before.ReceivedBytes {
		t.Errorf("received to %s", s.Received.Point)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.finish(p)
	b.check(p, nil)
}

// TestHugeTail: a last transaction that is larger than every buffer is compared as any other.
func TestHugeTail(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{Seed: 3})
	l.List()
	l.Rows(binlogtest.G(0, 7, 1), 100)
	l.Rows(binlogtest.G(0, 7, 2), 10<<20, 3<<20, 7<<20)
	p := new(primary)
	p.add("b.1", l)
	for _, close := range []bool{false, true} {
		b := newBench(t)
		a := stopped(t, b, p, 0)
		if close {
			if err := a.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			a = b.mustOpen()
		}
		r, err := a.Resume(context.Background())
		if err != nil || r.tail.Bytes < 20<<20 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := a.Stream(context.Background(), p.open(r, 1<<18, 0), r); !errors.Is(err, errEnd) {
			t.Fatal(err)
		}
		if s := a.Stats(); s.DuplicateBytes != r.tail.Bytes {
			t.Errorf("%d bytes came again, not %d", s.DuplicateBytes, r.tail.Bytes)
		}
		if err := a.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		b.check(p, nil)
	}
}

// TestUnfinished: what a server had not finished when it crashed is not archived, and the next file
// goes on.
func TestUnfinished(t *testing.T) {
	first := binlogtest.New(7, binlogtest.Options{})
	first.List()
	first.Rows(binlogtest.G(0, 7, 1), 100)
	whole := first.Size()
	first.Begin(binlogtest.G(0, 7, 2), 2)
	first.In(23, 50_000)
	second := binlogtest.New(7, binlogtest.Options{Time: 1700000100})
	second.List(binlogtest.G(0, 7, 1))
	second.Rows(binlogtest.G(0, 7, 2), 10)
	p := new(primary)
	p.add("b.1", first)
	p.add("b.2", second)
	for _, maxSize := range []int64{1, 1 << 30} {
		b := newBench(t)
		b.options.MaxSize = maxSize
		b.finish(p)
		b.finish(p)
		b.check(p, map[string]uint64{"b.1": first.Size() - whole})
	}
}

// TestPlaces: a stream that leaves something out, or begins where a log cannot, is refused.
func TestPlaces(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	l.Rows(binlogtest.G(0, 7, 1), 100)
	mid := l.Size()
	l.Rows(binlogtest.G(0, 7, 2), 100)
	hole := l.Size()
	l.Rows(binlogtest.G(0, 7, 3), 100)
	l.Rotate("b.2")
	next := binlogtest.New(7, binlogtest.Options{})
	next.List(binlogtest.G(0, 7, 3))
	rotate := func(name string, at uint64, sum bool) []byte {
		return binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(at, name), sum)
	}
	all := append(rotate("b.1", 4, false), l.Bytes()[4:]...)
	f, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"begins in the middle", slices.Concat(rotate("b.1", mid, false), f.Copy(), l.Bytes()[mid:]), "not at the beginning of a binlog file"},
		{"leaves a transaction out", slices.Concat(rotate("b.1", 4, false), l.Bytes()[4:mid], rotate("b.1", hole, true), l.Bytes()[hole:]), "but ended at"},
		{"goes back", slices.Concat(all[:len(all)-50], rotate("b.1", mid, true), l.Bytes()[mid:]), ""},
		{"another file than the rotate says", slices.Concat(all, rotate("b.3", 4, true), next.Bytes()[4:]), "but ended at"},
		{"the next file in its middle", slices.Concat(all, rotate("b.2", 600, true), next.Bytes()[4:]), ""},
		{"the next file", slices.Concat(all, rotate("b.2", 4, true), next.Bytes()[4:]), "ended"},
	} {
		b := newBench(t)
		a := b.mustOpen()
		src := &source{Scanner: binlog.NewScanner(&piecewise{data: bytes.Clone(tt.stream), n: 1 << 20, err: errEnd}, 1<<16)}
		err := a.Stream(context.Background(), src, Resume{Fresh: true})
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.name != "the next file" && errors.Is(err, errEnd) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := a.Close(context.Background()); err != nil {
			t.Errorf("%s: close: %v", tt.name, err)
		}
	}
}

// TestSuperseded: the archive goes on from another spool, which cuts elsewhere. What this one held and the archive
// does not is set aside, what the archive has is dropped, and archiving goes on from the archive.
func TestSuperseded(t *testing.T) {
	for _, reached := range []int{20_000, 40_000} {
		p := sample(1, 3000)
		b := newBench(t)
		b.options.MaxSize = 5000
		a := stopped(t, b, p, 30_000)
		a.mu.Lock()
		queued := len(a.queue)
		a.mu.Unlock()
		if queued < 4 || a.open == nil {
			t.Fatalf("%d segments are sealed", queued)
		}
		other := *b
		other.options.Dir, other.options.MaxSize = b.dir+"/other/spool", 9000
		oa := other.mustOpen()
		if err := feed(oa, p, 1<<20, reached); !errors.Is(err, errEnd) {
			t.Fatal(err)
		}
		if err := oa.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		a.open.close()
		a.spool.Release()
		if err := b.mustOpen().Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		aside, _ := filepath.Glob(filepath.Join(filepath.Dir(b.options.Dir), "superseded", "*", "*"))
		if reached == 20_000 && len(aside) < 3*queued+2 || reached == 40_000 && len(aside) > 0 {
			t.Errorf("the other one reached %d: %d files are set aside", reached, len(aside))
		}
		b.finish(p)
		b.check(p, nil)
	}
}

// TestSpoolOfAnother: a spool that does not fit to the archive is refused.
func TestSpoolOfAnother(t *testing.T) {
	p := sample(1, 3000)
	// With a second archive in place of the first, the state says so.
	c := newBench(t)
	c.options.MaxSize = 5000
	c.finish(p)
	d := newBench(t)
	d.options.MaxSize = 4000
	d.finish(p)
	d.options.Dir = c.options.Dir
	if _, err := d.open(); !fault.Is(err, fault.Integrity) {
		t.Errorf("another archive with a longer log: %v", err)
	}
	e := newBench(t)
	e.options.Dir = c.options.Dir
	if _, err := e.open(); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "ends at 0 now") {
		t.Errorf("an empty archive: %v", err)
	}
}
