package failover

import (
	"math/rand/v2"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestFailover moves the role of primary around three servers, by a planned change and by the death of
// the primary, while one archiver follows it. In the end the archive has every transaction once, and
// what is restored from it is what the last primary holds. N= sets how often it moves.
func TestFailover(t *testing.T) { kit.Each(t, "", kit.Servers(3), failover) }

func failover(t *testing.T, b servertest.Binaries) {
	moves := kit.CountOn(t, b, 4, 3)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d moves", seed, moves)
	r := rand.New(rand.NewPCG(seed, 3))
	c := kit.StartSemiSync(t, b, 3)
	s := &site{kit.Archived(t, c.Setup("segment: {max_age: 300ms, max_size: 2MiB}", "heartbeat: 1s", "ack: spool")), c}
	// Without what stops the servers' own replication when a primary dies: temporary tables are lost with it.
	load := s.NewLoad(seed, workload.Options{Domains: 2, Without: []workload.Group{workload.Fragile, workload.Sequences, workload.Statements}})
	write := func(n int) {
		t.Helper()
		before := c.Sessions()
		load.Begin(3)
		load.Wrote(n)
		load.End()
		// A session that has ended drops its temporary tables a moment later, in a transaction of its own.
		kit.Until(t, time.Minute, "the sessions end", func() bool { return c.Sessions() <= before })
		for before := ""; before != c.Position(); time.Sleep(100 * time.Millisecond) {
			before = c.Position()
		}
	}
	for i := range moves {
		write(200 + r.IntN(600))
		old := c.Primary
		next := (old + 1 + r.IntN(2)) % 3
		died := i%2 == 1
		if died {
			// Half of the time the archive is behind when the primary dies: it gets the rest from the next one.
			c.CatchUp()
			c.Server().Kill()
		} else {
			c.Demote()
			c.CatchUp()
		}
		s.promote(next)
		c.Replicate(3-old-next, next)
		if died {
			c.Servers[old].Restart()
		}
		c.Replicate(old, next)
		began := time.Now()
		s.Await("the new primary", func(is kit.Status) bool { return is.Host == s.Server.Addr && is.SemiSync.Kept })
		t.Logf("move %d, died %v: server %d is followed after %.1f s", i+1, died, s.Server.ServerID, time.Since(began).Seconds())
	}
	write(400)
	s.archived()
	s.Stop()
	s.Run("verify", "shop", "--data")
	again := s.Restore()
	if err := workload.Compare(again.Conn(), s.Truth("the end")); err != nil {
		t.Error(err)
	}
	if err := load.CheckInvariants(again.Conn()); err != nil {
		t.Error(err)
	}
}
