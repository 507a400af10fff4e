package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld/hostiletest"
)

// session connects to a stand-in for a server that gives these answers, and no others.
func session(t *testing.T, answers hostiletest.Answers) *client.Conn {
	t.Helper()
	answers["SET "] = hostiletest.Answer{}
	server := &hostiletest.Server{Answers: answers}
	conn, err := Dial(context.Background(), Options{Host: server.Listen(t), User: "tidemark", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestWords asks a MySQL server for its position by the word that its version has.
func TestWords(t *testing.T) {
	unknown := hostiletest.Refuse(1064, "You have an error in your SQL syntax")
	at := hostiletest.Row("binlog.000007", "157", "", "", "u:1-5")
	for name, words := range map[string]hostiletest.Answers{
		"8.0":  {"SHOW BINARY LOG STATUS": unknown, "SHOW MASTER STATUS": at},
		"9.7":  {"SHOW BINARY LOG STATUS": at, "SHOW MASTER STATUS": unknown},
		"none": {"SHOW BINARY LOG STATUS": unknown, "SHOW MASTER STATUS": unknown},
		"may not": {"SHOW BINARY LOG STATUS": hostiletest.Refuse(1227, "Access denied; you need the REPLICATION CLIENT privilege"),
			"SHOW MASTER STATUS": at},
	} {
		words["SELECT @@global.gtid_executed"] = hostiletest.Row("u:1-5")
		p, gtids, err := Position(session(t, words), gtid.MySQL)
		if works := name == "8.0" || name == "9.7"; (err == nil) != works || works && (p.String() != "binlog.000007:157" || gtids != "u:1-5") {
			t.Errorf("%s: %s, %s, %v", name, p, gtids, err)
		}
	}
}

// TestReadMissing finds the settings because of which a binlog lacks changes.
func TestReadMissing(t *testing.T) {
	running, alone := hostiletest.Row("Slaves_running", "1"), hostiletest.Row("Slaves_running", "0")
	for _, c := range []struct {
		do, ignore, updates string
		threads             hostiletest.Answer
		want                string
	}{
		{"", "", "OFF", alone, "[]"},
		{"", "", "ON", running, "[]"},
		{"", "", "OFF", running, "[log_slave_updates=OFF]"},
		{"shop,crm", "", "OFF", alone, "[binlog_do_db=shop,crm]"},
		{"", "logs", "OFF", running, "[binlog_ignore_db=logs log_slave_updates=OFF]"},
	} {
		conn := session(t, hostiletest.Answers{"SHOW MASTER STATUS": hostiletest.Row("b.1", "4", c.do, c.ignore),
			"SHOW GLOBAL STATUS LIKE 'Slaves_ru": c.threads, "SHOW GLOBAL VARIABLES WHERE ": hostiletest.Row("log_slave_updates", c.updates)})
		list, err := ReadMissing(conn, gtid.MariaDB)
		if got := fmt.Sprint(list); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
		refused := RefuseMissing("db1", "clusters.shop.accept_missing", list)
		if (refused == nil) != (len(list) == 0) || refused != nil && (!Refused(refused) || !strings.Contains(fault.HintOf(refused), "clusters.shop.accept_missing: [")) {
			t.Errorf("%+v: %v; %s", c, refused, fault.HintOf(refused))
		}
	}
}

// TestNewerServers recognizes what only newer MariaDB servers have, and Galera.
func TestNewerServers(t *testing.T) {
	probed := hostiletest.Row("12.3.2-MariaDB-log", "1", "1", "ROW", "CRC32", "0", "/data/", "1764554400.0")
	answers := func(rows ...[]string) hostiletest.Answers {
		return hostiletest.Answers{"SELECT @@version": probed, "SHOW GLOBAL VARIABLES WHERE ": {Columns: []string{"Variable_name", "Value"}, Rows: rows}}
	}
	now := func() time.Time { return time.Unix(1764554400, 0) }
	s, err := Probe(session(t, answers()), now)
	if err != nil || s.Galera || s.LogEngine != "" || s.LogArchive || s.Archivable() != nil {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = Probe(session(t, answers([]string{"wsrep_on", "ON"}, []string{"innodb_log_archive", "ON"})), now)
	if err != nil || !s.Galera || !s.LogArchive || s.Archivable() != nil {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = Probe(session(t, answers([]string{"binlog_storage_engine", "INNODB"})), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Archivable(); !Refused(err) || !strings.Contains(err.Error(), "binlog_storage_engine is innodb") || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

// TestOldMySQL: versions that have other words are refused by their number.
func TestOldMySQL(t *testing.T) {
	for version, old := range map[string]bool{"8.0.22": true, "8.0.25-log": true, "5.7.44-log": true, "8.0.26": false, "8.0.41-0ubuntu0.22.04.1": false,
		"8.4.5": false, "9.7.4": false, "unknown": false} {
		s := &Server{Flavor: gtid.MySQL, Version: version, LogBin: true, GTIDMode: "ON"}
		if err := s.Archivable(); (err != nil) != old || old && !Refused(err) {
			t.Errorf("%s: %v", version, err)
		}
	}
}
