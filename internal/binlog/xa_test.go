package binlog_test

import (
	"testing"

	"tidemark/internal/binlog"
)

// TestParseXA reads bodies of GTID events as MariaDB 10.11 writes them.
func TestParseXA(t *testing.T) {
	head := "\x05\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00"
	for name, c := range map[string]struct {
		body, xid string
		part      binlog.XAPart
		fails     bool
	}{
		"none":             {head + "\x04\x00\x00\x00\x00\x00\x00", "", binlog.XANone, false},
		"prepared":         {head + "\x44\x01\x00\x00\x00\x01\x00q\x01\x00", "X'71',X'',1", binlog.XAPrepared, false},
		"ended":            {head + "\x84\x07\x00\x00\x00\x01\x02abc", "X'61',X'6263',7", binlog.XAEnded, false},
		"in a group":       {head + "\x86\x11\x22\x33\x44\x55\x66\x77\x88\x07\x00\x00\x00\x01\x01ab", "X'61',X'62',7", binlog.XAEnded, false},
		"cut in the XID":   {head + "\x84\x07\x00\x00\x00\x01\x02ab", "", binlog.XANone, true},
		"cut in its head":  {head + "\x84\x07\x00", "", binlog.XANone, true},
		"cut in the group": {head + "\x86\x07\x00", "", binlog.XANone, true},
		"cut":              {head, "", binlog.XANone, true},
	} {
		part, xid, err := binlog.ParseXA([]byte(c.body))
		if part != c.part || xid != c.xid || (err != nil) != c.fails {
			t.Errorf("%s: %d, %q, %v", name, part, xid, err)
		}
	}
}
