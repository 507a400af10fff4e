package stress

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/binlog"
	"tidemark/internal/clock"
	"tidemark/replica"
)

// TestClash gives another replica of the primary our server_id: a real one, which was there before or comes
// later, and one that calls itself by our UUID too. The daemon says so, goes on under another name, and
// never ends the other's connection; what both need goes on.
func TestClash(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		t.Run("a replica that was there", func(t *testing.T) { clash(t, b, true) })
		t.Run("a replica that comes", func(t *testing.T) { clash(t, b, false) })
		t.Run("an archiver of our name", func(t *testing.T) { twin(t, b) })
	})
}

const clashID = 12

func clash(t *testing.T, b servertest.Binaries, before bool) {
	w := newWorld(t, b, nil, "", fmt.Sprintf("    heartbeat: 1s\n    server_id: %d\n", clashID))
	mysql := b.Flavor == servertest.MySQL
	if !mysql { // so that it may see the list of replicas before it is one
		w.srv.Exec("GRANT REPLICATION MASTER ADMIN ON *.* TO '" + servertest.User + "'@'%'")
	}
	w.srv.Exec("CREATE USER repl@'%' IDENTIFIED BY 'repl'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'", "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	other := servertest.Start(t, servertest.Options{ServerID: clashID, Binaries: b})
	replicate := func() {
		if mysql {
			other.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=%d, source_user='repl', source_password='repl', "+
				"source_auto_position=1, get_source_public_key=1, source_connect_retry=1", w.srv.Port), "START REPLICA")
		} else {
			other.Exec(fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%d, master_user='repl', master_password='repl', "+
				"master_use_gtid=slave_pos, master_ssl=0, master_connect_retry=1", w.srv.Port), "START SLAVE")
		}
	}
	if before {
		replicate()
		within(t, "it replicates", func() bool { return dumps(w.srv) == 1 })
	}
	w.start()
	w.await("the stream", time.Minute, streams)
	if !before {
		replicate()
	}
	within(t, "both have a connection", func() bool { return dumps(w.srv) == 2 })
	w.await("the stream", time.Minute, streams)
	was := connections(w.srv)
	for i := range 10 {
		w.srv.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i))
		time.Sleep(500 * time.Millisecond)
	}
	if now := connections(w.srv); now != was {
		t.Errorf("connections were %s, and are %s", was, now)
	}
	w.archived(time.Minute)
	within(t, "the replica has all", func() bool { return other.Value("SELECT COUNT(*) FROM d.t") == "10" })
	w.says(!mysql) // MySQL tells replicas apart by their UUID, and two of one ID harm neither
}

// twin connects under the daemon's server ID and UUID, as a copy of it with its state would.
func twin(t *testing.T, b servertest.Binaries) {
	w := newWorld(t, b, nil, "", "    heartbeat: 1s\n")
	w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	w.start()
	w.await("the stream", time.Minute, streams)
	var id uint32
	list := w.srv.Query(map[bool]string{false: "SHOW SLAVE HOSTS", true: "SHOW REPLICAS"}[b.Flavor == servertest.MySQL])
	if len(list) != 1 || !strings.HasPrefix(list[0][1], replica.Name+"-") {
		t.Fatalf("the server has the replicas %v", list)
	}
	id = uint32(number(t, list[0][0]))
	state, err := os.ReadFile(filepath.Join(w.dir, "state/shop/spool/state.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(state), `"writer": "`)
	uuid, _, _ := strings.Cut(rest, `"`)
	s, err := replica.Open(t.Context(), replica.Options{Host: w.srv.Addr, User: servertest.User, Password: "secret"},
		replica.Request{ServerID: id, UUID: uuid, Heartbeat: time.Second, From: binlog.Point{File: "binlog.000001", Offset: 4}}.Fixed, clock.System{})
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
	w.await("it is said", time.Minute, func(s harness.Status) bool { return s.ServerIDClash == id && streams(s) })
	w.srv.Exec("INSERT INTO d.t VALUES (1)")
	w.archived(time.Minute)
	w.says(true)
	select {
	case err := <-ended:
		t.Errorf("the connection of the other ended: %v", err)
	case <-time.After(5 * time.Second):
	}
}

// says checks what the daemon says of a clash.
func (w *world) says(clash bool) {
	w.t.Helper()
	log, err := os.ReadFile(filepath.Join(w.dir, "run.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	if n := strings.Count(string(log), "another replica uses our server_id: going on under another one"); clash != (n == 1) {
		w.t.Errorf("the log tells %d times of a clash", n)
	}
	if _, err := w.d.Status(); err != nil || clash != (w.d.Last.ServerIDClash != 0) {
		w.t.Errorf("the status has the clash %d, %v", w.d.Last.ServerIDClash, err)
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

// within waits for something for half a minute.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within half a minute: " + what)
		}
	}
}
