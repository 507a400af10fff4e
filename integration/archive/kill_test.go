package archive

import (
	"math/rand/v2"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestKill kills `tidemark run` at random moments under load, starts it again, and in the end finds
// every byte of the server's binlogs in the archive, each once; a restore equals the server. N= sets how often
// (make test N=20).
func TestKill(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), kill)
}

func kill(t *testing.T, b servertest.Binaries) {
	kills := kit.CountOn(t, b, 5, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	r := rand.New(rand.NewPCG(seed, 1))
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=4M"},
		Cluster: []string{"segment: {max_age: 200ms, max_size: 1MiB}", "heartbeat: 1s"}})
	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 1 << 20, BigTransaction: 3 << 20})
	w.Start()
	w.AwaitBase()
	w.Stop()
	load.Rebuild()
	load.Begin(3)
	for range kills {
		w.Start()
		load.Wrote(20 + r.IntN(500))
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
		w.Daemon.Kill()
	}
	load.End()
	w.Start()
	w.Server.Rotate()
	w.SettleFiles()
	w.Stop()
	compare(w)
	if b.Flavor == servertest.MySQL {
		compareSets(w)
	}
	w.RunTo([]int{0}, "verify", "shop", "--data")
	w.RestoreEquals(w.Truth("the end"))
}
