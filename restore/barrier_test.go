package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/storage/file"
)

// importBody is the body of a QUERY event with an import.
func importBody() []byte {
	return append(make([]byte, 14), "ALTER TABLE d.t IMPORT TABLESPACE"...)
}

// TestMeetBarrier: what an archive of before does not name ends a restore when it is read, unless it is left out or the server
// has it.
func TestMeetBarrier(t *testing.T) {
	ctx := context.Background()
	store, err := file.New(durable.OS{}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Create(ctx, store, "shop", "test", gtid.MariaDB, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := gtid.GTID{Server: 1, Seq: 9}
	ev := &binlog.Event{Header: binlog.Header{Type: binlog.TypeQuery}, Offset: 77, First: true, End: true}
	feed := func() *feed {
		return &feed{c: c, plan: &Plan{Timeline: 1}, segment: &catalog.Segment{Source: catalog.Source{File: "b.1"}}, pos: gtid.NewState(nil), pending: g}
	}
	err = feed().meetBarrier(ctx, ev, importBody())
	if !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "b.1:77: ALTER TABLE d.t IMPORT TABLESPACE, of transaction 0-1-9") ||
		!strings.Contains(fault.HintOf(err), "--before-gtid 0-1-9. There is no base backup behind it yet") {
		t.Errorf("%v; %s", err, fault.HintOf(err))
	}
	standby := feed()
	standby.plan.following = new(following)
	if err := standby.meetBarrier(ctx, ev, importBody()); !strings.Contains(fault.HintOf(err), "make another") {
		t.Errorf("a standby: %v; %s", err, fault.HintOf(err))
	}
	excluded, hollow, had := feed(), feed(), feed()
	excluded.plan.excluded = map[gtid.GTID]bool{g: true}
	hollow.hollow, had.skipping = true, true
	if err := errors.Join(excluded.meetBarrier(ctx, ev, importBody()), hollow.meetBarrier(ctx, ev, importBody()), had.meetBarrier(ctx, ev, importBody())); err != nil {
		t.Error(err)
	}
}

// TestBarrierBetween: a barrier counts from the place on where a base backup was taken, up to the stop.
func TestBarrierBetween(t *testing.T) {
	g := gtid.GTID{Server: 1, Seq: 9}
	one := &catalog.Segment{Timeline: 1, First: 1, Last: 3, Source: catalog.Source{File: "b.1", Start: 4, End: 1000},
		Barriers: []catalog.Barrier{{Kind: "import", Offset: 500, GTID: g.String()}}}
	two := &catalog.Segment{Timeline: 1, First: 4, Last: 4, Source: catalog.Source{File: "b.2", Start: 4, End: 1000},
		Barriers: []catalog.Barrier{{Kind: "incident", Offset: 600}, {Kind: "incident", Offset: 5000}}} // the second behind where a fork cuts it
	h := &history{segments: []*catalog.Segment{one, two}}
	for _, c := range []struct {
		i      int
		offset uint64
		stop   spot
		want   uint64
	}{
		{0, 4, spot{0, 500}, 0},
		{0, 4, spot{0, 501}, 500},
		{0, 500, spot{1, 4}, 500},
		{0, 501, spot{1, 600}, 0},
		{0, 501, spot{1, 1000}, 600},
		{1, 601, spot{1, 9000}, 0},
	} {
		b, _ := h.barrierBetween(c.i, c.offset, c.stop)
		if got := offsetOf(b); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	h.leftOut = map[gtid.GTID]bool{g: true}
	if b, _ := h.barrierBetween(0, 4, spot{1, 500}); b != nil {
		t.Errorf("what is left out counts: %+v", b)
	}
	for _, c := range []struct {
		base catalog.Base
		held bool
	}{
		{catalog.Base{Timeline: 1, Segment: 3, Source: binlog.Point{Offset: 500}}, false},
		{catalog.Base{Timeline: 1, Segment: 2, Source: binlog.Point{Offset: 501}}, true},
		{catalog.Base{Timeline: 1, Segment: 4, Source: binlog.Point{Offset: 4}}, true},
		{catalog.Base{Timeline: 2, Segment: 1, Source: binlog.Point{Offset: 4}}, true},
	} {
		if got := one.Barriers[0].HeldBy(&c.base, one); got != c.held {
			t.Errorf("base at %d, %d: %v", c.base.Segment, c.base.Source.Offset, got)
		}
	}
}

func offsetOf(b *catalog.Barrier) uint64 {
	if b == nil {
		return 0
	}
	return b.Offset
}
