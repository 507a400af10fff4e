package expire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/compact"
	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/verify"
	"tidemark/storage/file"
)

// policy is that of the sessions that crash.
var policy = Policy{Window: 30 * hour, MinBackups: 2}

// TestCrashRetention loses power before every step that compaction and retention make in an archive that is a
// directory; what was not synced is lost, kept, or torn, or the process is killed alone and the next one loses
// power. Every moment of the window and every base backup that stays can be restored then, all is whole that a
// manifest names, and the next run ends what was begun.
func TestCrashRetention(t *testing.T) {
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("TIDEMARK_SEED"), 10, 64); err == nil {
		seed = s
	}
	disk := durabletest.NewMem()
	store, err := file.New(disk, "/archive")
	must(t, err)
	c := &crashes{h: historyIn(t, store), seed: seed, disk: disk}
	c.h.pass(10)
	for _, hours := range []int{20, 20, 15, 7} {
		c.h.base()
		c.h.pass(hours)
	}
	whole := durabletest.NewMortal(disk.Crash(durabletest.Kept, nil), 0)
	must(t, c.retain(whole))
	steps := whole.Steps()
	points := 25
	if n, err := strconv.Atoi(os.Getenv("TIDEMARK_N")); err == nil && n > 0 {
		points = n
	} else if testing.Short() {
		points = 10
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
	t.Logf("seed %d: %d steps, ended at %d of them: %d losses of power, %d kills before one", seed, steps, c.deaths.Load(), c.losses.Load(), c.kills.Load())
	if c.deaths.Load() == 0 {
		t.Error("nothing crashed")
	}
}

// crashes are those of one run of compaction and retention.
type crashes struct {
	h    *history
	seed uint64
	disk *durabletest.Mem // before the run

	deaths, losses, kills atomic.Int64
}

// on is the history in an archive on a file system, as another process opens it.
func (c *crashes) on(fsys durable.FS) (*history, error) {
	store, err := file.New(fsys, "/archive")
	if err != nil {
		return nil, err
	}
	cat, err := catalog.Open(ctx, store, "default", "test")
	if err != nil {
		return nil, err
	}
	h, a := *c.h, *c.h.a
	a.Catalog = cat
	h.a = &a
	return &h, nil
}

// retain compacts and expires.
func (c *crashes) retain(fsys durable.FS) error {
	h, err := c.on(fsys)
	if err != nil {
		return err
	}
	_, err = compact.Run(ctx, h.a.Catalog, compact.Options{Age: 5 * hour, Grace: -1, Clock: stopped(h.now), Writer: "test", Version: "test"})
	if err == nil {
		_, err = h.expire(policy, 0)
	}
	return err
}

// at ends a run before one of its steps, in each way.
func (c *crashes) at(t *testing.T, at int) {
	rng := rand.New(rand.NewPCG(c.seed, uint64(at)))
	disk := c.disk.Crash(durabletest.Kept, nil)
	m := durabletest.NewMortal(disk, at)
	if err := c.retain(m); !m.Dead() {
		must(t, err)
		return
	}
	log := durabletest.Steps(m.Log())
	c.deaths.Add(1)
	for _, fate := range []durabletest.Fate{durabletest.Lost, durabletest.Kept, durabletest.Torn, durabletest.Torn} {
		c.lose(t, disk, fate, rng, log)
	}
	next := durabletest.NewMortal(disk, 1+rng.IntN(12))
	if err := c.retain(next); !next.Dead() {
		must(t, err)
		return
	}
	c.kills.Add(1)
	c.lose(t, disk, durabletest.Lost, rng, append(append(log, "the next process:"), durabletest.Steps(next.Log())...))
}

// lose goes on after a loss of power.
func (c *crashes) lose(t *testing.T, disk *durabletest.Mem, fate durabletest.Fate, rng *rand.Rand, log []string) {
	c.losses.Add(1)
	left := disk.Crash(fate, rng)
	err := c.promised(left, 4)
	if err == nil {
		err = c.retain(left)
	}
	if err == nil {
		err = c.promised(left, 3)
	}
	again := durabletest.NewMortal(left, 0)
	if err == nil {
		err = c.retain(again)
	}
	for _, line := range durabletest.Steps(again.Log()) {
		if !strings.HasPrefix(line, "syncdir ") && err == nil {
			err = errors.New("it was not all done: " + line)
		}
	}
	if err != nil {
		t.Errorf("TIDEMARK_SEED=%d, %s: %v, after these steps:\n%s", c.seed, fate, err, strings.Join(log, "\n"))
	}
}

// promised checks that all is there that the policy promises, and of base backups no more than most.
func (c *crashes) promised(fsys durable.FS, most int) error {
	h, err := c.on(fsys)
	if err != nil {
		return err
	}
	r, err := verify.Run(ctx, h.a.Catalog, verify.Options{Data: true, Clock: stopped(h.now)})
	if err != nil {
		return fmt.Errorf("%w: %+v", err, r)
	}
	bases, err := h.a.Catalog.Bases(ctx)
	if err == nil && (len(bases) < 3 || len(bases) > most) {
		err = fmt.Errorf("there are %d base backups", len(bases))
	}
	if err != nil {
		return err
	}
	return h.restorable(1, h.now.Add(-policy.Window))
}
