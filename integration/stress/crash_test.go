package stress

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
	"tidemark/internal/binlog"
)

// TestKillPrimary kills the primary at random moments under load and starts it again on its data, while
// the daemon runs. In the end all that is whole in the server's files is archived, byte for byte, and what
// the crashes tore is not, and a restore equals the server. N= sets how often.
func TestKillPrimary(t *testing.T) {
	servertest.Each(t, "", killPrimary)
}

func killPrimary(t *testing.T, b servertest.Binaries) {
	kills := harness.CountOn(t, b, 5, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	r := rand.New(rand.NewPCG(seed, 7))
	w := newWorld(t, b, []string{"--max-binlog-size=4M"}, "", "    segment: {max_age: 300ms, max_size: 2MiB}\n    heartbeat: 1s\n")
	without := []workload.Group{workload.Recreated, workload.Fragile, workload.Statements, workload.NonTransactional, workload.Definitions, workload.Sequences, workload.Events}
	load := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 512 << 10, BigTransaction: 2 << 20, Without: without, Patience: time.Minute})
	if err := load.Setup(w.srv.Conn()); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.await("a base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- load.Run(ctx, w.dial, 3, 0) }()
	for i := range kills {
		time.Sleep(time.Duration(100+r.IntN(1500)) * time.Millisecond)
		w.srv.Kill()
		w.srv.Restart()
		w.reached(seed, i)
	}
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	w.srv.Exec("FLUSH BINARY LOGS")
	w.archived(time.Minute)
	if err := w.d.Stop(); err != nil {
		t.Fatal(err)
	}
	w.run(ok, "verify", "shop", "--data")
	out, torn := w.files(), 0
	for _, row := range w.srv.Query("SHOW BINARY LOGS") {
		own, err := os.ReadFile(filepath.Join(w.srv.Datadir, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(filepath.Join(out, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		end := whole(t, row[0], own)
		if end < len(own) {
			torn++
		}
		own[inUse], have[inUse] = own[inUse]&^1, have[inUse]&^1
		if !bytes.Equal(have, own[:end]) {
			t.Errorf("seed %d: %s: %d bytes are archived of %d, of which %d are whole", seed, row[0], len(have), len(own), end)
		}
	}
	t.Logf("%d files were torn", torn)
	w.restored()
}

// whole is how much of a binlog file is whole transactions.
func whole(t *testing.T, name string, data []byte) int {
	t.Helper()
	s, err := binlog.NewFileScanner(bytes.NewReader(data), 0, 4, binlog.Point{File: name, Offset: 4})
	if err != nil {
		t.Fatal(err)
	}
	for end := 4; ; {
		ev, err := s.Next()
		if err != nil {
			if fmt.Sprint(err) != "EOF" {
				t.Logf("%s: %v", name, err)
			}
			return end
		}
		if ev.Boundary() {
			end = int(ev.EndOffset())
		}
	}
}
