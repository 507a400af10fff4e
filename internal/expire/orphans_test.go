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

// there reports which of the keys are stored.
func (h *history) there(keys ...string) (list []string) {
	for l, err := range h.a.Catalog.Objects(ctx, "") {
		must(h.t, err)
		if slices.Contains(keys, l.Key) {
			list = append(list, l.Key)
		}
	}
	return list
}

// leave puts data that no manifest names, as old as the history is long.
func (h *history) leave(at time.Time, keys ...string) {
	h.store.now = at
	for _, key := range keys {
		must(h.t, h.a.Catalog.Upload(ctx, key, strings.NewReader("what an upload has left")))
	}
	h.store.now = h.now
}

// Data that no manifest names goes when it is old, and cannot be part of an upload that is under way.
func TestOrphans(t *testing.T) {
	h, _ := days(t, 5)
	old, young := h.now.Add(-25*hour), h.now.Add(-23*hour)
	again := catalog.SegmentDataKey(1, 100, 100, "again")
	wide := catalog.SegmentDataKey(1, 100, 103, "wide")
	behind := catalog.SegmentDataKey(1, 122, 122, "behind")
	fresh := catalog.SegmentDataKey(1, 101, 101, "fresh")
	failed := catalog.PartKey("20261104T000000Z-dead", 1, "mbstream")
	running := []string{catalog.PartKey("20261104T000000Z-beef", 1, "mbstream"), catalog.PartKey("20261104T000000Z-beef", 2, "mbstream")}
	probe := catalog.ProbePrefix + "x"
	lost := catalog.PartKey("20261104T000000Z-cafe", 1, "mbstream")
	h.leave(old, again, wide, behind, failed, running[0], lost, probe)
	for _, id := range []string{"20261104T000000Z-dead", "20261104T000000Z-beef"} {
		h.store.now = old
		must(t, h.a.Catalog.BeginBase(ctx, &catalog.Base{ID: id}))
		h.store.now = h.now
	}
	h.leave(young, fresh, running[1])
	bases, err := h.a.Catalog.Bases(ctx)
	must(t, err)
	must(t, h.a.Catalog.BeginBase(ctx, bases[0])) // it is complete: who stored it died before it said so
	all := []string{again, wide, behind, fresh, failed, running[0], running[1], lost, probe}
	policy := Policy{Window: 1000 * hour, MinBackups: 1}
	dry, err := Run(ctx, h.a.Catalog, Options{Policy: policy, DryRun: true, Clock: stopped(h.now)})
	if err != nil || dry.Orphans != 3 || len(h.there(all...)) != len(all) {
		t.Fatalf("%v, %+v", err, dry)
	}
	r, err := h.expire(policy, 0)
	if err != nil || r.Orphans != 3 || r.Deleted != 5 {
		t.Errorf("%v, %+v", err, r)
	}
	if got := h.there(again, wide, failed); len(got) > 0 {
		t.Errorf("%v stay", got)
	}
	if got := h.there(behind, fresh, running[0], running[1], lost, probe); len(got) != 6 {
		t.Errorf("only %v stay", got)
	}
	if err := h.clean(); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "1 object") {
		t.Errorf("a base backup that has lost its manifest: %v", err)
	}
	must(t, h.a.Catalog.Discard(ctx, lost))
	if err := h.clean(); !fault.Is(err, fault.Warnings) { // of what has no manifest and may get one
		t.Error(err)
	}
}

// Members of a segment that was put together from several go with it, and it stays whole as long as one of
// its numbers is needed.
func TestCompacted(t *testing.T) {
	h, bases := days(t, 5)
	h.a.Compact(50, 90) // 51 to 90: the second base backup is behind 48, the third behind 72
	if _, err := h.expire(Policy{Window: 49 * hour, MinBackups: 1}, 0); err != nil || h.begins(1) != 51 {
		t.Fatalf("%v, begins with %d", err, h.begins(1))
	}
	must(t, h.clean())
	for _, target := range []restore.Target{restore.ToTime(bases[2].Consistent.Add(time.Minute)), restore.ToLatest()} {
		if p, err := h.plans(1, target); err != nil || p.Base.ID < bases[2].ID {
			t.Errorf("%+v, %v", p, err)
		}
	}
	h.pass(24)
	h.base()
	h.pass(1)
	if _, err := h.expire(Policy{Window: hour, MinBackups: 1}, 0); err != nil || h.begins(1) != 145 {
		t.Fatalf("%v, begins with %d", err, h.begins(1))
	}
	for l, err := range h.a.Catalog.Objects(ctx, "log/00000001/0") {
		if must(t, err); l.First < 145 {
			t.Errorf("%s is left", l.Key)
		}
	}
	must(t, h.clean())
}

// A mark that comes between plan and record counts; one that comes later is refused.
func TestMarkedMeanwhile(t *testing.T) {
	h, bases := days(t, 5)
	marked := false
	store := storage.Faulty(h.store, func(op, key string) error {
		if op == "put" && strings.Contains(key, "expired/") && !marked {
			marked = true
			_, err := Mark(ctx, h.a.Catalog, &catalog.Keep{Base: bases[0].ID, Marked: h.now})
			return err
		}
		return nil
	})
	cat, err := catalog.Open(ctx, store, "default", "test")
	must(t, err)
	if _, err := Run(ctx, cat, Options{Policy: Policy{Window: 48 * hour, MinBackups: 1}, Clock: stopped(h.now)}); err != nil {
		t.Fatal(err)
	}
	if got := h.stay(bases); !slices.Equal(got, []int{0, 2, 3, 4}) {
		t.Errorf("%v stay", got)
	}
	must(t, h.clean())
	_, err = Mark(ctx, h.a.Catalog, &catalog.Keep{Base: bases[1].ID, Marked: h.now})
	if !fault.Is(err, fault.Unreachable) || !errors.Is(err, catalog.ErrExpired) {
		t.Errorf("%v", err)
	}
}

// What was removed by somebody else is told from what has expired.
func TestTampered(t *testing.T) {
	damaged := func(h *history) bool { return fault.Is(h.clean(), fault.Integrity) }
	h, bases := days(t, 5)
	must(t, h.a.Catalog.PutKeep(ctx, &catalog.Keep{Base: bases[0].ID, Marked: h.now}))
	_, err := h.expire(Policy{Window: 48 * hour, MinBackups: 1}, 0)
	must(t, err)
	must(t, h.clean())
	began := h.begins(1)
	kept := h.a.Segments[23] // with the first base backup
	for _, key := range []string{catalog.SegmentKey(1, began, began), h.a.Segments[began-1].Stored.Key, catalog.SegmentKey(1, began+1, began+1),
		catalog.SegmentKey(1, kept.First, kept.Last), kept.Stored.Key, "expired/0000000000000001.json"} {
		was := h.store.objects["default/"+key]
		if was.data == nil {
			t.Fatalf("there is no %s", key)
		}
		delete(h.store.objects, "default/"+key)
		if !damaged(h) {
			t.Errorf("the loss of %s is not found", key)
		}
		bad := slices.Clone(was.data)
		bad[len(bad)/2] ^= 1
		h.store.objects["default/"+key] = object{bad, was.modified}
		if !damaged(h) {
			t.Errorf("a flipped bit in %s is not found", key)
		}
		h.store.objects["default/"+key] = was
	}
	must(t, h.clean())
}
