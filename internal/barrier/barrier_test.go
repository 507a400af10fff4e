package barrier

import (
	"encoding/binary"
	"strings"
	"testing"

	"tidemark/internal/binlog"
)

// queryBody is the body of a QUERY event.
func queryBody(db, text string) []byte {
	b := make([]byte, 13, 13+len(db)+1+len(text))
	b[8] = byte(len(db))
	return append(append(append(b, db...), 0), text...)
}

// TestStatements: an import is found however it is written, and nothing else is one.
func TestStatements(t *testing.T) {
	for text, want := range map[string]string{
		"ALTER TABLE t IMPORT TABLESPACE":                                            "ALTER TABLE t IMPORT TABLESPACE (in d)",
		"/* note */ alter /*!50000 table */ `a b`.`c``d` import tablespace ; -- x\n": "alter table `a b`.`c``d` import tablespace (in d)",
		"ALTER IGNORE TABLE IF EXISTS d.t WAIT 5 IMPORT TABLESPACE":                  "ALTER IGNORE TABLE IF EXISTS d.t WAIT 5 IMPORT TABLESPACE (in d)",
		"ALTER TABLE t IMPORT PARTITION p0, p1 TABLESPACE":                           "ALTER TABLE t IMPORT PARTITION p0, p1 TABLESPACE (in d)",
		"IMPORT TABLE FROM '/tmp/secret.sdi'":                                        "IMPORT TABLE FROM '…' (in d)",
		"SET STATEMENT lock_wait_timeout=5 FOR ALTER TABLE t IMPORT TABLESPACE":      "SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE t IMPORT TABLESPACE (in d)",
		"SET STATEMENT lock_wait_timeout=5 FOR ALTER TABLE t DISCARD TABLESPACE":     "",
		"SET STATEMENT lock_wait_timeout=5":                                          "",
		"ALTER TABLE t DISCARD TABLESPACE":                                           "",
		"ALTER TABLE t ADD import INT":                                               "",
		"ALTER TABLE `import` ADD tablespace INT":                                    "",
		"ALTER TABLE t COMMENT 'IMPORT TABLESPACE'":                                  "",
		"ALTER TABLE t ADD COLUMN import PARTITION TABLESPACE":                       "",
		"ALTER TABLE IMPORT DISCARD TABLESPACE":                                      "",
		"INSERT INTO t VALUES ('ALTER TABLE t IMPORT TABLESPACE')":                   "",
		"INSERT INTO IMPORT VALUES (1)":                                              "",
		"":                                                                           "",
	} {
		ev := &binlog.Event{Header: binlog.Header{Type: binlog.TypeQuery}, First: true}
		kind, what := Find(ev, queryBody("d", text))
		if what != want || (kind == Import) != (want != "") {
			t.Errorf("%q is %q %q, expected %q", text, kind, what, want)
		}
	}
}

// TestIncidents reads what a server says of an incident, whatever the bytes.
func TestIncidents(t *testing.T) {
	body := func(number uint16, text string) []byte {
		return append(append(binary.LittleEndian.AppendUint16(nil, number), byte(len(text))), text...)
	}
	for _, c := range []struct {
		body []byte
		want string
	}{
		{body(1, "error writing to the binary log"), "incident: events were lost: error writing to the binary log"},
		{body(2, "x\x1b[2J\n\xff"), "incident: x [2J ?"},
		{body(1, ""), "incident: events were lost: the server has written no details"},
		{[]byte{1}, "incident: the server has written no details"},
		{body(1, strings.Repeat("ä", 120))[:50], "incident: events were lost: the server has written no details"},
		{nil, "incident: the server has written no details"},
	} {
		ev := &binlog.Event{Header: binlog.Header{Type: binlog.TypeIncident}, First: true}
		if kind, what := Find(ev, c.body); kind != Incident || what != c.want {
			t.Errorf("%q: %q %q, expected %q", c.body, kind, what, c.want)
		}
	}
	ev := &binlog.Event{Header: binlog.Header{Type: binlog.TypeXID}, First: true}
	if kind, _ := Find(ev, make([]byte, 8)); kind != "" {
		t.Errorf("a commit is %s", kind)
	}
}
