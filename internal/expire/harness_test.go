package expire

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/verify"
	"tidemark/restore"
	"tidemark/restore/archivetest"
	"tidemark/storage"
)

var (
	ctx   = context.Background()
	begun = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
)

const hour = time.Hour

// stopped is a clock that stands.
type stopped time.Time

func (s stopped) Now() time.Time                     { return time.Time(s) }
func (stopped) After(time.Duration) <-chan time.Time { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// history is an archive in the making, of a server that commits a transaction an hour, each in a segment of
// its own. Its transactions are known by the hour of their commit.
type history struct {
	t     *testing.T
	a     *archivetest.Archive
	store *memory   // nil: the archive is elsewhere
	lines []*branch // by timeline
	now   time.Time
	bases int
}

// branch is one timeline.
type branch struct {
	a    *archivetest.Archive
	log  *archivetest.Log
	file string
	fork time.Time // the last moment that it has in common with its parent; zero: none
}

func newHistory(t *testing.T) *history {
	store := newMemory(begun)
	h := historyIn(t, store)
	h.store = store
	return h
}

// historyIn is a history in any store.
func historyIn(t *testing.T, store storage.Store) *history {
	h := &history{t: t, a: archivetest.New(t, store), now: begun}
	h.lines = []*branch{{a: h.a, log: archivetest.NewLog(1, begun), file: "binlog.000001"}}
	return h
}

func (h *history) newest() *branch { return h.lines[len(h.lines)-1] }

// pass lets hours pass; each commits a transaction on the newest timeline, and a head is written.
func (h *history) pass(hours int) {
	h.t.Helper()
	b := h.newest()
	for range hours {
		h.now = h.now.Add(hour)
		if h.store != nil {
			h.store.now = h.now
		}
		from := b.log.Offset()
		if len(b.a.Segments) == 0 {
			from = 4
		}
		b.log.Change(gtid.GTID{Server: uint32(len(h.lines)), Seq: uint64(h.now.Sub(begun) / hour)}, h.now, "shop", "orders")
		b.a.Append(b.file, b.log.Bytes(), archivetest.Cut{From: from, Live: true})
	}
	b.a.Head(h.now)
}

// base takes a base backup now.
func (h *history) base() *catalog.Base {
	h.t.Helper()
	b := h.newest()
	h.bases++
	id := fmt.Sprintf("%s-%04d", h.now.Format("20060102T150405Z"), h.bases)
	return b.a.AddBase(catalog.Base{ID: id, Consistent: h.now, Started: h.now, Finished: h.now}, binlog.Point{File: b.file, Offset: b.log.Offset()},
		b.a.State.Position().String(), bytes.NewReader([]byte("stream of "+id)), 10)
}

// failover begins a timeline some segments before the end of the newest one.
func (h *history) failover(lost int) {
	h.t.Helper()
	b := h.newest()
	at := len(b.a.Segments) - 1 - lost
	n := uint32(len(h.lines) + 1)
	next := &branch{a: b.a.Fork(n, at, h.now), log: archivetest.NewLog(n, h.now), file: fmt.Sprintf("binlog.%06d", n), fork: b.a.Segments[at].Commit.Last}
	next.log.List(h.now, next.a.State.List()...)
	h.lines = append(h.lines, next)
}

// expire runs.
func (h *history) expire(p Policy, grace time.Duration) (*Report, error) {
	return Run(ctx, h.a.Catalog, Options{Policy: p, Grace: grace, Clock: stopped(h.now)})
}

// clean checks that a check of everything finds no damage, and nothing to look at.
func (h *history) clean() error {
	r, err := verify.Run(ctx, h.a.Catalog, verify.Options{Stored: true, Clock: stopped(h.now)})
	if err != nil && r != nil {
		return fmt.Errorf("%w: %+v", err, r.Findings[:min(len(r.Findings), 5)])
	}
	return err
}

// plans restores to a moment, or to the end of a base backup, without doing it.
func (h *history) plans(timeline int, target restore.Target) (*restore.Plan, error) {
	return restore.MakePlan(ctx, h.a.Catalog, restore.PlanOptions{Target: target, Timeline: uint32(timeline)})
}

// restorable checks that a timeline restores to moments from one on until its end, both included.
func (h *history) restorable(timeline int, from time.Time) error {
	b := h.lines[timeline-1]
	end := h.end(b)
	for at := from; !at.After(end); at = at.Add(11 * hour) {
		if next := at.Add(11 * hour); next.After(end) && at.Before(end) {
			at = end
		}
		target := restore.ToTime(at.Add(time.Minute))
		if at.Add(time.Minute).After(end) {
			target = restore.ToLatest()
		}
		p, err := h.plans(timeline, target)
		if err != nil {
			return fmt.Errorf("timeline %d to %s: %w", timeline, at, err)
		}
		if last := h.last(b, at); p.Position() != last {
			return fmt.Errorf("timeline %d to %s: it stops at %s, not at %s", timeline, at, p.Position(), last)
		}
	}
	return nil
}

// end is the newest moment of a timeline.
func (h *history) end(b *branch) time.Time {
	if n := len(b.a.Segments); n > 0 {
		return b.a.Segments[n-1].Commit.Last
	}
	return b.fork
}

// last is the position of a timeline at a moment.
func (h *history) last(b *branch, at time.Time) string {
	pos := ""
	for i, l := range h.lines {
		for _, s := range l.a.Segments {
			shared := l == b || i < indexOf(h.lines, b) && h.common(b, l, s.Commit.Last)
			if shared && !s.Commit.Last.After(at) {
				pos = s.After.GTID
			}
		}
	}
	return pos
}

// common reports whether a transaction of an earlier timeline is in the past of b.
func (h *history) common(b, l *branch, at time.Time) bool {
	for i := indexOf(h.lines, b); i > indexOf(h.lines, l); i-- {
		if at.After(h.lines[i].fork) {
			return false
		}
	}
	return true
}

func indexOf(all []*branch, b *branch) int {
	for i := range all {
		if all[i] == b {
			return i
		}
	}
	return -1
}

// refused checks that a restore is refused as unreachable.
func refused(err error) error {
	if !fault.Is(err, fault.Unreachable) {
		return fmt.Errorf("it is not refused as it should be: %w", err)
	}
	return nil
}
