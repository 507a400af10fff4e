package replica

import (
	"errors"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/clock"
	"tidemark/internal/mysqld/hostiletest"
)

// TestOpen asks a stand-in of a primary for its binlog, from the login to the error that ends it.
func TestOpen(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.Everything(0, 1)
	p := hostiletest.NewPackets(1)
	p.Event(binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(4, "b.1"), false))
	for _, e := range l.Events {
		p.Event(l.Bytes()[e.Offset : e.Offset+uint64(e.Size)])
	}
	p.Err(1236, "#HY000", "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and "+
		"required binlog files have been purged.")
	primary := &hostiletest.Server{Dump: p.Bytes(), Answers: hostiletest.Answers{
		"SELECT @@version":       hostiletest.Row("10.11.6-MariaDB-log", "7", "1", "ROW", "CRC32", "0", "/data/", "1764554400.0"),
		"SHOW GLOBAL VARIABLES ": {Columns: []string{"Variable_name", "Value"}},
		"SHOW SLAVE HOSTS":       {Columns: []string{"Server_id"}},
		"SET @master_":           {},
		"SET @slave_":            {},
		"SET @mariadb_":          {},
		"SET net_write_timeout":  {},
	}}
	from := binlog.Point{File: "b.1", Offset: uint64(len(binlog.Magic))}
	r := Request{ServerID: 8, UUID: "u", Heartbeat: time.Minute, From: from}
	s, err := Open(t.Context(), Options{Host: primary.Listen(t), User: "u"}, r.Fixed, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events := 0
	for ; err == nil; events++ {
		var ev *binlog.Event
		if ev, err = s.Next(); err == nil && ev.Offset != l.Events[events].Offset {
			t.Fatalf("event %d is at %d, not at %d", events, ev.Offset, l.Events[events].Offset)
		}
	}
	if events--; events != len(l.Events) || !errors.Is(err, ErrPurged) || s.Server.ID != 7 {
		t.Errorf("%d events of %d of server %d, then %v", events, len(l.Events), s.Server.ID, err)
	}
}
