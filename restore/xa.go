package restore

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// MariaDB prepares an XA transaction in the storage engine before it writes that to the binlog, and ends it there after.
// One that crashes in between has it prepared when it starts again, and whoever ends it then leaves a statement in the
// log without the transaction that it is about, or a second end of it: no server can apply that. A rollback of what is not there
// is done already, and so is the same end once more. A commit of what was never prepared is of changes that are in no log.

// xaLog follows which XA transactions are prepared at a place of MariaDB's log.
type xaLog struct {
	known    chan []string     // those that the server has when the log begins, once
	open     map[string]bool   // by XID
	all      bool              // of the server's too
	doubtful map[string]bool   // that the primary may have lost in a crash, by XID
	ended    map[string]string // how, by XID, those of late
	order    []string          // of what is in ended, oldest first
}

// lateEnds is how many ends are remembered: after a crash the second one follows when the primary is used again.
const lateEnds = 10_000

func newXALog(doubtful []string) xaLog {
	x := xaLog{known: make(chan []string, 1), open: make(map[string]bool), doubtful: make(map[string]bool), ended: make(map[string]string)}
	for _, xid := range doubtful {
		x.doubtful[xid] = true
	}
	return x
}

// has reports whether one is prepared, and waits for the server's word if the log does not tell.
func (x *xaLog) has(ctx context.Context, xid string) (bool, error) {
	if x.open[xid] || x.all || x.ended[xid] != "" {
		return x.open[xid], nil
	}
	err := x.learn(ctx)
	return x.open[xid], err
}

// learn waits for the server's word of what it has prepared.
func (x *xaLog) learn(ctx context.Context) error {
	if x.all {
		return nil
	}
	select {
	case known := <-x.known:
		for _, xid := range known {
			x.open[xid] = true
		}
		x.all = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (x *xaLog) prepare(xid string) {
	x.open[xid] = true
	delete(x.doubtful, xid)
	delete(x.ended, xid)
}

func (x *xaLog) end(xid, how string) {
	delete(x.open, xid)
	delete(x.doubtful, xid)
	if x.ended[xid] == "" {
		x.order = append(x.order, xid)
	}
	x.ended[xid] = how
	if len(x.order) > lateEnds {
		delete(x.ended, x.order[0])
		x.order = x.order[1:]
	}
}

// orphan decides what is done with the end of an XA transaction that is not prepared: it is left out for a reason that is
// to be said, or cannot be applied.
func (x *xaLog) orphan(xid, how string) (note string, err error) {
	switch before := x.ended[xid]; {
	case before == how:
		return fmt.Sprintf("ends the XA transaction %s by %s once more, as after a crash of the primary; it is left out", xid, how), nil
	case before != "":
		return "", fmt.Errorf("it ends the XA transaction %s by %s, which the log has ended by %s before: the primary must have crashed as it did that", xid, how, before)
	case how == xaRollback:
		return fmt.Sprintf("rolls back the XA transaction %s, which the log does not prepare, as after a crash of the primary; there is nothing to roll back", xid), nil
	}
	return "", fmt.Errorf("it commits the XA transaction %s, which the log does not prepare: the primary must have crashed as it prepared it, and the log lacks its changes", xid)
}

const (
	xaCommit   = "XA COMMIT"
	xaRollback = "XA ROLLBACK"
)

// xaPart is what the transaction that is open is of an XA transaction.
type xaPart struct {
	part     binlog.XAPart
	xid      string
	prepared bool // what it ends
}

// followXA looks at an event of MariaDB's log.
func (f *feed) followXA(ctx context.Context, ev *binlog.Event, body []byte) error {
	switch {
	case !ev.First:
		return nil
	case ev.Begin:
		return f.beginXA(ctx, ev, body)
	case ev.End:
		return f.endXA(ev.Type, body)
	}
	return nil
}

// beginXA looks at the event that begins a transaction of MariaDB's, and whether that is to be left out.
func (f *feed) beginXA(ctx context.Context, ev *binlog.Event, body []byte) (err error) {
	if ev.Type != binlog.TypeMariaGTID {
		return nil
	}
	f.hollow = f.plan.excluded[f.pending]
	f.xa = xaPart{}
	if f.xa.part, f.xa.xid, err = binlog.ParseXA(body); err != nil || f.xa.part != binlog.XAEnded || f.skipping {
		return err
	}
	if f.xa.prepared, err = f.xids.has(ctx, f.xa.xid); err == nil && f.xa.prepared && f.hollow {
		err = fault.New(fault.Usage, "leave out transaction", f.pending.String(), fmt.Errorf("it ends the XA transaction %s, which is prepared before it, and would stay so and hold its locks", f.xa.xid))
	}
	return err
}

// endXA looks at the event that ends it, and decides whether it is left out.
func (f *feed) endXA(typ binlog.Type, body []byte) error {
	x := f.xa
	f.xa = xaPart{}
	switch x.part {
	case binlog.XAPrepared:
		f.xids.prepare(x.xid)
		return nil
	case binlog.XANone:
		return nil
	}
	_, text := queryText(body, 13, typ == binlog.TypeQueryCompressed) // an XID may be long
	how := xaCommit
	if strings.HasPrefix(text, xaRollback) {
		how = xaRollback
	}
	if f.skipping || x.prepared || f.hollow {
		f.xids.end(x.xid, how)
		return nil
	}
	note, err := f.xids.orphan(x.xid, how)
	if err != nil {
		hint := fmt.Sprintf("Restore to before it with --before-gtid %s, or go on without it, with --exclude-gtid %[1]s --force.", f.pending)
		if f.plan.following != nil {
			hint = fmt.Sprintf("Open the standby with --before-gtid %s and without --follow, or make another from a base backup that was taken after it.", f.pending)
		}
		return fault.New(fault.Integrity, "apply transaction", f.pending.String(), err).WithHint("No server can apply it. " + hint)
	}
	f.hollow = true
	f.now.notes = append(f.now.notes, fmt.Sprintf("transaction %s %s", f.pending, note))
	return nil
}

// unfinished lists the XIDs of the XA transactions that the server has prepared.
func (m *mariadb) unfinished() ([]string, error) {
	rows, err := m.conn.Query("XA RECOVER FORMAT='SQL'")
	if err != nil {
		return nil, err
	}
	xids := make([]string, len(rows))
	for i, row := range rows {
		if xids[i], err = parseXID(row[0], row[3]); err != nil {
			return nil, err
		}
	}
	return xids, nil
}

// parseXID reads an XID as XA RECOVER writes it, with its format ID apart: 'a','b',7 or X'61',X'62',7, and what has its
// usual value may be left out.
func parseXID(format, text string) (string, error) {
	n, err := strconv.ParseUint(format, 10, 32)
	fail := func() (string, error) {
		return "", fmt.Errorf("%s, of format %s, is not the name of an XA transaction", text, format)
	}
	if err != nil {
		return fail()
	}
	var parts [2][]byte
	rest := text
	for i := range parts {
		body, isHex := strings.CutPrefix(rest, "X'")
		if !isHex {
			if body = strings.TrimPrefix(rest, "'"); body == rest {
				break // the format, or nothing
			}
		}
		value, after, found := strings.Cut(body, "'")
		if !found {
			return fail()
		}
		if parts[i] = []byte(value); isHex {
			if parts[i], err = hex.DecodeString(value); err != nil {
				return fail()
			}
		}
		rest = strings.TrimPrefix(after, ",")
	}
	if text == "" || rest != "" && rest != format {
		return fail()
	}
	return binlog.XID(uint32(n), parts[0], parts[1]), nil
}

// unfinished: a server of MySQL does not end in its log what it has not prepared there.
func (m *mysql) unfinished() ([]string, error) { return nil, nil }

// ofMariaDB reports whether the log is of MariaDB.
func (p *Plan) ofMariaDB() bool { return p.base.Flavor == gtid.MariaDB }
