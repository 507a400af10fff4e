package stress

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestFaults puts a proxy between the daemon and the primary that cuts connections, lets them fall silent,
// delays, trickles and damages them, under load. After each the archive catches up with the primary; a
// connection that brings nothing is noticed by the heartbeats that fail to come; in the end every byte of
// the primary's files is archived, each once, and a restore equals the primary. N= sets how often.
func TestFaults(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), faults)
}

// heartbeat of the test. It fails to come twice, and a second for the way is given; the rest is the test's
// own: it looks only now and then, on a machine that may do much else. The median says how it is by itself.
const (
	heartbeat = 500 * time.Millisecond
	noticed   = 2*heartbeat + time.Second
	lateness  = 6 * time.Second
)

func faults(t *testing.T, b servertest.Binaries) {
	rounds := kit.CountOn(t, b, 10, 6)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d rounds", seed, rounds)
	r := rand.New(rand.NewPCG(seed, 6))
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=8M"},
		Cluster: []string{"segment: {max_age: 300ms, max_size: 2MiB}", "heartbeat: " + heartbeat.String()}})
	proxy, err := kit.NewProxy(w.Server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	w.Configure(func(s *kit.Setup) { s.Addr = proxy.Addr })
	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 64 << 10, Pause: 20 * time.Millisecond})
	start(w)
	w.AwaitBase()
	load.Rebuild()
	load.Begin(2)

	counts, took := map[kit.Trouble]int{}, []time.Duration{0}
	order := []kit.Trouble{kit.Cut, kit.Silent, kit.Delayed, kit.Trickle, kit.Flip}
	for i := range rounds {
		w.Await("the stream", streams)
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		before, trouble := w.Daemon.Last.Reconnects, order[i%len(order)]
		counts[trouble]++
		began := time.Now()
		proxy.Set(trouble)
		switch trouble {
		case kit.Silent, kit.Trickle:
			w.Await(trouble.String()+" is noticed", func(s kit.Status) bool { return s.Reconnects > before })
			after := time.Since(began)
			if took = append(took, after); after > noticed+lateness {
				t.Errorf("round %d, seed %d: %s was noticed after %s", i+1, seed, trouble, after)
			}
			time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		case kit.Delayed:
			time.Sleep(2 * time.Second) // what is late by half a second must not be taken for dead
		case kit.Flip:
			for end := time.Now().Add(20 * time.Second); proxy.Flips() < counts[trouble] && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
		}
		proxy.Set(kit.None)
		reached(w)
		t.Logf("round %d: %s", i+1, trouble)
	}
	slices.Sort(took)
	t.Logf("%v; a connection that brought nothing was noticed after %.1f s in the median, and %.1f s at most", counts,
		took[len(took)/2].Seconds(), took[len(took)-1].Seconds())
	t.Logf("%d reconnects, %d wrong checksums", w.Daemon.Last.Reconnects, w.Daemon.Last.ChecksumFailures)
	load.End()
	w.Server.Rotate()
	w.SettleFiles()
	w.Stop()
	w.FilesEqual()
	w.Run("verify", "shop", "--data")
	w.RestoreEquals(w.Truth("the end"))
}
