package failover

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// TestFailover moves the role of primary around three servers, by a planned change and by the death of
// the primary, while one archiver follows it. In the end the archive has every transaction once, and
// what is restored from it is what the last primary holds. N= sets how often it moves.
func TestFailover(t *testing.T) { servertest.Each(t, "", failover) }

func failover(t *testing.T, b servertest.Binaries) {
	harness.Use(t, b)
	moves := harness.CountOn(t, b, 4, 3)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d moves", seed, moves)
	r := rand.New(rand.NewPCG(seed, 3))
	// Without what stops the servers' own replication when a primary dies: temporary tables are lost with it.
	without := []workload.Group{workload.Recreated, workload.Fragile, workload.Sequences, workload.Statements}
	if b.Flavor == servertest.MySQL {
		without = append(without, workload.NonTransactional)
	}
	c := start(t, b, 3, true)
	dir := t.TempDir()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: c.hosts(), User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 300ms, max_size: 2MiB}\n    heartbeat: 1s\n    ack: spool\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, limit time.Duration, ok func(harness.Status) bool) {
		t.Helper()
		if err := d.Await(context.Background(), limit, ok); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	await("base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })

	w := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 256 << 10, Without: without})
	if err := w.Setup(c.server().Conn()); err != nil {
		t.Fatal(err)
	}
	load := func(for_ time.Duration) {
		t.Helper()
		before := c.sessions()
		ctx, stop := context.WithTimeout(context.Background(), for_)
		defer stop()
		if err := w.Run(ctx, func() (*client.Conn, error) { return c.server().Process.Conn() }, 3, 0); err != nil {
			t.Fatalf("load on server %d: %v", c.server().ServerID, err)
		}
		// A session that has ended drops its temporary tables a moment later, in a transaction of its own.
		within(t, time.Minute, "the sessions end", func() bool { return c.sessions() <= before })
		for before := ""; before != c.position(); time.Sleep(300 * time.Millisecond) {
			before = c.position()
		}
	}
	for i := range moves {
		load(time.Duration(500+r.IntN(1500)) * time.Millisecond)
		old := c.primary
		next := (old + 1 + r.IntN(2)) % 3
		died := i%2 == 1
		if died {
			// Half of the time the archive is behind when the primary dies: it gets the rest from the next one.
			c.catchUp()
			c.server().Kill()
		} else {
			c.demote()
			c.catchUp()
		}
		c.promote(next)
		c.replicate(3-old-next, next)
		if died {
			c.servers[old].Restart()
		}
		c.replicate(old, next)
		began := time.Now()
		await("the new primary", time.Minute, func(s harness.Status) bool { return s.Host == c.server().Addr && s.SemiSync.Kept })
		t.Logf("move %d, died %v: server %d is followed after %.1f s", i+1, died, c.server().ServerID, time.Since(began).Seconds())
	}
	load(time.Second)
	end := c.position()
	await("the end", time.Minute, func(s harness.Status) bool { return s.Archived == s.Primary && s.Archived.GTID == end })
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		out, err := exec.Command(tool, append(args, "--config", cfg)...).CombinedOutput()
		if err != nil && harness.ExitCode(err) != 3 {
			t.Fatalf("tidemark %v: %v\n%s", args, err, out)
		}
	}
	run("verify", "shop", "--data")
	again := harness.Restored(t, b, tool, cfg, filepath.Join(dir, "restored"))
	truth, err := workload.Take(c.server().Conn(), "the end")
	if err != nil {
		t.Fatal(err)
	}
	if err := workload.Compare(again.Conn(), truth); err != nil {
		t.Error(err)
	}
	if err := w.CheckInvariants(again.Conn()); err != nil {
		t.Error(err)
	}
}
