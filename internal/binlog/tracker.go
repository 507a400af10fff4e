package binlog

import (
	"bytes"

	"tidemark/internal/gtid"
)

// tracker finds where transactions begin and end.
//
// A MariaDB GTID event begins one. With the standalone flag it is over after the next statement
// (DDL); otherwise after an XID, an XA PREPARE, or a QUERY of exactly COMMIT or ROLLBACK, or one that
// completes an XA transaction. A GTID event always begins a new transaction: what was open before it
// was never finished by its server.
type tracker struct {
	gtid       gtid.GTID
	open       bool
	standalone bool
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
		t.gtid, t.open, t.standalone = g, true, flags&gtidStandalone != 0
		ev.Begin = true
	case !t.open:
		t.gtid = gtid.GTID{}
	case t.ends(ev.Type, body):
		t.open, ev.End = false, true
	case endsFile(ev.Type):
		t.open, t.gtid = false, gtid.GTID{}
	}
	ev.Open, ev.GTID = t.open, t.gtid
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
