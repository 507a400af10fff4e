package restore

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
)

// timed is an archive of transactions with the commit times given, in seconds after noon, and a base
// backup after the first.
func timed(t *testing.T, cut archivetest.Cut, times ...int) *fixture {
	f := newFixture(t)
	for _, s := range times {
		f.tx(0, s)
	}
	f.flush(cut)
	f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", times[0])
	f.Head(after(1 << 20))
	return f
}

const years = 10 * 365 * 86400

func TestForgedTimes(t *testing.T) {
	one := archivetest.Cut{Every: 1}
	all := archivetest.Cut{}
	for _, c := range []struct {
		name     string
		times    []int
		target   int
		cut      archivetest.Cut
		stop     int    // sequence number of the last transaction applied
		suspects string // "-": a segment that is named, not read
	}{
		{"honest", []int{0, 10, 20, 30}, 20, one, 2, ""},
		{"future", []int{0, 10, years, 20, 30}, 20, one, 3, "[0-1-3]"},
		{"future, one segment", []int{0, 10, years, 20, 30}, 20, all, 3, "[0-1-3]"},
		{"future, before the target's hour", []int{0, 10, years, 20, 8000, 8010}, 8000, one, 4, "-"},
		{"several of the future", []int{0, 10, years, years + 1, years, 15, 30}, 20, one, 6, "[0-1-3 0-1-4 0-1-5]"},
		{"past", []int{0, 10, -years, 20, -years, 30}, 20, one, 3, "[0-1-3]"},
		{"past just behind", []int{0, 10, 20, -years, 30}, 20, one, 2, ""},
		{"within the tolerance", []int{0, 10, 65, 12, 70}, 60, one, 2, "[0-1-3]"},
		{"idle for days", []int{0, 86400, 200000}, 86400, one, 1, ""},
		{"clock set back", []int{0, 300, 301, 302, 303, 304, 180, 181, 182, 303, 304, 310}, 303, one, 4, ""},
		{"last of all", []int{0, 10, years}, 500, one, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := timed(t, c.cut, c.times...)
			p := f.reach(seconds(c.target), fmt.Sprintf("0-1-%d", c.stop))
			var named []string
			for _, s := range p.Suspects {
				named = append(named, s.GTID)
			}
			if got := fmt.Sprint(named); got != c.suspects && (len(c.suspects) > 1 || named != nil) {
				t.Errorf("suspects %s, want %s", got, c.suspects)
			}
			if p.HasWarnings() != (c.suspects != "") || p.SuspectCount != len(named) {
				t.Errorf("%d suspects, warnings %q", p.SuspectCount, p.Warnings)
			}
			if c.suspects == "-" && !strings.Contains(p.Warnings[0], "segment 4 holds") {
				t.Errorf("warnings %q", p.Warnings)
			}
			for i, s := range p.Suspects {
				if !strings.Contains(p.Warnings[i], "-gtid "+s.GTID) {
					t.Errorf("warning %q", p.Warnings[i])
				}
			}
		})
	}
}

func TestLaterThanReceived(t *testing.T) {
	f := newFixture(t)
	f.tx(0, 0)
	f.tx(0, 10)
	from := f.log.Offset()
	f.tx(0, 4000) // received at 20 s
	until := f.log.Offset()
	f.flush(archivetest.Cut{At: []uint64{from, until}, Live: true, Received: time.Second})
	// The same once more, with the receipt as it was.
	g := newFixture(t)
	g.tx(0, 0)
	g.tx(0, 10)
	from = g.log.Offset()
	g.flush()
	g.tx(0, 4000)
	g.flush(archivetest.Cut{From: from, Live: true, Received: -3980 * time.Second})
	for _, f := range []*fixture{f, g} {
		f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", 0)
		f.Head(after(100000))
	}
	if p := f.reach(seconds(3000), "0-1-2"); p.SuspectCount != 0 {
		t.Errorf("received when it was committed, it is suspect: %v", p.Suspects)
	}
	p := g.reach(seconds(3000), "0-1-3")
	if len(p.Suspects) != 1 || p.Suspects[0].GTID != "0-1-3" || !strings.Contains(p.Suspects[0].Why, "received") {
		t.Errorf("suspects %v", p.Suspects)
	}
}

func TestManySuspects(t *testing.T) {
	times := []int{0, 10}
	for range 25 {
		times = append(times, years)
	}
	f := timed(t, archivetest.Cut{Every: 900}, append(times, 11, 30)...)
	p := f.reach(seconds(20), "0-1-28")
	if len(p.Suspects) != 20 || p.SuspectCount != 25 || len(p.Warnings) != 21 || !strings.Contains(p.Warnings[20], "5 more") {
		t.Errorf("%d of %d suspects named, %d warnings", len(p.Suspects), p.SuspectCount, len(p.Warnings))
	}
}

// TestForgedAtRandom mixes honest transactions with forged ones, and compares with who is honest.
func TestForgedAtRandom(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 12 {
		f := newFixture(t)
		now := 0
		var honest []int // time by sequence number, -1 if forged
		for range 40 + rng.IntN(40) {
			n := 1
			if rng.IntN(6) == 0 && len(honest) > 5 {
				n += rng.IntN(4)
				for range n - 1 {
					f.as(gtid.GTID{Server: 1, Seq: uint64(len(honest) + 1)}, now+100000+rng.IntN(100000))
					honest = append(honest, -1)
				}
			}
			now += rng.IntN(30)
			f.as(gtid.GTID{Server: 1, Seq: uint64(len(honest) + 1)}, now)
			honest = append(honest, now)
		}
		f.flush(archivetest.Cut{Every: 1 + rng.IntN(3000)})
		f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", honest[0])
		f.Head(after(now + 1))
		for range 5 {
			target := honest[0] + 1 + rng.IntN(now-honest[0])
			want := len(honest)
			for i, s := range honest {
				if s >= target {
					want = i
					break
				}
			}
			p, err := f.plan(seconds(target))
			if err != nil || p.Stop.GTID != fmt.Sprintf("0-1-%d", want) {
				t.Fatalf("seed %d, round %d: %d s stops at %+v, %v; want 0-1-%d of %v", seed, round, target, p, err, want, honest)
			}
		}
	}
}
