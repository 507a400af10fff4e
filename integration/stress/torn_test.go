package stress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/binlog"
)

// TestTorn leaves half an event at the end of a binlog file, as MariaDB does when it is killed while it
// writes one. Archiving goes on in the next file, and the half is not archived.
func TestTorn(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
		w := newWorld(t, b, nil, "", "    heartbeat: 1s\n    segment: {max_age: 200ms}\n")
		w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
		w.start()
		w.archived(time.Minute)
		w.await("a base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })
		w.d.Pause() // so that what follows is in the file before the daemon has it
		w.srv.Exec("INSERT INTO d.t VALUES (2)")
		name := w.srv.Query("SHOW MASTER STATUS")[0][0]
		w.srv.Kill()
		path := filepath.Join(w.srv.Datadir, name)
		own, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		half := transactional(1, len(own))[:32]
		if err := os.WriteFile(path, append(own, half...), 0o600); err != nil {
			t.Fatal(err)
		}
		w.srv.Restart()
		w.d.Resume()
		w.srv.Exec("INSERT INTO d.t VALUES (3)")
		w.archived(time.Minute)
		if err := w.d.Stop(); err != nil {
			t.Fatal(err)
		}
		w.run(ok, "verify", "shop", "--data")
		if n, err := sameFile(filepath.Join(w.files(), name), path, true); err != nil || n != int64(len(own)) {
			t.Errorf("%s: %d bytes are archived, and %d are whole: %v", name, n, len(own), err)
		}
		w.compareAfter(name)
	})
}

// TestTornInDomain leaves, in a file whose predecessor still holds what InnoDB may not have, the beginning of a
// transaction. MariaDB then begins its next file with that domain where it was early in the predecessor.
func TestTornInDomain(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
		w := newWorld(t, b, nil, "", "    heartbeat: 1s\n    segment: {max_age: 200ms}\n")
		w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "FLUSH BINARY LOGS")
		w.start()
		w.await("a base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })
		for i := range 5 {
			w.srv.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i))
		}
		before := w.srv.Query("SHOW MASTER STATUS")[0][0]
		w.archived(time.Minute)
		if err := w.d.Stop(); err != nil { // what the server has sent already is not in the file in the end
			t.Fatal(err)
		}
		w.srv.Exec("FLUSH BINARY LOGS")
		position := w.srv.Value("SELECT @@gtid_binlog_pos")
		name := w.srv.Query("SHOW MASTER STATUS")[0][0]
		w.srv.Kill()
		path := filepath.Join(w.srv.Datadir, name)
		own, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Up to the checkpoint that names the file before, as when the server is killed before it writes another.
		end := bytes.Index(own, []byte(before)) + len(before) + 4
		if bytes.Contains(own[end:], []byte(before)) || end < 100 {
			t.Fatalf("%s names %s not once", name, before)
		}
		next, err := strconv.ParseUint(position[strings.LastIndexByte(position, '-')+1:], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(own[:end:end], append(transactional(next+1, end), make([]byte, 10)...)...), 0o600); err != nil {
			t.Fatal(err)
		}
		w.srv.Restart()
		after := w.srv.Value("SELECT @@gtid_binlog_pos")
		if after == position {
			t.Errorf("the server stands at %s as before: MariaDB has changed, or the test shows nothing", after)
		}
		t.Logf("the server stood at %s, and lists %s then", position, after)
		w.start()
		w.srv.Exec("INSERT INTO d.t VALUES (10)")
		w.archived(time.Minute)
		if err := w.d.Stop(); err != nil {
			t.Fatal(err)
		}
		w.run(ok, "verify", "shop", "--data")
		w.compareAfter(name)
		w.run(ok, "restore", "shop", "--to-gtid", w.srv.Value("SELECT @@gtid_binlog_pos"), "--dry-run")
	})
}

// transactional is the GTID event, of server 7, with which a transaction of domain 0 begins at an offset of a file.
func transactional(seq uint64, at int) []byte {
	const size = 42
	ev := make([]byte, size)
	binary.LittleEndian.PutUint32(ev, uint32(time.Now().Unix()))
	ev[4] = byte(binlog.TypeMariaGTID)
	binary.LittleEndian.PutUint32(ev[5:], 7)
	binary.LittleEndian.PutUint32(ev[9:], size)
	binary.LittleEndian.PutUint32(ev[13:], uint32(at+size))
	binary.LittleEndian.PutUint64(ev[binlog.HeaderSize:], seq)
	ev[binlog.HeaderSize+12] = 4 // ends with an XID
	binary.LittleEndian.PutUint32(ev[size-4:], crc32.ChecksumIEEE(ev[:size-4]))
	return ev
}

// compareAfter compares the server's files behind one with the archived ones.
func (w *world) compareAfter(name string) {
	w.t.Helper()
	out := w.files()
	for _, row := range w.srv.Query("SHOW BINARY LOGS") {
		if row[0] > name {
			if _, err := sameFile(filepath.Join(out, row[0]), filepath.Join(w.srv.Datadir, row[0]), true); err != nil {
				w.t.Errorf("%s: %v", row[0], err)
			}
		}
	}
}
