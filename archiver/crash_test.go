package archiver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/fault"
	"tidemark/internal/verify"
)

// torn is how many ways of tearing are tried at each step.
const torn = 3

// everyDay is how many steps of the session are tried unless TIDEMARK_N says more.
const everyDay = 60

// TestCrash loses power before every step of a session, that is before everything it does to a file of the
// spool or the archive; what was not synced is lost, kept, or torn, in both of them or in one. It also kills the process alone there:
// then the next one finds what was not synced, goes on from it, and loses power in its turn. Whatever is left,
// what was reported is there, all that is committed is whole, the next start needs nobody, and in the end the
// archive is the primary's log, byte for byte.
func TestCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("TIDEMARK_SEED"), 10, 64); err == nil {
		seed = s
	}
	c := &campaign{seed: seed, p: sample(1, 3000, 9000)}
	steps := c.whole(t)
	points := everyDay
	if n, err := strconv.Atoi(os.Getenv("TIDEMARK_N")); err == nil && n > 0 {
		points = n
	} else if testing.Short() {
		points = 15
	}
	stride := max(1, steps/points)
	t.Run("step", func(t *testing.T) {
		for at := 1 + int(seed%uint64(stride)); at <= steps; at += stride {
			t.Run(fmt.Sprint(at), func(t *testing.T) {
				t.Parallel()
				c.at(t, at)
			})
		}
	})
	t.Logf("seed %d: a session of %d steps, ended at %d of them: %d losses of power, %d kills before one, %d acknowledgements",
		seed, steps, c.deaths.Load(), c.crashes.Load(), c.kills.Load(), c.acks.Load())
	if c.acks.Load() == 0 || c.kills.Load() == 0 {
		t.Error("nothing was acknowledged, or nothing killed")
	}
}

// campaign is crashes of one session.
type campaign struct {
	seed uint64
	p    *primary

	deaths, crashes, kills, acks atomic.Int64
}

// whole runs sessions that do not crash, and returns how many steps the longest has.
func (c *campaign) whole(t *testing.T) int {
	steps := 0
	for i := range uint64(6) {
		m := durabletest.NewMortal(durabletest.NewMem(), 0)
		s := sessionOn(t, m, m, c.p, Ack(i%3), int64(i%2)<<20, rand.New(rand.NewPCG(c.seed, i)), new(claims))
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		s.b.check(c.p, nil)
		steps = max(steps, m.Steps())
	}
	return steps
}

// at ends a session before one of its steps, in each way.
func (c *campaign) at(t *testing.T, at int) {
	rng := rand.New(rand.NewPCG(c.seed, uint64(at)))
	var l *life
	for try := 0; l == nil || !l.Dead(); try++ { // a session is not always as long as the longest
		if try == 20 {
			return
		}
		l = &life{ack: Ack(rng.IntN(3)), keep: int64(rng.IntN(2)) << 20, disk: durabletest.NewMem(), said: new(claims)}
		c.live(t, l, at, rng)
	}
	c.deaths.Add(1)
	if l.said.acked.File != "" {
		c.acks.Add(1)
	}
	for _, spool := range []durabletest.Fate{durabletest.Lost, durabletest.Kept} {
		for _, archive := range []durabletest.Fate{durabletest.Lost, durabletest.Kept} {
			c.crash(t, l, spool, archive, rng)
		}
	}
	for range torn {
		c.crash(t, l, durabletest.Torn, durabletest.Torn, rng)
	}
	soon := []int{12, 150}[rng.IntN(2)] // within the recovery, or later
	if c.live(t, l, 1+rng.IntN(soon), rng); l.Dead() {
		c.kills.Add(1)
		c.crash(t, l, durabletest.Lost, durabletest.Lost, rng)
		c.crash(t, l, durabletest.Torn, durabletest.Torn, rng)
	}
}

// life is one process after the other on a disk.
type life struct {
	*durabletest.Mortal // the present one
	ack                 Ack
	keep                int64 // for compaction
	disk                *durabletest.Mem
	said                *claims
	log                 []string // steps
}

// live runs the session in a process that dies before a step.
func (c *campaign) live(t *testing.T, l *life, at int, rng *rand.Rand) {
	l.Mortal = durabletest.NewMortal(l.disk, at)
	err := sessionOn(t, l.Mortal, l.Mortal, c.p, l.ack, l.keep, rng, l.said).run()
	l.log = append(append(l.log, "a process begins"), durabletest.Steps(l.Log())...)
	if err != nil && !l.Dead() {
		t.Fatalf("seed %d: a process that is alive: %v\n%s", c.seed, err, strings.Join(l.log, "\n"))
	}
}

// crash starts again on what a loss of power leaves; the spool and the archive may be on disks of their own.
func (c *campaign) crash(t *testing.T, l *life, spool, archive durabletest.Fate, rng *rand.Rand) {
	c.crashes.Add(1)
	leftSpool, leftArchive := l.disk.Crash(spool, rng), l.disk.Crash(archive, rng)
	t.Run(fmt.Sprintf("spool %s, archive %s", spool, archive), func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Logf("TIDEMARK_SEED=%d, ack %d, keep %d, reported %+v, after these steps:\n%s", c.seed, l.ack, l.keep, *l.said, strings.Join(l.log, "\n"))
			}
		}()
		s := sessionOn(t, leftSpool, leftArchive, c.p, l.ack, l.keep, nil, l.said)
		s.p.waits = false
		s.committed()
		s.reported()
		// Twice: after the recovery there must be nothing left to do.
		s.b.finish(s.p)
		s.b.finish(s.p)
		s.b.check(s.p, nil)
		s.committed()
	})
}

// committed fails unless all is whole that a manifest names, down to its bytes, and as far as the spool knows.
func (s *session) committed() {
	s.b.t.Helper()
	ctx := context.Background()
	c, err := catalog.Open(ctx, s.b.store, "shop", "test")
	if fault.Is(err, fault.NoArchive) && s.said.archived.File == "" && !s.said.base {
		return
	}
	if err != nil {
		s.b.t.Fatal(err)
	}
	anchor, err := ReadAnchor(s.b.options.FS, s.b.options.Dir)
	if err != nil {
		s.b.t.Fatal(err)
	}
	r, err := verify.Run(ctx, c, verify.Options{Data: true, Anchor: anchor, Clock: clock.System{}})
	if err != nil {
		s.b.t.Errorf("verify: %v", err)
	}
	if r != nil && err != nil {
		s.b.t.Errorf("%+v", r.Findings)
	}
	if r != nil && s.said.base && r.Bases == 0 {
		s.b.t.Error("the base backup is lost")
	}
}

// reported fails unless the next archiver finds all that was reported, where it was reported to be.
func (s *session) reported() {
	s.b.t.Helper()
	a := s.b.mustOpen()
	if kept := keeping(s.b.t, a); s.b.options.Keep == 0 && len(kept) > 0 {
		s.b.t.Errorf("kept are %v", kept)
	}
	stats := a.Stats()
	run(a).kill()
	spooled, archived, acked := stats.Spooled.Point, stats.Archived.Point, stats.Spooled.Point
	if s.b.options.Ack == AckArchive {
		acked = archived
	}
	if s.p.order(spooled, s.said.spooled) < 0 || s.p.order(archived, s.said.archived) < 0 || s.p.order(acked, s.said.acked) < 0 {
		s.b.t.Errorf("%s is spooled and %s archived", spooled, archived)
	}
}
