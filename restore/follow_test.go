package restore

import (
	"context"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/restore/archivetest"
)

// standing is a clock that a test moves.
type standing struct{ now time.Time }

func (c *standing) Now() time.Time                       { return c.now }
func (c *standing) After(time.Duration) <-chan time.Time { return time.After(0) }

// grow archives what was logged since an offset.
func (f *fixture) grow(from uint64, seconds int) {
	f.Append(f.name, f.log.Bytes(), archivetest.Cut{Every: 1, From: from})
	f.Head(after(seconds))
}

// followed is an archive with a base backup and three transactions, a second apart, and the plan of who follows it.
func followed(t *testing.T, target Target, delay time.Duration) (*fixture, *Plan, *standing) {
	t.Helper()
	f := newFixture(t)
	base := f.tx(0, 0)
	for i := range 3 {
		f.tx(0, 1+i)
	}
	f.flush()
	f.Head(after(4))
	f.base("b1", f.name, f.end[base], base, 0)
	c := &standing{now: after(4)}
	p, err := MakePlan(context.Background(), f.Catalog, PlanOptions{Target: target, Follow: &Follow{Delay: delay, Clock: c}})
	if err != nil {
		t.Fatal(err)
	}
	return f, p, c
}

// advance makes the next plan, which must stop at a position; "" if there must be none.
func advance(t *testing.T, p *Plan, position string) *Plan {
	t.Helper()
	q, err := p.next(context.Background())
	switch {
	case err != nil:
		t.Fatal(err)
	case q == nil && position != "" || q != nil && q.Stop.GTID != position:
		t.Fatalf("the next plan is %+v, not one to %q", q, position)
	case q == nil:
		return p
	}
	return q
}

func TestFollowGrows(t *testing.T) {
	f, p, _ := followed(t, ToLatest(), 0)
	if p.Stop.GTID != "0-1-4" {
		t.Fatalf("the first plan stops at %s", p.Stop.GTID)
	}
	p = advance(t, p, "")
	from := f.log.Offset()
	f.tx(0, 5)
	f.tx(0, 6)
	f.grow(from, 7)
	if p = advance(t, p, "0-1-6"); p.Transactions != 5 || p.LastApplied.GTID != "0-1-6" || p.behind() != 0 {
		t.Errorf("%+v, %s behind", p, p.behind())
	}
	f.Compact(4, 6)
	p = advance(t, p, "")
	f.file("binlog.000002", after(8))
	f.tx(0, 9)
	f.grow(0, 10)
	advance(t, p, "0-1-7")
}

func TestFollowWaits(t *testing.T) {
	_, p, c := followed(t, ToLatest(), 2*time.Second)
	if p.Stop.GTID != "0-1-2" || p.behind() != 2*time.Second { // what was committed at the second itself is not due
		t.Fatalf("with a delay the first plan stops at %s, %s behind", p.Stop.GTID, p.behind())
	}
	p = advance(t, p, "")
	c.now = after(5)
	p = advance(t, p, "0-1-3")
	c.now = after(3600) // the archive does not reach that
	p = advance(t, p, "0-1-4")
	c.now = after(3) // nor is anything undone
	advance(t, p, "")
}

func TestFollowEnds(t *testing.T) {
	to, err := ToGTID("0-1-5")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]Target{"to a GTID": to, "to a time": ToTime(after(6))} {
		f, p, _ := followed(t, target, 0)
		if p.following.last || p.Stop.GTID != "0-1-4" {
			t.Fatalf("%s: the first plan ends at %s: %v", name, p.Stop.GTID, p.following.last)
		}
		from := f.log.Offset()
		f.tx(0, 5)
		f.tx(0, 6)
		f.grow(from, 7)
		if p = advance(t, p, "0-1-5"); !p.following.last {
			t.Errorf("%s: it does not end", name)
		}
	}

	// What the log has gone past will not come.
	never, err := ToGTID("0-9-3")
	if err != nil {
		t.Fatal(err)
	}
	f, _, _ := followed(t, ToLatest(), 0)
	if _, err := MakePlan(context.Background(), f.Catalog, PlanOptions{Target: never, Follow: new(Follow)}); !fault.Is(err, fault.Unreachable) {
		t.Errorf("to what the log has passed: %v", err)
	}
	at, err := ToPosition("binlog.000001:4")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []PlanOptions{{Target: at, Follow: new(Follow)}, {Exclude: []string{"0-1-3"}, Follow: new(Follow)}} {
		if _, err := MakePlan(context.Background(), f.Catalog, o); !fault.Is(err, fault.Usage) || fault.HintOf(err) == "" {
			t.Errorf("%s, without %q: %v", o.Target, o.Exclude, err)
		}
	}
}

// TestFollowTimeline: a new timeline is followed if it leaves the old one behind what was applied.
func TestFollowTimeline(t *testing.T) {
	for parts, want := range map[string]string{"0-1-2": "refused", "0-1-4": "", "0-1-5": "0-1-5"} { // 0-1-4 is applied
		f, p, _ := followed(t, ToLatest(), 0)
		from := f.log.Offset()
		f.tx(0, 5)
		f.tx(0, 6)
		f.grow(from, 7)
		s := f.Segments[f.index(t, parts)]
		err := f.Catalog.PutTimeline(context.Background(), &catalog.Timeline{Number: 2, Parent: 1, ParentSegment: s.Last, ParentBodyOffset: s.BodyBytes,
			Position: s.After, Seed: s.ChainAfter, Reason: "failover", Created: after(8)})
		if err != nil {
			t.Fatal(err)
		}
		// Interrupted, the same is found of what was left.
		left := state{Version: stateVersion, Step: stepApply, Cluster: p.base.ClusterUUID, Timeline: 1, Base: p.Base.ID,
			Applied: checkpoint{Timeline: 1, Segment: p.Stop.Segment, Offset: p.Stop.Offset, GTID: p.Stop.GTID, Transactions: p.Transactions}}
		fresh, err := f.plan(ToLatest())
		if err != nil {
			t.Fatal(err)
		}
		if why := left.unusable(fresh); (why == "") != (want != "refused") {
			t.Errorf("timeline 2 parts at %s: what was left at %s is not resumed because %q", parts, p.Stop.GTID, why)
		}
		if want != "refused" {
			if q := advance(t, p, want); want != "" && q.Timeline != 2 {
				t.Errorf("it goes on with timeline %d", q.Timeline)
			}
			continue
		}
		if _, err := p.next(context.Background()); !fault.Is(err, fault.Unreachable) || fault.HintOf(err) == "" {
			t.Errorf("a timeline that leaves out what was applied gives %v", err)
		}
	}
}

// index returns that of the segment that ends with a position.
func (f *fixture) index(t *testing.T, position string) int {
	t.Helper()
	for i := len(f.Segments) - 1; i >= 0; i-- {
		if f.Segments[i].After.GTID == position {
			return i
		}
	}
	t.Fatalf("no segment ends at %s", position)
	return 0
}
