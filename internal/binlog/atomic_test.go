package binlog

import (
	"encoding/hex"
	"testing"

	"tidemark/internal/gtid"
)

// What MariaDB 10.11 and 11.8 say in the GTID event of a transaction.
func TestAtomicMariaDB(t *testing.T) {
	const parallel = 8
	for what, c := range map[string]struct {
		flags byte
		want  bool
	}{
		"INSERT, InnoDB":                       {gtidTransactional | parallel, true},
		"INSERT, MyISAM":                       {parallel, false},
		"INSERT of both in a transaction":      {parallel, false},
		"ROLLBACK after an INSERT, MyISAM":     {parallel, false},
		"NEXTVAL of a sequence":                {parallel, false},
		"CREATE TABLE":                         {gtidStandalone | parallel | gtidDDL, false},
		"CREATE TABLE AS SELECT":               {parallel | gtidDDL, false},
		"CREATE TEMPORARY TABLE":               {gtidStandalone | parallel | gtidDDL, false},
		"UPDATE with a temporary table":        {parallel, false},
		"one of a group commit":                {gtidTransactional | gtidGroupCommitID | parallel, true},
		"XA PREPARE":                           {gtidTransactional | parallel | gtidPreparedXA, false},
		"XA COMMIT":                            {gtidStandalone | gtidTransactional | parallel | gtidCompletedXA, false},
		"XA COMMIT ONE PHASE":                  {gtidTransactional | parallel, true},
		"a transaction that makes a temporary": {gtidTransactional | parallel | gtidDDL, false},
	} {
		ev := &Event{Header: Header{Type: TypeMariaGTID}, First: true, Begin: true}
		if got := Atomic(ev, append(make([]byte, 12), c.flags, 0, 0, 0, 0, 0, 0)); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if Atomic(&Event{Header: Header{Type: TypeMariaGTID}, First: true}, nil) {
		t.Error("a GTID event without a body")
	}
}

// What MySQL 9.7 ends a transaction with; the status variables are a server's.
func TestAtomicMySQL(t *testing.T) {
	const (
		common = "0000000000012000a04500000000060373746404ff00ff00ff00"
		engine = "110800000000000000"
		rest   = "12ff00"
	)
	for _, c := range []struct {
		typ          Type
		status, text string
		want         bool
	}{
		{TypeXID, "", "", true},
		{TypeXAPrepare, "", "", true},
		{TypePayload, "", "", true},
		{typ: TypeQuery, status: common + rest, text: "COMMIT"}, // MyISAM
		{TypeQuery, common + rest, "XA COMMIT X'78',X'',1", true},
		{TypeQuery, common + rest, "XA ROLLBACK X'78',X'',1", true},
		{TypeQuery, common + "0c016400" + engine + rest + "1300", "CREATE TABLE i (a INT)", true},
		{typ: TypeQuery, status: common + "0c016400" + rest + "1300", text: "CREATE TABLE m (a INT) ENGINE=MyISAM"},
		{typ: TypeQuery, status: common + "0c016400" + rest + "1300", text: "CREATE TEMPORARY TABLE tt (a INT PRIMARY KEY)"},
		{TypeQuery, common + engine + rest, "TRUNCATE i2", true},
		{typ: TypeQuery, status: common + rest, text: "TRUNCATE m"},
		{TypeQuery, common + "0b04726f6f74096c6f63616c686f73740c026d7973716c006400" + engine + rest, "GRANT SELECT ON `d`.* TO 'u'@'localhost'", true},
		{TypeQuery, common + "050653595354454d0b04726f6f74096c6f63616c686f73740c016400" + engine + rest, "CREATE DEFINER event e", true},
		{TypeQuery, common + "0b04726f6f74096c6f63616c686f73740c0164000d5fe50b" + engine + rest, "CREATE TRIGGER tr", true},
		{TypeQuery, common + "0cfe" + engine + rest, "DROP TABLE of many databases", true},
		{typ: TypeQuery, status: common + "0c016400" + engine + rest + "1400", text: "CREATE DATABASE d"},
		{typ: TypeQuery, status: common + engine + rest, text: "drop\nschema d"},
		{typ: TypeQuery, status: common + engine + rest, text: "DROP /* d */ DATABASE d"},
		{typ: TypeQuery, status: common + engine + rest, text: "/* d */ CREATE TABLE x (a INT)"},
		{typ: TypeQuery, status: common + "77" + engine + rest, text: "CREATE TABLE after an unknown variable"},
		{typ: TypeQuery, status: common + "0c05", text: "CREATE TABLE cut off"},
		{typ: TypeQuery, status: common + "06ff", text: "CREATE TABLE cut off"},
	} {
		status, err := hex.DecodeString(c.status)
		if err != nil {
			t.Fatal(err)
		}
		body := append(make([]byte, 11), byte(len(status)), 0)
		body = append(append(append(body, status...), 0), c.text...)
		ev := &Event{Header: Header{Type: c.typ}, First: true, End: true, GTID: gtid.GTID{UUID: gtid.UUID{1}, Seq: 1}}
		if got := Atomic(ev, body); got != c.want {
			t.Errorf("event of type %d, %q: %v", c.typ, c.text, got)
		}
	}
}
