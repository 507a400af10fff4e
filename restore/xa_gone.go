package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"tidemark/internal/binlog"
)

// MariaDB ends an XA transaction in the storage engine and in the binlog in two steps. One that crashes in between has it no
// more when it starts again, and its log prepares it and never ends it. What the primary wrote to the same rows after that waits
// for ever for a server that applies the log: there the transaction is still prepared, and holds their locks.
//
// So a transaction that holds the applier up is rolled back if it can only be such a one: the primary crashed after its log had
// prepared it, the log that is to be applied does not end it, and it is the only one of that kind.

// crashed notes that the primary has: of what is prepared then, any may be gone.
func (x *xaLog) crashed(ctx context.Context) error {
	if err := x.learn(ctx); err != nil {
		return err
	}
	for xid := range x.open {
		x.doubtful[xid] = true
	}
	return nil
}

// followCrash looks for a file that a primary began when it started, behind one that it did not end.
func (f *feed) followCrash(ctx context.Context, ev *binlog.Event, format *binlog.FormatDescription) error {
	ended := f.last == binlog.TypeStop
	f.last = ev.Type
	if ev.Type != binlog.TypeFormatDescription || format.Created == 0 || ended {
		return nil
	}
	return f.xids.crashed(ctx)
}

// doubtfulXIDs lists what may be gone, in order.
func (x *xaLog) doubtfulXIDs() []string { return slices.Sorted(maps.Keys(x.doubtful)) }

// letGo rolls back the transaction that holds up the applier, if it is one that the primary has lost.
func (m *mariadb) letGo(ctx context.Context, b *batch) error {
	if len(b.doubtful) == 0 || m.run.plan.following != nil { // of a standby's log the end is yet to come
		return nil
	}
	waits, err := m.conn.Value("SELECT COUNT(*) FROM information_schema.innodb_lock_waits w " +
		"JOIN information_schema.innodb_trx t ON t.trx_id=w.blocking_trx_id WHERE t.trx_mysql_thread_id=0")
	if err != nil || waits == "0" {
		return err
	}
	prepared, err := m.unfinished()
	if err != nil {
		return err
	}
	prepared = slices.DeleteFunc(prepared, func(xid string) bool { return !slices.Contains(b.doubtful, xid) })
	if len(prepared) == 0 {
		return nil
	}
	ends, err := m.run.endedXIDs(ctx)
	if err != nil {
		return err
	}
	prepared = slices.DeleteFunc(prepared, func(xid string) bool { return ends[xid] })
	if len(prepared) != 1 {
		return nil // which of them it is, nothing tells
	}
	xid := prepared[0]
	if err := m.conn.Exec(xaRollback + " " + xid); err != nil {
		return err
	}
	m.run.note([]string{fmt.Sprintf("the XA transaction %s, which the log prepares and does not end, held up what the primary wrote after a crash, and was rolled back: "+
		"the primary must have crashed as it ended it, and what that did is in no log; take a base backup of a primary that has crashed", xid)})
	return nil
}

// endedXIDs reads the log that is yet to be applied, and returns the XA transactions that it ends.
func (r *run) endedXIDs(ctx context.Context) (map[string]bool, error) {
	segments, err := r.plan.after(r.work.state.Applied)
	if err != nil {
		return nil, err
	}
	ends := make(map[string]bool)
	for s := range ahead(ctx, r.c, segments) {
		if err := s.endedXIDs(ctx, ends); err != nil {
			return nil, err
		}
	}
	return ends, ctx.Err()
}

func (s *source) endedXIDs(ctx context.Context, ends map[string]bool) error {
	r, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.wrong(err)
		}
		if ev.Head || !ev.First || ev.Type != binlog.TypeMariaGTID {
			continue
		}
		part, xid, err := binlog.ParseXA(r.Body(ev))
		if err != nil {
			return s.wrong(err)
		}
		if part == binlog.XAEnded {
			ends[xid] = true
		}
	}
}
