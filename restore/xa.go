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

// MariaDB prepares an XA transaction in the storage engine before it writes that to the binlog. One that crashes in between
// has it prepared when it starts again, and whoever ends it then leaves a statement in the log without the
// transaction that it is about: no server can apply that. A rollback of what is not there is done already. A
// commit is of changes that are in no log.

// xaLog follows which XA transactions are prepared at a place of MariaDB's log.
type xaLog struct {
	known chan []string   // those that the server has when the log begins, once
	open  map[string]bool // by XID
	all   bool            // of the server's too
}

func newXALog() xaLog { return xaLog{known: make(chan []string, 1), open: make(map[string]bool)} }

// has reports whether one is prepared, and waits for the server's word if the log does not tell.
func (x *xaLog) has(ctx context.Context, xid string) (bool, error) {
	if !x.open[xid] && !x.all {
		select {
		case known := <-x.known:
			for _, xid := range known {
				x.open[xid] = true
			}
			x.all = true
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return x.open[xid], nil
}

// xa follows the transaction that begins with an event, and decides whether it is written empty.
func (f *feed) xa(ctx context.Context, ev *binlog.Event, body []byte) error {
	if ev.Type != binlog.TypeMariaGTID {
		return nil
	}
	f.hollow = f.plan.excluded[f.pending]
	part, xid, err := binlog.ParseXA(body)
	if err != nil || part == binlog.XANone {
		return err
	}
	if part == binlog.XAPrepared {
		f.xids.open[xid] = true
		return nil
	}
	if f.skipping {
		delete(f.xids.open, xid)
		return nil
	}
	prepared, err := f.xids.has(ctx, xid)
	delete(f.xids.open, xid)
	switch {
	case err != nil:
		return err
	case prepared && f.hollow:
		return fault.New(fault.Usage, "leave out transaction", f.pending.String(), fmt.Errorf("it ends the XA transaction %s, which is prepared before it, and would stay so and hold its locks", xid))
	case !prepared && !f.hollow:
		f.orphan = xid
	}
	return nil
}

// endOrphan decides what is done with the end of an XA transaction that is not prepared.
func (f *feed) endOrphan(body []byte) error {
	xid := f.orphan
	f.orphan = ""
	if _, text := queryText(body, 13, false); strings.HasPrefix(text, "XA ROLLBACK") {
		f.hollow = true
		f.now.notes = append(f.now.notes, fmt.Sprintf("transaction %s rolls back the XA transaction %s, of whose prepare the log knows nothing, as after a crash of the primary; there is nothing to roll back", f.pending, xid))
		return nil
	}
	return fault.New(fault.Integrity, "apply transaction", f.pending.String(), fmt.Errorf("it commits the XA transaction %s, whose changes the log does not hold: the primary must have crashed as it prepared it, before that was in its binlog", xid)).
		WithHint(fmt.Sprintf("No server can apply it. Restore to before it with --before-gtid %s, or go on without these changes with --exclude-gtid %[1]s --force.", f.pending))
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

// tell lets the feed know which XA transactions a server has prepared, before that has applied any of it.
func (s *session) tell() error {
	xids, err := s.applier.unfinished()
	if err != nil {
		return s.applier.broken(err)
	}
	s.feed.xids.known <- xids
	return nil
}

// ofMariaDB reports whether the log is of MariaDB.
func (p *Plan) ofMariaDB() bool { return p.base.Flavor == gtid.MariaDB }
