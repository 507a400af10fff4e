package basebackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// The log is looked at again after a pause that doubles from the first to the last.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 10 * time.Second
)

// cover waits until the log, from a segment on, holds the backup's position, and fills in where.
func (t *taking) cover(ctx context.Context, from uint64, info Info) error {
	deadline := t.o.Clock.After(t.o.WaitCovered)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		place, err := t.o.Catalog.Locate(ctx, t.base.Timeline, from, info.ServerID, info.Source)
		if err == nil {
			err = t.settle(place, info)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// All that is wrong may pass: storage comes back, compaction moves segments, and a log that
		// contradicts the backup may still lack the file that took the name of an older one.
		t.report.phase(Wait, err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return t.uncovered(err)
		case <-t.o.Clock.After(pause):
		}
	}
}

func (t *taking) uncovered(err error) error {
	op := fmt.Sprintf("wait %s for the archived log to cover base backup", t.o.WaitCovered)
	var late *catalog.NotReached
	if !errors.As(err, &late) {
		return fault.New(fault.KindOf(err), op, t.base.ID, fmt.Errorf("%w; the backup is discarded", err)).WithHint(fault.HintOf(err))
	}
	return fault.New(fault.Unreachable, op, t.base.ID, fmt.Errorf("%w; the backup is discarded", err)).
		WithHint("A base backup can be restored only with the log from its position on: start `tidemark run`, and see in `tidemark status` that it streams.")
}

// settle checks that the log at a place is the history of the copied server, and fills in the position.
func (t *taking) settle(place *catalog.Place, info Info) error {
	src := place.Segment.Source
	if f := info.File; f != nil && (src.Format != f.Fingerprint() || src.FileCreated != f.Timestamp) {
		return contradiction(info, fmt.Errorf("the archived %s is not the server's file of that name", src.File))
	}
	if info.Flavor == gtid.MySQL {
		return t.settleBounds(place, info)
	}
	pos, err := gtid.ParsePosition(info.GTID)
	if err != nil {
		return fmt.Errorf("read the backup's position: %w", err)
	}
	var at catalog.Position
	state := place.State
	if state != nil {
		at.State = catalog.PositionOf(state).State
	} else if state, err = quiet(place.Segment); err != nil { // it is encrypted
		return err
	}
	if err := agree(state, pos, info.ServerID); err != nil {
		return contradiction(info, err)
	}
	// What is left are domains that were never in this server's binlog, or that the segment hides.
	for d, g := range state.Position() {
		pos[d] = g
	}
	at.GTID = pos.String()
	t.base.Segment, t.base.PositionMin, t.base.PositionMax = place.Number, at, at
	return nil
}

// settleBounds does it for a copy of a MySQL server. Where it stands between its bounds it says itself, once a server
// runs on it.
func (t *taking) settleBounds(place *catalog.Place, info Info) error {
	sets := make([]*gtid.Set, 2)
	for i, text := range []string{info.GTIDMin, info.GTID} {
		var err error
		if sets[i], err = gtid.ParseSet(text); err != nil {
			return fmt.Errorf("read the backup's position: %w", err)
		}
	}
	if src := place.Segment.Source; src.ServerUUID != info.ServerUUID {
		return contradiction(info, fmt.Errorf("the archived %s is of server %s, and the copy of %s", src.File, src.ServerUUID, info.ServerUUID))
	}
	if !sets[1].ContainsSet(sets[0]) {
		return contradiction(info, fmt.Errorf("the server had %s before the copy and %s behind it", info.GTIDMin, info.GTID))
	}
	before, err := place.Segment.Before.LogState(gtid.MySQL)
	if err != nil {
		return err
	}
	after, err := place.Segment.After.LogState(gtid.MySQL)
	if err != nil {
		return err
	}
	if err := agreeSets(before, place.State, after, sets[1]); err != nil {
		return contradiction(info, err)
	}
	t.base.Segment, t.base.PositionMin, t.base.PositionMax = place.Number, catalog.Position{GTID: info.GTIDMin}, catalog.Position{GTID: info.GTID}
	return nil
}

// agreeSets compares the log in a segment with the transactions that the server said it had there: those before the
// segment and up to the place, if that is known, and none of those behind it. The server may have others, which
// are in no log.
func agreeSets(before, at, after *gtid.State, server *gtid.Set) error {
	upTo := before
	if at != nil {
		upTo = at
		behind := after.Set().Clone()
		behind.Subtract(at.Set())
		if behind.Intersects(server) {
			return fmt.Errorf("the server has transactions there that are behind it in the archived log: of %s, it has %s", behind, server)
		}
	}
	lacking := upTo.Set().Clone()
	if lacking.Subtract(server); !lacking.Empty() {
		return fmt.Errorf("the archived log has %s there, and the server has not", lacking)
	}
	return nil
}

// quiet returns the binlog state in the domains of which a segment holds nothing: it is the same
// anywhere in it.
func quiet(s *catalog.Segment) (*gtid.State, error) {
	before, err := s.Before.LogState(gtid.MariaDB)
	if err != nil {
		return nil, err
	}
	after, err := s.After.LogState(gtid.MariaDB)
	if err != nil {
		return nil, err
	}
	loud := make(map[uint32]bool)
	for _, g := range after.List() {
		loud[g.Domain] = loud[g.Domain] || !slices.Contains(before.List(), g)
	}
	return gtid.NewState(slices.DeleteFunc(after.List(), func(g gtid.GTID) bool { return loud[g.Domain] })), nil
}

func contradiction(i Info, err error) error {
	return fault.New(fault.Unreachable, "find the backup's position in the archived log at", i.Source.String(), err).
		WithHint("The server's history is not the archived one: was its binlog reset, or is it another server? `tidemark status` shows what is archived.")
}

// agree compares the binlog state in the log with the position that the server said it had there.
// The server's is that of a replica: of each domain it names the last transaction that it wrote itself
// or, where that is none, the last that it replicated or was told to start after. Those need not be in
// its binlog, so it counts only where the log has another transaction of the same domain and server,
// or has one of this server in a domain that the server does not name.
func agree(log *gtid.State, server gtid.Position, id uint32) error {
	type writer struct{ domain, server uint32 }
	seqs := map[writer]uint64{}
	for _, g := range log.List() {
		seqs[writer{g.Domain, g.Server}] = g.Seq
	}
	for _, g := range server.List() {
		if seq, ok := seqs[writer{g.Domain, g.Server}]; ok && seq != g.Seq {
			return fmt.Errorf("the last transaction there is %d-%d-%d in the archived log, and %s on the server", g.Domain, g.Server, seq, g)
		}
	}
	for d, tip := range log.Position() {
		if _, ok := server[d]; !ok && tip.Server == id {
			return fmt.Errorf("the archived log has %s there, and the server has nothing in domain %d", tip, d)
		}
	}
	return nil
}
