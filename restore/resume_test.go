package restore

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/binlog"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/restore/archivetest"
)

// ups is an archive of a log in several files, of domains whose numbers go up and down, with definitions
// among the changes, and a base backup after the first transactions. It returns the rest of each domain.
func ups(t *testing.T, rng *rand.Rand, n int) (*fixture, map[uint32][]string) {
	f := newFixture(t)
	order := make(map[uint32][]string)
	used := make(map[gtid.GTID]bool)
	position := make(gtid.Position)
	next := func() gtid.GTID {
		for {
			g := gtid.GTID{Domain: uint32(rng.IntN(3)), Server: 1 + uint32(rng.IntN(2)), Seq: 1 + uint64(rng.IntN(4*n))}
			if !used[g] {
				used[g] = true
				return g
			}
		}
	}
	write := func(i int) gtid.GTID {
		g := next()
		if rng.IntN(60) == 0 {
			f.log.Unfinished(next(), after(i))
		}
		if rng.IntN(200) == 0 {
			f.log.Statement(g, after(i), "d", "CREATE TABLE t (a INT)")
		} else {
			f.log.Change(g, after(i), "d", "t", rng.IntN(40_000))
		}
		position[g.Domain] = g
		return g
	}
	for i := range 3 {
		write(i)
	}
	baseFile, baseAt, basePos := f.name, f.log.Offset(), position.String()
	for i := range n {
		g := write(3 + i)
		order[g.Domain] = append(order[g.Domain], g.String())
		if rng.IntN(30) == 0 || i == n-1 {
			name := fmt.Sprintf("binlog.%06d", i+2)
			f.log.Rotate(after(i), name)
			f.flush(archivetest.Cut{Every: 1 + rng.IntN(100_000)})
			f.file(name, after(i))
		}
	}
	f.Head(after(n + 3))
	f.base("b1", baseFile, baseAt, basePos, 3)
	return f, order
}

// groups returns the whole transactions in a relay log file, and whether one of them is a definition.
func groups(t *testing.T, s staged) (list []gtid.GTID, fragile bool) {
	t.Helper()
	data, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	var g gtid.GTID
	var flags byte
	for at := 4; at < len(data); {
		h, err := binlog.ParseHeader(data[at:])
		if err != nil {
			t.Fatal(err)
		}
		body := data[at+binlog.HeaderSize:]
		switch {
		case h.Type == binlog.TypeMariaGTID:
			g = gtid.GTID{Domain: binary.LittleEndian.Uint32(body[8:]), Server: h.ServerID, Seq: binary.LittleEndian.Uint64(body)}
			flags = body[12]
		case h.Type == binlog.TypeXID, h.Type == binlog.TypeQuery && flags&1 != 0:
			list = append(list, g)
			fragile = fragile || flags&4 == 0
		}
		at += int(h.Size)
	}
	return list, fragile
}

// replica is what a private server would be: it applies domains independently of each other.
type replica struct {
	pos     gtid.Position
	applied map[uint32][]string
}

func (s *replica) apply(g gtid.GTID) {
	s.pos[g.Domain] = g
	s.applied[g.Domain] = append(s.applied[g.Domain], g.String())
}

// TestResumedLog ends a restore's server again and again in the middle of batches, with each domain at
// another place. In the end each transaction has been applied once, in the order of its domain.
func TestResumedLog(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, round))
		f, want := ups(t, rng, 150)
		p, err := f.plan(ToLatest())
		if err != nil {
			t.Fatal(err)
		}
		r := resumable(t, f, p)
		s := &replica{p.start.Position(), make(map[uint32][]string)}
		crashes := 0
		for !live(t, rng, r, s) {
			crashes++
		}
		t.Logf("%d crashes", crashes)
		for domain, list := range want {
			if !slices.Equal(s.applied[domain], list) {
				t.Fatalf("seed %d, round %d: domain %d has applied %d transactions of %d:\n%v\n%v", seed, round, domain, len(s.applied[domain]), len(list),
					s.applied[domain], list)
			}
		}
	}
}

// resumable is a restore of which a server has been started.
func resumable(t *testing.T, f *fixture, p *Plan) *run {
	user, err := mysqld.ServerUser()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Options: Options{RelaySpace: 1 << 20, FS: durable.OS{}}, c: f.Catalog, plan: p, user: user,
		work: &workspace{fsys: durable.OS{}, dir: t.TempDir(), state: state{Timeline: p.Timeline, Applied: p.beginning()}}}
	return r
}

// live feeds the log behind what the server has, and reports whether it came to the end of it. Else the
// server ended with a batch in hand of which it had, of each domain, the beginning.
func live(t *testing.T, rng *rand.Rand, r *run, s *replica) bool {
	t.Helper()
	if err := r.work.makeDirs(); err != nil {
		t.Fatal(err)
	}
	pos := gtid.NewState(s.pos.List())
	from, why, err := r.locate(context.Background(), pos)
	if err != nil || why != "" {
		t.Fatalf("at %s, recorded %+v: %s, %v", pos, r.work.state.Applied, why, err)
	}
	f := r.newFeed(from, pos)
	f.emptied.told <- nil
	f.start(context.Background())
	defer f.stop()
	for {
		b, err := f.next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			if f.applied != r.plan.Transactions || !f.pos.SamePosition(r.plan.position) {
				t.Fatalf("%d transactions of %d, at %s, not %s", f.applied, r.plan.Transactions, f.pos, r.plan.position)
			}
			return true
		}
		if err := r.hand(watchedApplier{given: func() error { return nil }}, b); err != nil {
			t.Fatal(err)
		}
		var list []gtid.GTID
		for _, file := range b.files {
			more, fragile := groups(t, file)
			if fragile && b.fragile == "" {
				t.Fatal("a definition is in a batch that is not fragile")
			}
			list = append(list, more...)
			if err := os.Remove(file.path); err != nil {
				t.Fatal(err)
			}
		}
		crash := b.fragile == "" && rng.IntN(3) == 0
		for domain := range uint32(3) {
			mine := slices.DeleteFunc(slices.Clone(list), func(g gtid.GTID) bool { return g.Domain != domain })
			if crash {
				mine = mine[:rng.IntN(len(mine)+1)]
			}
			for _, g := range mine {
				s.apply(g)
			}
		}
		if crash {
			f.stop()
			return false
		}
		if !b.position.SamePosition(gtid.NewState(s.pos.List())) {
			t.Fatalf("the server is at %s, and waits for %s", s.pos, b.position)
		}
		r.work.state.Applied = b.end
	}
}

// TestResumeRefused has positions of which the log does not say where they are.
func TestResumeRefused(t *testing.T) {
	f := newFixture(t)
	base := f.as(gtid.GTID{Server: 1, Seq: 10}, 0)
	for i, seq := range []uint64{20, 5, 30, 5, 40, 50} {
		f.log.Change(gtid.GTID{Server: 1, Seq: seq}, after(i), "d", "t")
	}
	f.log.Change(gtid.GTID{Domain: 1, Server: 1, Seq: 5}, after(9), "d", "t")
	f.flush()
	f.Head(after(10))
	f.base("b1", f.name, f.end[base], base, 0)
	p, err := f.plan(ToLatest())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pos    string
		handed uint64
		ahead  map[uint32]uint64
		why    string
	}{
		{"0-1-10", 6, map[uint32]uint64{0: 0}, ""},
		{"0-1-30", 6, map[uint32]uint64{0: 3}, ""},
		{"0-1-30,1-1-5", 7, map[uint32]uint64{0: 3, 1: 1}, ""},
		{"0-1-5", 3, map[uint32]uint64{0: 2}, ""},
		{"0-1-5", 4, nil, "0-1-5, which is in the log more than once"},
		{"0-1-50", 5, nil, "0-1-50, which is not in the part"},
		{"0-2-30", 7, nil, "0-2-30, which is not in the part"},
		{"0-1-9", 7, nil, "0-1-9, which is not in the part"},
		{"1-1-5", 7, nil, "was at 0-1-10, and has nothing"},
	} {
		r := resumable(t, f, p)
		r.work.state.Handed = c.handed
		pos, err := gtid.ParsePosition(c.pos)
		if err != nil {
			t.Fatal(err)
		}
		from, why, err := r.locate(context.Background(), gtid.NewState(pos.List()))
		if err != nil || !strings.Contains(why, c.why) || (why == "") != (c.why == "") || c.why == "" && !maps.Equal(from.Ahead, c.ahead) {
			t.Errorf("at %s: %v, %q, %v", c.pos, from.Ahead, why, err)
		}
	}
}
