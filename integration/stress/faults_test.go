package stress

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// TestFaults puts a proxy between the daemon and the primary that cuts connections, lets them fall silent,
// delays, trickles and damages them, under load. After each the archive catches up with the primary; a
// connection that brings nothing is noticed by the heartbeats that fail to come; in the end every byte of
// the primary's files is archived, each once, and a restore equals the primary. N= sets how often.
func TestFaults(t *testing.T) {
	servertest.Each(t, "", faults)
}

// heartbeat of the test. It fails to come twice, and a second for the way is given; the rest is the test's
// own: it looks only now and then, on a machine that may do much else. The median says how it is by itself.
const (
	heartbeat = time.Second
	noticed   = 2*heartbeat + time.Second
	lateness  = 5 * time.Second
)

func faults(t *testing.T, b servertest.Binaries) {
	rounds := harness.CountOn(t, b, 10, 6)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d rounds", seed, rounds)
	r := rand.New(rand.NewPCG(seed, 6))
	w := newWorld(t, b, []string{"--max-binlog-size=8M"}, "", "")
	proxy, err := harness.NewProxy(w.srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	w.configure(proxy.Addr, "    segment: {max_age: 300ms, max_size: 2MiB}\n    heartbeat: 1s\n")

	without := []workload.Group{workload.Recreated}
	if b.Flavor == servertest.MySQL {
		without = append(without, workload.NonTransactional)
	}
	load := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 64 << 10, Without: without, Pause: 20 * time.Millisecond})
	if err := load.Setup(w.srv.Conn()); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.await("a base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })
	load.Rebuild()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- load.Run(ctx, w.dial, 2, 0) }()

	counts, took := map[harness.Trouble]int{}, []time.Duration{0}
	order := []harness.Trouble{harness.Cut, harness.Silent, harness.Delayed, harness.Trickle, harness.Flip}
	for i := range rounds {
		w.await("the stream", time.Minute, streams)
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
		before, trouble := w.d.Last.Reconnects, order[i%len(order)]
		counts[trouble]++
		began := time.Now()
		proxy.Set(trouble)
		switch trouble {
		case harness.Silent, harness.Trickle:
			w.await(trouble.String()+" is noticed", 30*time.Second, func(s harness.Status) bool { return s.Reconnects > before })
			after := time.Since(began)
			if took = append(took, after); after > noticed+lateness {
				t.Errorf("round %d, seed %d: %s was noticed after %s", i+1, seed, trouble, after)
			}
			time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		case harness.Delayed:
			time.Sleep(2 * time.Second)
		case harness.Flip:
			for end := time.Now().Add(20 * time.Second); proxy.Flips() < counts[trouble] && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
		}
		proxy.Set(harness.None)
		w.reached(seed, i)
	}
	slices.Sort(took)
	t.Logf("%v; a connection that brought nothing was noticed after %.1f s in the median, and %.1f s at most; %d reconnects, %d wrong checksums",
		counts, took[len(took)/2].Seconds(), took[len(took)-1].Seconds(), w.d.Last.Reconnects, w.d.Last.ChecksumFailures)
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	w.srv.Exec("FLUSH BINARY LOGS")
	w.archived(time.Minute)
	if err := w.d.Stop(); err != nil {
		t.Fatal(err)
	}
	w.compare()
	w.run(ok, "verify", "shop", "--data")
	w.restored()
}

func streams(s harness.Status) bool {
	return s.State == "STATE_STREAMING" || s.State == "STATE_IDLE" || s.State == "STATE_CATCHING_UP"
}

// reached waits until all that the primary has now is archived.
func (w *world) reached(seed uint64, round int) {
	w.t.Helper()
	status := "SHOW MASTER STATUS"
	if w.srv.Binaries.Flavor == servertest.MySQL {
		status = "SHOW BINARY LOG STATUS"
	}
	now := w.srv.Query(status)[0]
	if err := w.d.Await(context.Background(), time.Minute, func(s harness.Status) bool {
		return s.Archived.File > now[0] || s.Archived.File == now[0] && s.Archived.Offset >= number(w.t, now[1])
	}); err != nil {
		w.t.Fatalf("round %d, seed %d: %v", round+1, seed, err)
	}
}
