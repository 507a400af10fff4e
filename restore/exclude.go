package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Transactions can be left out of a restore. Each keeps its GTID, so that the position is what it would
// be, and loses what it does: MySQL is told that it has executed it; MariaDB gets it empty.

// leaveOut looks up the transactions that are to be left out, which must lie before the stop, and passes
// over base backups that hold one of them already.
func (h *history) leaveOut(ctx context.Context, p *Plan, list []string, stop spot) error {
	for _, text := range list {
		t, err := BeforeGTID(text)
		if err == nil {
			err = t.checkFlavor(h.c.Cluster.Flavor)
		}
		if err != nil {
			return err
		}
		if t.set == nil && len(t.gtids) != 1 {
			return excluded(text, errors.New("it names several transactions"))
		}
		at, err := h.seek(ctx, t)
		if err != nil {
			return err
		}
		if at.i > stop.i || at.i == stop.i && at.offset >= stop.offset {
			return excluded(text, errors.New("it lies behind the target"))
		}
		g, what, err := h.removable(ctx, at.spot)
		if err != nil {
			return err
		}
		begin := place{h.segments[at.i].Timeline, member(h.segments[at.i], at.offset).Number, at.offset}
		h.bases = slices.DeleteFunc(h.bases, func(b *catalog.Base) bool {
			if t.set == nil {
				return basePlace(b).compare(begin) > 0
			}
			most, err := gtid.ParseSet(b.PositionMax.GTID)
			return err != nil || most.Contains(g)
		})
		if p.excluded == nil {
			p.excluded = make(map[gtid.GTID]bool)
		}
		p.excluded[g] = true
		p.Excluded = append(p.Excluded, what)
		p.Warnings = append(p.Warnings, fmt.Sprintf("transaction %s is left out; what follows it may depend on it", what))
	}
	return nil
}

func excluded(text string, err error) error {
	return fault.New(fault.Usage, "leave out transaction", text, err).
		WithHint("Give --exclude-gtid one GTID before the target; several times for several.")
}

// removable returns the transaction that begins at a spot, if it can be left out.
func (h *history) removable(ctx context.Context, at spot) (gtid.GTID, *Transaction, error) {
	s := h.segments[at.i]
	for tx, err := range transactions(ctx, h.c, s, nil) {
		if err != nil {
			return gtid.GTID{}, nil, err
		}
		if tx.start != at.offset {
			continue
		}
		if tx.xa && (!tx.xaEnd || h.c.Cluster.Flavor == gtid.MySQL) { // of an end, the log up to there tells
			return tx.gtid, nil, excluded(tx.gtid.String(), errors.New("it is a part of an XA transaction"))
		}
		return tx.gtid, describe(tx), nil
	}
	return gtid.GTID{}, nil, fault.New(fault.Integrity, "read segment "+s.Name()+" in", s.Stored.Key, fmt.Errorf("no transaction begins at %d", at.offset))
}

// empty writes an event or fragment of a transaction that MariaDB gets empty: its GTID and its end. A
// statement that is a transaction by itself becomes a comment.
func (f *feed) empty(ctx context.Context, ev *binlog.Event, body []byte, format *binlog.FormatDescription) error {
	switch {
	case ev.First && ev.Begin:
		return f.write(ctx, ev, format)
	case !ev.End || !ev.First:
		return nil
	case ev.Type == binlog.TypeXID, ev.Type == binlog.TypeQuery && endsTransaction(body):
		return f.write(ctx, ev, format)
	case ev.Type != binlog.TypeQuery && ev.Type != binlog.TypeQueryCompressed:
		return fmt.Errorf("leave out transaction %s: it ends with an event of type %d", ev.GTID, ev.Type)
	}
	data, err := binlog.RewriteQuery(ev.Data, "# left out by a restore", format.Checksum)
	if err != nil {
		return fmt.Errorf("leave out transaction %s: %w", ev.GTID, err)
	}
	comment := *ev
	comment.Data, comment.Type, comment.Last = data, binlog.TypeQuery, true
	return f.write(ctx, &comment, format)
}

// endsTransaction reports whether a statement is the end of a transaction of several events.
func endsTransaction(body []byte) bool {
	_, text := queryText(body, 13, false)
	return text == "COMMIT" || text == "ROLLBACK"
}

// endsXA reports whether a transaction that ends with an event is a part of an XA transaction.
func endsXA(typ binlog.Type, body []byte) bool {
	if typ != binlog.TypeQuery {
		return typ == binlog.TypeXAPrepare
	}
	_, text := queryText(body, 13, false)
	return strings.HasPrefix(text, "XA ")
}

// exclude tells MySQL that it has executed the transactions that are left out.
func (m *mysql) exclude() error {
	at, err := m.position()
	if err != nil {
		return err
	}
	for g := range m.run.plan.excluded {
		if at.Set().Contains(g) {
			continue
		}
		if err := m.conn.Exec("SET GTID_NEXT='"+g.String()+"'", "BEGIN", "COMMIT", "SET GTID_NEXT='AUTOMATIC'"); err != nil {
			return err
		}
	}
	return nil
}
