package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld/hostiletest"
	"tidemark/replica"
	"tidemark/restore/archivetest"
	"tidemark/storage"
	"tidemark/storage/file"
)

// began is when the transactions of these tests were committed.
var began = time.Date(2026, 11, 21, 3, 15, 0, 0, time.UTC)

// opened is a cluster that holds the lease of an archive, and is about to connect.
func opened(t *testing.T, store storage.Store, cat *catalog.Catalog) *cluster {
	t.Helper()
	cfg := &config.Cluster{Name: cat.Cluster.Name, Heartbeat: time.Minute}
	cfg.Lease.TTL = time.Minute
	o := Options{Config: &config.Config{StateDir: t.TempDir()}, Log: zap.NewNop(), Clock: clock.System{}, FS: durable.OS{}}
	c := newCluster(o, cfg, store)
	c.cat = cat
	if err := errors.Join(c.turn(t.Context(), cat), c.open(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.release)
	return c
}

// three is an archive of a MariaDB server, 1, with three transactions in three segments.
func three(t *testing.T) *cluster {
	t.Helper()
	a := archivetest.InDir(t)
	log := archivetest.NewLog(1, began)
	log.List(began)
	var ends []uint64
	for seq := range uint64(3) {
		log.Change(gtid.GTID{Server: 1, Seq: seq + 1}, began, "d", "t")
		ends = append(ends, log.Offset())
	}
	a.Append("binlog.000001", log.Bytes(), archivetest.Cut{At: ends})
	return opened(t, a.Store, a.Catalog)
}

// mariadb is what a primary says that has a history, and begins its log at a position.
func mariadb(id int, state, applied, start string) hostiletest.Answers {
	probed := hostiletest.Row("10.11.6-MariaDB-log", fmt.Sprint(id), "1", "ROW", "CRC32", "0", "/data/", "1764554400.0")
	return hostiletest.Answers{
		"SELECT @@version":                   probed,
		"SHOW GLOBAL STATUS LIKE 'Slaves_ru": hostiletest.Row("Slaves_running", "0"),
		"SHOW GLOBAL VARIABLES WHERE ":       {Columns: []string{"Variable_name", "Value"}},
		"SELECT @@gtid_binlog_state":         hostiletest.Row(state, applied),
		"SHOW BINARY LOGS":                   hostiletest.Row("binlog.000001", "4711"),
		"SELECT BINLOG_GTID_POS(":            hostiletest.Row(start),
		"SHOW SLAVE HOSTS":                   {Columns: []string{"Server_id"}},
		"SET ":                               {},
	}
}

// readOnly is a server that takes no writes.
func readOnly(a hostiletest.Answers) hostiletest.Answers {
	a["SELECT @@version"].Rows[0][5] = "1"
	return a
}

// dump is how a server sends a file of its log.
func dump(t *testing.T, data []byte) []byte {
	t.Helper()
	p := hostiletest.NewPackets(1)
	p.Event(binlogtest.Encode(binlog.TypeRotate, 2, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(4, "binlog.000001"), false))
	for at := len(binlog.Magic); at < len(data); {
		h, err := binlog.ParseHeader(data[at:])
		if err != nil {
			t.Fatal(err)
		}
		p.Event(data[at : at+int(h.Size)])
		at += int(h.Size)
	}
	return p.Bytes()
}

// from makes a server the host that a session ends at for a reason.
func from(t *testing.T, s *hostiletest.Server, reason string) *parting {
	t.Helper()
	host, err := config.ParseAddress(s.Listen(t))
	if err != nil {
		t.Fatal(err)
	}
	return &parting{reason: reason, host: host, err: errors.New("the history differs")}
}

// asked reports whether the host may be followed.
func asked(t *testing.T, c *cluster, p *parting) error {
	t.Helper()
	conn, err := replica.Dial(t.Context(), replica.Options{Host: p.host.String(), User: "u"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = c.mayPart(t.Context(), conn, p)
	return err
}

// TestPart: the new timeline begins where the two histories part. Where the new one has lost its place in the log, by a
// reset or because what comes next was purged, the timeline says that there is a gap; after a failover there is none.
func TestPart(t *testing.T) {
	second := func(at time.Time) []byte { // the last transaction that both have, as a new primary has it
		log := archivetest.NewLog(2, at)
		log.List(at)
		log.Change(gtid.GTID{Server: 1, Seq: 2}, at, "d", "t")
		return log.Bytes()
	}
	for _, c := range []struct {
		what      string
		reason    string // as it showed
		says      hostiletest.Answers
		dump      []byte
		want      string
		position  string // where the old one is left
		abandoned []string
		gap       string // up to here, or to "nothing", the beginning of all; "": there is none
	}{
		{"a replica that lagged takes over", reasonFork, mariadb(2, "0-1-2,0-2-3", "", "0-1-1"), dump(t, second(began)),
			reasonFork, "0-1-2", []string{"0-1-3"}, ""},
		{"a server counts to the same number again", reasonFork, mariadb(2, "0-1-2,0-2-3", "", "0-1-1"), dump(t, second(began.Add(time.Hour))),
			reasonReset, "0-1-3", nil, "0-1-1"},
		{"the server was reset", reasonFork, mariadb(1, "0-1-2", "", ""), dump(t, archivetest.NewLog(1, began.Add(time.Hour)).Bytes()),
			reasonReset, "0-1-3", nil, "nothing"},
		{"what comes next was purged", reasonGap, mariadb(1, "0-1-9", "", "0-1-7"), nil,
			reasonGap, "0-1-3", nil, "0-1-7"},
	} {
		cluster := three(t)
		if err := cluster.part(t.Context(), from(t, &hostiletest.Server{Answers: c.says, Dump: c.dump}, c.reason)); err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		got, err := cluster.cat.Timeline(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got.Number != 2 || got.Parent != 1 || got.Reason != c.want ||
			got.Position.GTID != c.position || !slices.Equal(got.Abandoned, c.abandoned) {
			t.Errorf("%s: the timeline is %+v", c.what, got)
		}
		switch {
		case c.gap == "" && len(got.Gaps) > 0:
			t.Errorf("%s: there is a gap: %+v", c.what, got.Gaps)
		case c.gap != "" && (len(got.Gaps) != 1 || got.Gaps[0].From.GTID != c.position || cmp.Or(got.Gaps[0].To.GTID, "nothing") != c.gap):
			t.Errorf("%s: the gap is not said: %+v", c.what, got.Gaps)
		}
	}
}

// TestMayPart: a server that has what a timeline has left behind is not followed again, whatever ended the session; a rebuilt
// one is, and so is, where what comes next was purged elsewhere, one that replicates.
func TestMayPart(t *testing.T) {
	const uuid = "00000000-0000-0000-0000-00000000000a"
	mysql := func(executed string) hostiletest.Answers {
		return hostiletest.Answers{
			"SELECT @@version":              hostiletest.Row("9.7.4", "1", "1", "ROW", "CRC32", "0", "/data/", "1764554400.0"),
			"SELECT @@server_uuid":          hostiletest.Row(uuid, "ON"),
			"SHOW REPLICA STATUS":           {Columns: []string{"Replica_IO_Running"}},
			"SELECT @@global.gtid_executed": hostiletest.Row(executed),
		}
	}
	for _, c := range []struct {
		what      string
		flavor    gtid.Flavor
		abandoned string
		says      hostiletest.Answers
		refused   string // "": it is not, in any case
		gap       bool   // and also where what comes next was purged
	}{
		{"the primary that was failed over from", gtid.MariaDB, "0-1-3", mariadb(1, "0-1-3", "", ""), "left behind", true},
		{"that one, which has gone on", gtid.MariaDB, "0-1-3", mariadb(1, "0-1-5,0-2-9", "", ""), "left behind", true},
		{"that one, rebuilt", gtid.MariaDB, "0-1-3", mariadb(1, "0-1-2,0-2-9", "", ""), "", false},
		{"another one", gtid.MariaDB, "0-1-3", mariadb(2, "0-1-2,0-2-9", "", ""), "", false},
		{"a replica", gtid.MariaDB, "0-1-3", readOnly(mariadb(2, "0-1-2,0-2-9", "", "")), "takes no writes", false},
		{"the primary of before, MySQL", gtid.MySQL, uuid + ":10-12", mysql(uuid + ":1-12"), "left behind", true},
		{"that one with a part of it", gtid.MySQL, uuid + ":10-12", mysql(uuid + ":1-10"), "left behind", true},
		{"that one, rebuilt, MySQL", gtid.MySQL, uuid + ":10-12", mysql(uuid + ":1-9:13"), "", false},
	} {
		for _, reason := range []string{reasonFork, reasonReset, reasonGap} {
			store, err := file.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			cat, err := catalog.Create(t.Context(), store, "shop", "test", c.flavor, began)
			if err != nil {
				t.Fatal(err)
			}
			cluster := opened(t, store, cat)
			// It was left behind on the timeline before the one that goes on.
			for number := range uint32(2) {
				timeline := &catalog.Timeline{Number: number + 2, Parent: number + 1, Reason: reasonFork, Created: began}
				if number == 0 {
					timeline.Abandoned = []string{"and 7 others", c.abandoned}
				}
				if err := cat.PutTimeline(t.Context(), timeline); err != nil {
					t.Fatal(err)
				}
				cluster.timeline = timeline
			}
			p := from(t, &hostiletest.Server{Answers: c.says}, reason)
			want := c.refused
			if reason == reasonGap && !c.gap {
				want = ""
			}
			if err := asked(t, cluster, p); (err == nil) != (want == "") ||
				err != nil && (!fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "") {
				t.Errorf("%s, after a %s: %v", c.what, reason, err)
			}
		}
	}
}
