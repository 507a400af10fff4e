package stress

import (
	"encoding/binary"
	"os"
	"path/filepath"
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
		const size = 42
		half := make([]byte, binlog.HeaderSize, size-10)
		binary.LittleEndian.PutUint32(half, uint32(time.Now().Unix()))
		half[4] = byte(binlog.TypeMariaGTID)
		binary.LittleEndian.PutUint32(half[5:], 7)
		binary.LittleEndian.PutUint32(half[9:], size)
		binary.LittleEndian.PutUint32(half[13:], uint32(len(own)+size))
		if err := os.WriteFile(path, append(own, half[:cap(half)]...), 0o600); err != nil {
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
