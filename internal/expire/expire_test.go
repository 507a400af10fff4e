package expire

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/restore"
	"tidemark/storage"
)

// days makes a history of so many days with a base backup at the end of each.
func days(t *testing.T, n int) (*history, []*catalog.Base) {
	h := newHistory(t)
	var bases []*catalog.Base
	for range n {
		h.pass(24)
		bases = append(bases, h.base())
	}
	h.pass(1)
	return h, bases
}

// stay returns which of the base backups are there, by index.
func (h *history) stay(bases []*catalog.Base) (list []int) {
	h.t.Helper()
	there, err := h.a.Catalog.Bases(ctx)
	must(h.t, err)
	for i, b := range bases {
		if slices.ContainsFunc(there, func(c *catalog.Base) bool { return c.ID == b.ID }) {
			list = append(list, i)
		}
	}
	return list
}

// begins returns the number of the first segment of a timeline.
func (h *history) begins(timeline uint32) uint64 {
	h.t.Helper()
	l, err := h.a.Catalog.Timeline(ctx, timeline)
	must(h.t, err)
	after, _ := l.Begins()
	return after + 1
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy Policy
		stay   []int  // of seven base backups, one a day, the last an hour ago
		begins uint64 // the log
	}{
		{"nothing configured", Policy{MinBackups: 2}, []int{0, 1, 2, 3, 4, 5, 6}, 1},
		{"a window", Policy{Window: 3 * 24 * hour}, []int{3, 4, 5, 6}, 96},
		{"a window that begins with a base backup", Policy{Window: 49 * hour}, []int{4, 5, 6}, 120},
		{"a window as long as the archive", Policy{Window: 300 * hour}, []int{0, 1, 2, 3, 4, 5, 6}, 1},
		{"a window younger than the last base backup", Policy{Window: hour / 2}, []int{6}, 168},
		{"more than the window", Policy{Window: hour, MinBackups: 3}, []int{4, 5, 6}, 120},
		{"more than there are", Policy{Window: hour, MinBackups: 30}, []int{0, 1, 2, 3, 4, 5, 6}, 24},
		{"too many in the window", Policy{Window: 3 * 24 * hour, MinBackups: 1, MaxBackups: 2}, []int{3, 6}, 96},
		{"the window and the least win", Policy{Window: 3 * 24 * hour, MinBackups: 2, MaxBackups: 2}, []int{3, 5, 6}, 96},
		{"a number only", Policy{MinBackups: 1, MaxBackups: 3}, []int{4, 5, 6}, 120},
		{"a number that is not reached", Policy{MinBackups: 1, MaxBackups: 7}, []int{0, 1, 2, 3, 4, 5, 6}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, bases := days(t, 7)
			r, err := h.expire(test.policy, 0)
			if err != nil && !fault.Is(err, fault.Warnings) {
				t.Fatal(err)
			}
			if got := h.stay(bases); !slices.Equal(got, test.stay) {
				t.Errorf("%v stay, not %v: %+v", got, test.stay, r.Plan)
			}
			if got := h.begins(1); got != test.begins {
				t.Errorf("the log begins with segment %d, not %d", got, test.begins)
			}
			must(t, h.clean())
			must(t, h.restorable(1, bases[test.stay[0]].Consistent))
			if test.begins > 2 {
				_, err := h.plans(1, restore.ToTime(bases[test.stay[0]].Consistent.Add(-2*hour)))
				must(t, refused(err))
				if !strings.Contains(fault.HintOf(err), "can be restored from "+bases[test.stay[0]].Consistent.Format(time.RFC3339)) {
					t.Errorf("the nearest point is not named: %s", fault.HintOf(err))
				}
			}
			warns := slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "max_backups") })
			if warns != (len(test.stay) == 3 && test.policy.MaxBackups == 2) {
				t.Errorf("warnings: %v", r.Warnings)
			}
		})
	}
}

// A log without a base backup, or with none old enough, stays.
func TestNoBase(t *testing.T) {
	h := newHistory(t)
	h.pass(100)
	if _, err := h.expire(Policy{Window: 10 * hour, MinBackups: 1}, 0); err != nil || h.begins(1) != 1 {
		t.Errorf("%v, begins with %d", err, h.begins(1))
	}
	h.base()
	h.pass(5)
	if _, err := h.expire(Policy{Window: 20 * hour, MinBackups: 1}, 0); err != nil || h.begins(1) != 85 {
		t.Errorf("%v, begins with %d", err, h.begins(1)) // what was archived in the window stays
	}
	must(t, h.clean())
}

// What has expired is out of reach at once, and is removed when the grace is over.
func TestGrace(t *testing.T) {
	h, bases := days(t, 5)
	policy := Policy{Window: 48 * hour, MinBackups: 1}
	dry, err := Run(ctx, h.a.Catalog, Options{Policy: policy, Grace: 24 * hour, DryRun: true, Clock: stopped(h.now)})
	if err != nil || !dry.Recorded || dry.Waiting == 0 || dry.Deleted != 0 || len(h.stay(bases)) != 5 {
		t.Fatalf("%v, %+v", err, dry)
	}
	r, err := h.expire(policy, 24*hour)
	if err != nil || !r.Recorded || r.Deleted != 0 || r.Waiting != dry.Waiting || !r.DeleteAfter.Equal(h.now.Add(24*hour)) {
		t.Fatalf("%v, %+v", err, r)
	}
	must(t, h.clean())
	if _, err := h.plans(1, restore.ToTime(begun.Add(30*hour))); refused(err) != nil {
		t.Error(err)
	}
	if r, err = h.expire(policy, 24*hour); err != nil || r.Deleted != 0 || r.Recorded || r.Waiting != dry.Waiting {
		t.Fatalf("again: %v, %+v", err, r)
	}
	h.now = h.now.Add(23 * hour)
	if r, err = h.expire(policy, 24*hour); err != nil || r.Deleted != 0 || !r.Recorded || r.Waiting <= dry.Waiting {
		t.Fatalf("%v, %+v", err, r)
	}
	h.now = h.now.Add(hour)
	if r, err = h.expire(policy, 24*hour); err != nil || r.Deleted != dry.Waiting || r.Waiting == 0 {
		t.Fatalf("%v, %+v instead of %d", err, r, dry.Waiting)
	}
	must(t, h.clean())
	waiting := r.Waiting
	h.pass(30)
	r, err = h.expire(policy, 24*hour)
	if err != nil || r.Deleted != waiting || r.Waiting == 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	if r, err = h.expire(policy, 0); err != nil || r.Deleted == 0 { // sooner
		t.Errorf("%v, %+v", err, r)
	}
	must(t, h.clean())
}

// A base backup that is kept stays with what makes it consistent, and restores to its own end only.
func TestKept(t *testing.T) {
	h, bases := days(t, 7)
	policy := Policy{Window: 48 * hour, MinBackups: 1}
	must(t, h.a.Catalog.PutKeep(ctx, &catalog.Keep{Base: bases[1].ID, Until: h.now.Add(10 * 24 * hour), Marked: h.now}))
	must(t, h.a.Catalog.PutKeep(ctx, &catalog.Keep{Base: bases[2].ID, Marked: h.now}))
	if _, err := h.expire(policy, 0); err != nil {
		t.Fatal(err)
	}
	if got := h.stay(bases); !slices.Equal(got, []int{1, 2, 4, 5, 6}) {
		t.Errorf("%v stay", got)
	}
	must(t, h.clean())
	for _, b := range bases[1:3] {
		target, err := restore.ToPosition(b.Source.String())
		must(t, err)
		p, err := h.plans(1, target)
		if err != nil || p.Base.ID != b.ID || !p.Base.Kept || p.Position() != b.PositionMax.GTID || p.Transactions != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		_, err = h.plans(1, restore.ToTime(b.Consistent.Add(5*hour)))
		must(t, refused(err))
		if !strings.Contains(fault.HintOf(err), b.ID) {
			t.Errorf("the hint does not name it: %s", fault.HintOf(err))
		}
	}
	h.pass(24 * 10)
	must(t, h.a.Catalog.PutKeep(ctx, &catalog.Keep{Base: bases[2].ID, Released: true, Marked: h.now}))
	if _, err := h.expire(policy, 0); err != nil {
		t.Fatal(err)
	}
	if got := h.stay(bases); !slices.Equal(got, []int{6}) {
		t.Errorf("in the end %v stay", got)
	}
	must(t, h.clean())
}

// What the past of a timeline is stays as long as the window needs it, and a dead branch as long as the
// window covers it.
func TestFork(t *testing.T) {
	h, first := days(t, 3)
	h.failover(5)
	h.pass(10)
	policy := Policy{Window: 24 * hour, MinBackups: 1}
	run := func() {
		t.Helper()
		if _, err := h.expire(policy, 0); err != nil {
			t.Fatal(err)
		}
		must(t, h.clean())
	}
	run()
	if got := h.stay(first); !slices.Equal(got, []int{1, 2}) { // the last lies on the dead branch
		t.Errorf("%v stay", got)
	}
	must(t, h.restorable(2, h.now.Add(-24*hour)))
	must(t, h.restorable(1, h.now.Add(-24*hour)))
	h.pass(20)
	run()
	if got := h.stay(first); !slices.Equal(got, []int{1, 2}) { // the new branch needs what is common, and has none
		t.Errorf("%v stay", got)
	}
	must(t, h.restorable(2, h.now.Add(-24*hour)))
	b := h.base()
	h.pass(30)
	run()
	if got := h.stay(append(first, b)); !slices.Equal(got, []int{3}) || h.begins(1) != 73 {
		t.Errorf("%v stay, timeline 1 begins with %d", got, h.begins(1))
	}
	must(t, h.restorable(2, h.now.Add(-24*hour)))
	_, err := h.plans(1, restore.ToLatest())
	must(t, refused(err))
	_, err = h.plans(2, restore.ToTime(begun.Add(20*hour)))
	must(t, refused(err))
}

// An archive in which something is missing is not touched where the window needs it.
func TestDamaged(t *testing.T) {
	h, bases := days(t, 5)
	s := h.a.Segments[100]
	must(t, h.a.Catalog.Discard(ctx, catalog.SegmentKey(1, s.First, s.Last)))
	if _, err := h.expire(Policy{Window: 48 * hour}, 0); !fault.Is(err, fault.Integrity) || len(h.stay(bases)) != 5 {
		t.Errorf("%v", err)
	}
	if r, err := h.expire(Policy{Window: hour / 2}, 0); err != nil || len(h.stay(bases)) != 1 { // what goes may be damaged
		t.Errorf("%v, %+v", err, r)
	}
	must(t, h.clean())
}

// What the storage refuses to let go is reported, the rest goes, and it goes when the lock ends.
func TestLocked(t *testing.T) {
	h, bases := days(t, 5)
	locked := true
	store := storage.Faulty(h.a.Store, func(op, key string) error {
		if locked && op == "delete" && (strings.Contains(key, bases[0].ID) || strings.Contains(key, "0000000000000007")) {
			return storage.Fail("delete", key, storage.Denied, errors.New("the object is locked"))
		}
		return nil
	})
	cat, err := catalog.Open(ctx, store, "default", "test")
	must(t, err)
	o := Options{Policy: Policy{Window: 48 * hour, MinBackups: 1}, Clock: stopped(h.now)}
	r, err := Run(ctx, cat, o)
	if !fault.Is(err, fault.Warnings) || r.RefusedAll != 2 || len(r.Refused) != 2 || r.Deleted == 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	must(t, h.clean())
	if got := h.stay(bases); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("%v stay", got)
	}
	locked = false
	if r, err = Run(ctx, cat, o); err != nil || r.Deleted != 1+int64(len(bases[0].Parts))+2 {
		t.Errorf("%v, %+v", err, r)
	}
	must(t, h.clean())
	if r, err = Run(ctx, cat, o); err != nil || r.Deleted != 0 {
		t.Errorf("again: %v, %+v", err, r)
	}
}
