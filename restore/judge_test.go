package restore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
)

// event is a transaction of a made-up log: when it was committed and what it claims, in seconds after noon, and
// between which times it was received; zero: not known.
type event struct {
	true, claim float64
	first, last float64
}

func (e event) claims() commitClaim {
	c := commitClaim{time: after(int(e.claim))}
	if e.last != 0 {
		c.first, c.last = noon.Add(time.Duration(e.first*1e9)), noon.Add(time.Duration(e.last*1e9))
	}
	return c
}

// asCommitted are transactions received as they were committed, one each second, in segments of five seconds: what each
// claims by how much its claim is wrong.
func asCommitted(wrong ...int) []event {
	var list []event
	for i, w := range wrong {
		from := float64(1000 + i - i%5)
		list = append(list, event{float64(1000 + i), float64(1000 + i + w), from, from + 5})
	}
	return list
}

// TestJudge: which of the transactions ends the restore, and which are named with what.
func TestJudge(t *testing.T) {
	replay := func(n, from, to, by int) []event { // n honest ones, but of those from one up to another
		wrong := make([]int, n)
		for i := from; i < to; i++ {
			wrong[i] = by
		}
		return asCommitted(wrong...)
	}
	late := func(list []event, first, last float64) []event { // received later, all at once
		for i := range list {
			list[i].first, list[i].last = first, last
		}
		return list
	}
	honestAt := func(list []event, i int) []event {
		list[i].claim = list[i].true
		return list
	}
	for _, c := range []struct {
		name   string
		log    []event
		target int
		stop   int // the first that is not applied
		said   string
	}{
		{"honest", replay(30, 0, 0, 0), 1010, 10, ""},
		{"of hours ago, before the target", replay(60, 10, 30, -7200), 1040, 40, ""},
		{"of hours ago, around the target, which one is honest", honestAt(replay(60, 10, 50, -7200), 30), 1030, 30,
			"[25 4 26 4 27 4 28 4 29 4]"},
		{"of hours ago, from before the target on", replay(600, 100, 600, -7200), 1400, 400, "[395 4 396 4 397 4 398 4 399 4 400 6]"},
		{"of hours ago, long after the target", replay(600, 100, 600, -7200), 1100, 100, "[100 6]"},
		{"a statement of an hour", asCommitted(slices.Concat(make([]int, 20), []int{-3600}, make([]int, 20))...), 1030, 30, ""},
		{"a statement of an hour that ends after the target", asCommitted(slices.Concat(make([]int, 20), []int{-3600}, make([]int, 20))...), 1020, 20, "[20 6]"},
		{"of years ahead", replay(300, 100, 110, years), 1200, 200, "[100 1 101 1 102 1 103 1 104 1 105 1 106 1 107 1 108 1 109 1]"},
		{"ahead by the hour, just before the target", replay(300, 100, 103, 3600), 1104, 104, "[100 2 101 2 102 2]"},
		{"ahead by less than clocks may differ", replay(300, 100, 110, 30), 1135, 105, "[105 6]"},
		{"archived later", late(replay(300, 0, 0, 0), 9000, 9005), 1200, 200, ""},
		{"archived later, of years ahead", late(replay(300, 100, 110, years), 9000, 9005), 1200, 200, "[100 2 101 2 102 2 103 2 104 2 105 2 106 2 107 2 108 2 109 2]"},
		{"archived later, ahead by the hour", late(replay(300, 100, 101, 3600), 9000, 9005), 1200, 200, "[100 3]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := &judge{target: after(c.target)}
			for i, e := range c.log {
				j.see(e.claims(), spot{i, 0}, func() *Transaction { return &Transaction{GTID: fmt.Sprint(i)} })
			}
			stop := len(c.log)
			if j.settled(0) {
				stop = j.open[0].i
			}
			said := ""
			if list := j.said(); len(list) > 0 {
				var all []string
				for _, s := range list {
					all = append(all, s.transaction.GTID, strconv.Itoa(int(s.why)))
				}
				said = fmt.Sprint(all)
			}
			if stop != c.stop || said != c.said {
				t.Errorf("stops before %d, want %d; says %s, want %s", stop, c.stop, said, c.said)
			}
		})
	}
}

// forgedHistory makes up what a server did for some hours, and how it was archived: honest transactions; statements that
// ran for long; sessions that replay an old log or one of the future; outages of the archiver, after which it
// catches up; and its segments of five seconds. One of so many transactions is none of the honest ones.
func forgedHistory(rng *rand.Rand, honest int) (log []event, cuts []int) {
	now, replay, left := 0.0, 0.0, 0
	for range 150 + rng.IntN(150) {
		now += rng.ExpFloat64() * []float64{1, 5, 30}[rng.IntN(3)]
		e := event{true: now, claim: now}
		if left > 0 { // a session that replays, beside others
			if left--; left%4 > 0 && rng.IntN(5) > 0 {
				e.claim = now + replay
			}
		} else {
			off := 20 + rng.ExpFloat64()*[]float64{30, 600, 7200}[rng.IntN(3)]
			switch rng.IntN(honest) {
			case 0:
				e.claim = now - off
			case 1:
				e.claim = now + off
			case 2:
				replay, left = -off, 5+rng.IntN(60)
			case 3:
				replay, left = off, 1+rng.IntN(10)
			}
		}
		if n := len(log); n > 0 && log[n-1].claim > log[n-1].true+1 && now-log[n-1].true > 5 {
			log = append(log, event{true: log[n-1].true + 1, claim: log[n-1].true + 1})
		}
		if n := len(log); e.claim != e.true && (n == 0 || log[n-1].claim != log[n-1].true || now-log[n-1].true > 5) {
			log = append(log, event{true: now, claim: now}) // the server is in use: else nothing could tell, of what was archived later
		}
		log = append(log, e)
	}
	outage := -1.0 // until then the archiver is away
	begun, first := 0.0, 0
	flush := func(end int) {
		for k := first; k < end; k++ {
			log[k].first, log[k].last = max(begun, outage)+0.1, max(log[end-1].true, outage)+0.2
		}
		if end > first {
			cuts = append(cuts, end)
		}
		first = end
	}
	for i, e := range log {
		if i == first {
			begun = e.true
		}
		if e.true > begun+5 && e.true > outage {
			flush(i)
			begun = e.true
			if rng.IntN(40) == 0 {
				outage = e.true + 30 + rng.ExpFloat64()*1200
			}
		}
	}
	flush(len(log))
	return log, cuts
}

// TestTimesAtRandom makes up logs with forged times and restores to random times: no transaction committed at or
// after the target is applied, and none before it left out, without a warning. TIDEMARK_N= sets how many targets.
func TestTimesAtRandom(t *testing.T) {
	n := 500
	if s := os.Getenv("TIDEMARK_N"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	if s := os.Getenv("TIDEMARK_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d, %d targets", seed, n)
	rng := rand.New(rand.NewPCG(seed, 0))
	right, quiet, honest, unquiet := 0, 0, 0, 0
	for tried := 0; tried < n; {
		rarely := []int{25, 200, 1e9}[rng.IntN(3)]
		log, cuts := forgedHistory(rng, rarely)
		f := newFixture(t)
		var bounds []uint64
		for i, e := range log {
			f.as(gtid.GTID{Server: 1, Seq: uint64(i + 1)}, int(e.claim))
			if slices.Contains(cuts, i+1) {
				bounds = append(bounds, f.log.Offset())
			}
		}
		f.flush(archivetest.Cut{At: bounds, Receipt: func(_, end uint64) (first, last time.Time) {
			c := log[cuts[slices.Index(bounds, end)]-1].claims()
			return c.first, c.last
		}})
		f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", -30*86400)
		end := log[len(log)-1].true
		f.Head(after(int(end) + 2))
		for range min(25, n-tried) {
			tried++
			target := 1 + int(log[0].true) + rng.IntN(int(end)-int(log[0].true)+1)
			want := slices.IndexFunc(log, func(e event) bool { return e.true >= float64(target) })
			if want < 0 {
				want = len(log)
			}
			p, err := f.plan(seconds(target))
			if err != nil {
				t.Fatalf("seed %d, target %d: %v", seed, target, err)
			}
			stop := fmt.Sprintf("0-1-%d", want)
			if p.Stop.GTID == stop {
				right++
			}
			if rarely == 1e9 {
				if honest++; p.HasWarnings() {
					unquiet++
				}
			}
			if !p.HasWarnings() {
				if quiet++; p.Stop.GTID != stop {
					i, _ := strconv.Atoi(p.Stop.GTID[4:])
					for k := max(0, min(i, want)-8); k < min(len(log), max(i, want)+3); k++ {
						t.Logf("%d: %+.1f", k+1, log[k])
					}
					t.Fatalf("seed %d, target %d: stops after %s, want %s, and warns of nothing", seed, target, p.Stop.GTID, stop)
				}
			}
		}
	}
	t.Logf("%d of %d right; %d without a warning, all of them right", right, n, quiet)
	t.Logf("of %d in honest logs %d with a warning", honest, unquiet)
	if right < n*8/10 || quiet < n/4 || unquiet*10 > honest+50 {
		t.Error("too few are right, or too few of them without a warning")
	}
}

// TestReceivedLongBefore: what claims a time at or after the target and was received long before it is applied, and
// told of without a warning.
func TestReceivedLongBefore(t *testing.T) {
	f := newFixture(t)
	for _, s := range []int{0, 10, years, 20, 8000, 8010, 8020} {
		f.tx(0, s)
	}
	f.flush(archivetest.Cut{Every: 1, Receipt: func(_, end uint64) (first, last time.Time) {
		s := 8015
		for i, r := range []int{0, 10, 15, 20, 8000, 8010} {
			if end <= f.end[fmt.Sprintf("0-1-%d", i+1)] {
				s = r
				break
			}
		}
		return after(s), after(s + 1)
	}})
	f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", 0)
	f.Head(after(1 << 20))
	p := f.reach(seconds(8000), "0-1-4")
	if p.HasWarnings() || len(p.Notes) != 1 {
		t.Errorf("notes %q, warnings %q", p.Notes, p.Warnings)
	}
}

// TestFraction: inside a second the log does not tell what was before the target, and the plan says so.
func TestFraction(t *testing.T) {
	f := timed(t, archivetest.Cut{Every: 1}, 0, 10, 20, 20, 30)
	p := f.reach(ToTime(after(20).Add(123*time.Millisecond)), "0-1-4")
	if len(p.Warnings) != 1 {
		t.Errorf("warnings %q", p.Warnings)
	}
	if p := f.reach(ToTime(after(20).Add(-123*time.Millisecond)), "0-1-2"); p.HasWarnings() {
		t.Errorf("warnings %q", p.Warnings)
	}
}

// TestClaimsLater: a transaction that claims to be of half a minute after it was received ends the restore, and may
// have been committed before the target: the plan says so.
func TestClaimsLater(t *testing.T) {
	f := newFixture(t)
	for _, s := range []int{0, 547, 592, 602} {
		f.tx(0, s)
	}
	receipts := [][2]int{{0, 1}, {547, 548}, {547, 549}, {602, 603}}
	f.flush(archivetest.Cut{Every: 1, Receipt: func(_, end uint64) (first, last time.Time) {
		for i, r := range receipts {
			if end <= f.end[fmt.Sprintf("0-1-%d", i+1)] {
				return after(r[0]), after(r[1])
			}
		}
		panic("a segment without an end")
	}})
	f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", 0)
	f.Head(after(1 << 20))
	if p := f.reach(seconds(548), "0-1-2"); len(p.Warnings) != 1 {
		t.Errorf("warnings %q", p.Warnings)
	}
	if p := f.reach(seconds(500), "0-1-1"); p.HasWarnings() {
		t.Errorf("warnings %q", p.Warnings)
	}
}
