package ledger

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit/servertest"
)

// TestParse reads what the tools print.
func TestParse(t *testing.T) {
	const mariadb = "# at 4\n#261121  3:15:00 server id 1  end_log_pos 256 CRC32 0x1 \tStart: binlog v 4\n# at 299\n" +
		"#261121  3:15:01 server id 1  end_log_pos 341 CRC32 0x2 \tGTID 0-1-1 trans\n" +
		"/*!100101 SET @@session.skip_parallel_replication=0*//*!*/;\n" +
		"# at 341\n#261121  3:15:01 server id 1  end_log_pos 400 CRC32 0x3 \tQuery\n# at 500\n" +
		"#261121 13:15:02 server id 2  end_log_pos 541 CRC32 0x2 \tGTID 1-2-7 ddl\n"
	const mysql = "# at 158\n#261121  3:15:00 server id 1  end_log_pos 237 CRC32 0x1 \tGTID\tlast_committed=0\n" +
		"# immediate_commit_timestamp=1795230900123456 (2026-11-21 03:15:00.123456 UTC)\n" +
		"SET @@SESSION.GTID_NEXT= 'aaaaaaaa-0000-0000-0000-000000000001:led:5'/*!*/;\n" +
		"# at 237\nSET @@SESSION.GTID_NEXT= 'AUTOMATIC' /* added */ /*!*/;\n"
	for _, c := range []struct {
		text string
		want []Transaction
	}{
		{mariadb, []Transaction{{"0-1-1", "b.1", 299, time.Date(2026, 11, 21, 3, 15, 1, 0, time.UTC)},
			{"1-2-7", "b.1", 500, time.Date(2026, 11, 21, 13, 15, 2, 0, time.UTC)}}},
		{mysql, []Transaction{{"aaaaaaaa-0000-0000-0000-000000000001:led:5", "b.1", 158, time.UnixMicro(1795230900123456).UTC()}}},
	} {
		if got, err := parse(strings.NewReader(c.text), "b.1"); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("read %+v, %v, want %+v", got, err, c.want)
		}
	}
}

func TestPosition(t *testing.T) {
	for want, gtids := range map[string]string{
		"":                     "",
		"0-1-2,1-1-7":          "0-1-1 1-1-7 0-1-2",
		"0-2-1":                "0-1-9 0-2-1",
		"a:1-3:5,a:led:1,b:2":  "a:2 a:1 b:2 a:5 a:led:1 a:3",
		"a:1:3:5-6:8-10,b:1-2": "a:1 a:3 a:5 a:6 a:8 a:9 a:10 b:2 b:1",
	} {
		var log []Transaction
		for gtid := range strings.FieldsSeq(gtids) {
			log = append(log, Transaction{GTID: gtid})
		}
		if got := Position(log); got != want {
			t.Errorf("behind %s is %s, want %s", gtids, got, want)
		}
	}
}

func TestSeries(t *testing.T) {
	mariadb, mysql := Series{Flavor: servertest.MariaDB, Writer: 2}, Series{Flavor: servertest.MySQL, Writer: 2, Tag: "led"}
	for got, want := range map[string]string{
		mariadb.GTID(9):   "12-7-9",
		mariadb.Next(9):   "SET SESSION gtid_seq_no=9",
		mariadb.Session(): "SET SESSION gtid_domain_id=12",
		mysql.GTID(9):     "aaaaaaaa-0000-0000-0000-000000000002:led:9",
		mysql.Next(9):     "SET SESSION gtid_next='aaaaaaaa-0000-0000-0000-000000000002:led:9'",
		mysql.Session():   "",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestAfter: what the tables hold after a part of the log is what the writer saw after the last of its own in it.
func TestAfter(t *testing.T) {
	b := &Book{held: map[string]string{"0-1-1": "one", "0-1-3": "three"}}
	log := []Transaction{{GTID: "0-1-1"}, {GTID: "0-1-2"}, {GTID: "0-1-3"}}
	for i, want := range []string{"", "one", "one", "three"} {
		if got := b.After(log[:i]); got != want {
			t.Errorf("after %d transactions the tables hold %q, want %q", i, got, want)
		}
	}
	if b.Wrote("0-1-2") || !b.Wrote("0-1-3") {
		t.Error("the book does not tell its own transactions from others'")
	}
}
