package binlog

import (
	"bytes"
	"errors"
	"fmt"

	"tidemark/internal/gtid"
)

// tracker finds where transactions begin and end.
//
// A MariaDB GTID event begins one. With the standalone flag it is over after the next statement
// (DDL); otherwise after an XID, an XA PREPARE, or a QUERY of exactly COMMIT or ROLLBACK, or one that
// completes an XA transaction. A GTID event always begins a new transaction: what was open before it
// was never finished by its server.
//
// A MySQL GTID event begins one and says how long it is.
type tracker struct {
	gtid       gtid.GTID
	open       bool
	standalone bool
	left       uint64 // MySQL: bytes of the open transaction to come
}

// observe sets the transaction fields of ev from its header and the start of its body.
func (t *tracker) observe(ev *Event, body []byte) error {
	ev.Begin, ev.End = false, false
	switch {
	case ev.Artificial():
		// not in the log
	case ev.Type == TypeMariaGTID:
		g, flags, err := parseGTID(ev.Header, body)
		if err != nil {
			return err
		}
		t.gtid, t.open, t.standalone, t.left = g, true, flags&gtidStandalone != 0, 0
		ev.Begin, ev.Committed = true, int64(ev.Timestamp)*1e6
	case ev.Type == TypeMySQLGTID, ev.Type == TypeTaggedGTID:
		if err := t.begin(ev, body); err != nil {
			return err
		}
	case ev.Type == TypeAnonymousGTID:
		return errors.New("a transaction without a GTID: the server wrote it with gtid_mode off")
	case !t.open:
		t.gtid = gtid.GTID{}
	case endsFile(ev.Type):
		t.open, t.gtid = false, gtid.GTID{}
	case t.left > 0:
		if uint64(ev.Size) > t.left {
			return fmt.Errorf("an event of %d bytes where its transaction has %d left", ev.Size, t.left)
		}
		if t.left -= uint64(ev.Size); t.left == 0 {
			t.open, ev.End = false, true
		}
	case t.ends(ev.Type, body):
		t.open, ev.End = false, true
	}
	ev.Open, ev.GTID = t.open, t.gtid
	return nil
}

// begin begins a MySQL transaction.
func (t *tracker) begin(ev *Event, body []byte) error {
	parse := parseMySQLGTID
	if ev.Type == TypeTaggedGTID {
		parse = parseTaggedGTID
	}
	g, err := parse(body)
	if err != nil {
		return err
	}
	if g.length <= uint64(ev.Size) {
		return fmt.Errorf("transaction %s of %d bytes has no room for its events", g.gtid, g.length)
	}
	t.gtid, t.open, t.left = g.gtid, true, g.length-uint64(ev.Size)
	ev.Begin, ev.Committed = true, g.committed
	return nil
}

func (t *tracker) ends(typ Type, body []byte) bool {
	if t.standalone {
		return typ == TypeQuery || typ == TypeQueryCompressed || typ == TypeExecuteLoadQuery || typ == TypeIncident
	}
	switch typ {
	case TypeXID, TypeXAPrepare:
		return true
	case TypeQuery:
		_, text, err := queryText(body)
		return err == nil && (string(text) == "COMMIT" || string(text) == "ROLLBACK" ||
			bytes.HasPrefix(text, []byte("XA COMMIT")) || bytes.HasPrefix(text, []byte("XA ROLLBACK")))
	}
	return false
}

// endsFile: these stand only between transactions, so one that is open was never finished.
func endsFile(typ Type) bool {
	return typ == TypeFormatDescription || typ == TypeRotate || typ == TypeStop
}
