package stress

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/binlog"
	"tidemark/internal/clock"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// TestClash gives another replica of the primary our server_id: a real one, which was there before or comes
// later, and one that calls itself by our UUID too. The daemon says so, goes on under another name, and
// never ends the other's connection; what both need goes on.
func TestClash(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		t.Parallel()
		for _, c := range []struct {
			name     string
			scenario func(*testing.T, *kit.World)
		}{
			{"a replica that was there", replicaBefore},
			{"a replica that comes", replicaAfter},
			{"an archiver of our name", twin},
		} {
			t.Run(c.name, func(t *testing.T) {
				kit.Parallel(t, kit.Servers(2))
				c.scenario(t, kit.New(t, kit.Setup{Binaries: b, SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)"},
					Cluster: []string{"segment: {max_age: 200ms}", "heartbeat: 500ms"}}))
			})
		}
	})
}

const clashID = 12

// replicaBefore lets the other replicate before we come.
func replicaBefore(t *testing.T, w *kit.World) {
	other := newReplica(w)
	replicate(w, other)
	within(t, "it replicates", func() bool { return dumps(w.Server) == 1 })
	start(w)
	w.Await("the stream", streams)
	bothReplicate(w, other)
}

// replicaAfter lets the other replicate when we stream.
func replicaAfter(t *testing.T, w *kit.World) {
	other := newReplica(w)
	start(w)
	w.Await("the stream", streams)
	replicate(w, other)
	bothReplicate(w, other)
}

// newReplica starts a server that has the ID that we are configured to have.
func newReplica(w *kit.World) *servertest.Server {
	w.T.Helper()
	w.Configure(func(s *kit.Setup) { s.Cluster = append(s.Cluster, fmt.Sprintf("server_id: %d", clashID)) })
	if w.Server.Binaries.Flavor == servertest.MariaDB { // so that it may see the list of replicas before it is one
		w.Server.Exec("GRANT REPLICATION MASTER ADMIN ON *.* TO '" + servertest.User + "'@'%'")
	}
	w.Server.Exec("CREATE USER repl@'%' IDENTIFIED BY 'repl'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	return servertest.Start(w.T, servertest.Options{ServerID: clashID, Binaries: w.Server.Binaries})
}

// replicate makes the other a replica of the primary. It comes back a second after it has lost its connection.
func replicate(w *kit.World, other *servertest.Server) {
	w.T.Helper()
	if w.Server.Binaries.Flavor == servertest.MySQL {
		other.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=%d, source_user='repl', "+
			"source_password='repl', source_auto_position=1, get_source_public_key=1, source_connect_retry=1", w.Server.Port), "START REPLICA")
		return
	}
	other.Exec(fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%d, master_user='repl', master_password='repl', "+
		"master_use_gtid=slave_pos, master_ssl=0, master_connect_retry=1", w.Server.Port), "START SLAVE")
}

// bothReplicate finds that we and the other keep our connections, for longer than one that has lost its own
// takes to come back, and have all that is written.
func bothReplicate(w *kit.World, other *servertest.Server) {
	w.T.Helper()
	within(w.T, "both have a connection", func() bool { return dumps(w.Server) == 2 })
	w.Await("the stream", streams)
	was := connections(w.Server)
	for i := range 10 {
		w.Server.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i))
		within(w.T, "the replica has it", func() bool {
			n, err := other.Process.Value("SELECT COUNT(*) FROM d.t")
			return err == nil && n == fmt.Sprint(i+1)
		})
		time.Sleep(250 * time.Millisecond)
	}
	if now := connections(w.Server); now != was {
		w.T.Errorf("connections were %s, and are %s", was, now)
	}
	w.Settle()
	says(w, w.Server.Binaries.Flavor == servertest.MariaDB) // MySQL tells replicas apart by their UUID, and two of one ID harm neither
}

// twin connects under the daemon's server ID and UUID, as a copy of it with its state would.
func twin(t *testing.T, w *kit.World) {
	start(w)
	w.Await("the stream", streams)
	flavor := gtid.MariaDB
	if w.Server.Binaries.Flavor == servertest.MySQL {
		flavor = gtid.MySQL
	}
	list := w.Server.Query(replica.ListReplicas(flavor))
	if len(list) != 1 || !strings.HasPrefix(list[0][1], replica.Name+"-") {
		t.Fatalf("the server has the replicas %v", list)
	}
	id, err := strconv.ParseUint(list[0][0], 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(filepath.Join(w.Dir, "state/shop/spool/state.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(state), `"writer": "`)
	uuid, _, _ := strings.Cut(rest, `"`)
	s, err := replica.Open(t.Context(), replica.Options{Host: w.Server.Addr, User: servertest.User, Password: kit.Password},
		replica.Request{ServerID: uint32(id), UUID: uuid, Heartbeat: 500 * time.Millisecond,
			From: binlog.Point{File: "binlog.000001", Offset: 4}}.Fixed, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Next(); err != nil {
				ended <- err
				return
			}
		}
	}()
	w.Await("it is said", func(s kit.Status) bool { return s.ServerIDClash == uint32(id) && streams(s) })
	w.Server.Exec("INSERT INTO d.t VALUES (1)")
	w.Settle()
	says(w, true)
	// The other's connection brings heartbeats for as long as it takes to be sure.
	var since time.Time
	within(t, "heartbeats of the other's connection", func() bool {
		if _, at := s.CaughtUp(); since.IsZero() {
			since = at
		} else if at.Sub(since) > 2*time.Second {
			return true
		}
		return len(ended) > 0
	})
	select {
	case err := <-ended:
		t.Errorf("the connection of the other ended: %v", err)
	default:
	}
}

// says checks what the daemon says of a clash.
func says(w *kit.World, clash bool) {
	w.T.Helper()
	log, err := os.ReadFile(filepath.Join(w.Dir, "run.log"))
	if err != nil {
		w.T.Fatal(err)
	}
	if n := strings.Count(string(log), "another replica uses our server_id: going on under another one"); clash != (n == 1) {
		w.T.Errorf("the log tells %d times of a clash", n)
	}
	if _, err := w.Daemon.Status(); err != nil || clash != (w.Daemon.Last.ServerIDClash != 0) {
		w.T.Errorf("the status has the clash %d, %v", w.Daemon.Last.ServerIDClash, err)
	}
}

// dumps is how many replicas are connected to a server.
func dumps(srv *servertest.Server) int {
	return len(srv.Query("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"))
}

// connections are those of the replicas.
func connections(srv *servertest.Server) string {
	return fmt.Sprint(srv.Query("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%' ORDER BY id"))
}

// within waits for something that comes by itself.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	kit.Until(t, time.Minute, what, ok)
}
