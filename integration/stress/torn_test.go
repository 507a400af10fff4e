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

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/binlog"
)

// TestTorn leaves half an event at the end of a binlog file, as MariaDB does when it is killed while it
// writes one. Archiving goes on in the next file, and the half is not archived.
func TestTorn(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(1), func(t *testing.T, b servertest.Binaries) {
		w := kit.Archived(t, kit.Setup{Binaries: b,
			SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)"}})
		w.SettleFiles()
		w.Daemon.Pause() // so that what follows is in the file before the daemon has it
		w.Server.Exec("INSERT INTO d.t VALUES (2)")
		name := logFile(w)
		w.Server.Kill()
		path := filepath.Join(w.Server.Datadir, name)
		own, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		half := transactional(1, len(own))[:32]
		if err := os.WriteFile(path, append(own, half...), 0o600); err != nil {
			t.Fatal(err)
		}
		w.Server.Restart()
		w.Daemon.Resume()
		w.Server.Exec("INSERT INTO d.t VALUES (3)")
		w.SettleFiles()
		w.Stop()
		w.Run("verify", "shop", "--data")
		if n, err := archivedAs(filepath.Join(w.Cat(), name), path); err != nil || n != int64(len(own)) {
			t.Errorf("%s: %d bytes are archived, and %d are whole: %v", name, n, len(own), err)
		}
		compareAfter(w, name)
	})
}

// TestTornInDomain leaves, in a file whose predecessor still holds what InnoDB may not have, the beginning of a
// transaction. MariaDB then begins its next file with that domain where it was early in the predecessor.
func TestTornInDomain(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(1), func(t *testing.T, b servertest.Binaries) {
		w := kit.Archived(t, kit.Setup{Binaries: b,
			SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "FLUSH BINARY LOGS"}})
		for i := range 5 {
			w.Server.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i))
		}
		before := logFile(w)
		w.SettleFiles()
		w.Stop() // what the server has sent already is not in the file in the end
		w.Server.Exec("FLUSH BINARY LOGS")
		position := w.Server.Value("SELECT @@gtid_binlog_pos")
		name := logFile(w)
		w.Server.Kill()
		path := filepath.Join(w.Server.Datadir, name)
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
		w.Server.Restart()
		after := w.Server.Value("SELECT @@gtid_binlog_pos")
		if after == position {
			t.Errorf("the server stands at %s as before: MariaDB has changed, or the test shows nothing", after)
		}
		t.Logf("the server stood at %s, and lists %s then", position, after)
		w.Start()
		w.Server.Exec("INSERT INTO d.t VALUES (10)")
		w.SettleFiles()
		w.Stop()
		w.Run("verify", "shop", "--data")
		compareAfter(w, name)
		w.Run("restore", "shop", "--to-gtid", w.Server.Value("SELECT @@gtid_binlog_pos"), "--dry-run")
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

// logFile is the file that the server writes.
func logFile(w *kit.World) string {
	w.T.Helper()
	name, _ := w.Server.LogEnd()
	return name
}

// archivedAs is how many bytes of a file are archived, as they are in the original.
func archivedAs(archived, original string) (int64, error) {
	have, err := os.Open(archived)
	if err != nil {
		return 0, err
	}
	defer have.Close()
	return kit.SameFile(have, original, true)
}

// compareAfter compares the server's files behind one with the archived ones.
func compareAfter(w *kit.World, name string) {
	w.T.Helper()
	out := w.Cat()
	for _, row := range w.Server.Query("SHOW BINARY LOGS") {
		if row[0] > name {
			if _, err := archivedAs(filepath.Join(out, row[0]), filepath.Join(w.Server.Datadir, row[0])); err != nil {
				w.T.Errorf("%s: %v", row[0], err)
			}
		}
	}
}
