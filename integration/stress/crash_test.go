package stress

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/binlog"
)

// TestKillPrimary kills the primary at random moments under load and starts it again on its data, while
// the daemon runs. In the end all that is whole in the server's files is archived, byte for byte, and what
// the crashes tore is not, and a restore equals the server. N= sets how often.
func TestKillPrimary(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), killPrimary)
}

func killPrimary(t *testing.T, b servertest.Binaries) {
	kills := kit.CountOn(t, b, 5, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	r := rand.New(rand.NewPCG(seed, 7))
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=4M"},
		Cluster: []string{"segment: {max_age: 300ms, max_size: 2MiB}", "heartbeat: 1s"}})
	without := []workload.Group{workload.Fragile, workload.Statements, workload.NonTransactional, workload.Definitions,
		workload.Sequences, workload.Events}
	if b.Flavor == servertest.MariaDB { // one that is killed writes ends of XA transactions that no server can apply: TestLostXA
		without = append(without, workload.XA)
	}
	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 512 << 10, BigTransaction: 2 << 20, Patience: time.Minute, Without: without})
	start(w)
	w.AwaitBase()
	load.Begin(3)
	for range kills {
		load.Wrote(30 + r.IntN(300))
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
		w.Server.Kill()
		w.Server.Restart()
		reached(w)
	}
	load.End()
	w.Server.Rotate()
	w.SettleFiles()
	w.Stop()
	w.Run("verify", "shop", "--data")
	wholeArchived(w)
	w.RestoreEquals(w.Truth("the end"))
}

// wholeArchived compares the archived files with what is whole of the server's.
func wholeArchived(w *kit.World) {
	w.T.Helper()
	out, torn := w.Cat(), 0
	for _, row := range w.Server.Query("SHOW BINARY LOGS") {
		path := filepath.Join(w.Server.Datadir, row[0])
		end, size := whole(w.T, path)
		if end < size {
			torn++
		}
		if n, err := archivedAs(filepath.Join(out, row[0]), path); err != nil || n != end {
			w.T.Errorf("%s: %d bytes are archived of %d, of which %d are whole: %v", row[0], n, size, end, err)
		}
	}
	w.T.Logf("%d files were torn", torn)
}

// whole is how much of a binlog file is whole transactions.
func whole(t *testing.T, path string) (end, size int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(path)
	s, err := binlog.NewFileScanner(bytes.NewReader(data), 0, 4, binlog.Point{File: name, Offset: 4})
	if err != nil {
		t.Fatal(err)
	}
	for end = 4; ; {
		ev, err := s.Next()
		if err != nil {
			if fmt.Sprint(err) != "EOF" {
				t.Logf("%s: %v", name, err)
			}
			return end, int64(len(data))
		}
		if ev.Boundary() {
			end = int64(ev.EndOffset())
		}
	}
}
