package expire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/verify"
	"tidemark/restore"
	"tidemark/storage"
)

// model is a history of which is known, without the archive, what must be there.
type model struct {
	*history
	rng    *rand.Rand
	policy Policy
	grace  time.Duration
	taken  []*catalog.Base
	kept   map[string]time.Time // until when, by base backup
	gone   map[string]bool      // base backups that have expired
	kills  int
}

// TestRandom runs random histories of backups, failovers, marks and runs of retention that are killed at any
// operation while a second one runs beside them. After each, every moment of the window and every base
// backup that is kept restores, and a check of everything finds nothing. TIDEMARK_N is how many.
func TestRandom(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TIDEMARK_N"))
	if err != nil {
		n = 10
	}
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("TIDEMARK_SEED"), 10, 64); err == nil {
		seed, n = s, 1
	}
	kills, expired := 0, 0
	for i := range n {
		seed := seed + uint64(i)
		m := &model{history: newHistory(t), rng: rand.New(rand.NewPCG(seed, 0)), kept: make(map[string]time.Time), gone: make(map[string]bool)}
		m.policy = Policy{Window: time.Duration(12+m.rng.IntN(60)) * hour, MinBackups: 1 + m.rng.IntN(3)}
		if m.rng.IntN(2) == 0 {
			m.policy.MaxBackups = m.policy.MinBackups + m.rng.IntN(3)
		}
		m.grace = []time.Duration{0, 0, 5 * hour, 24 * hour}[m.rng.IntN(4)]
		for step := range 14 {
			if err := m.step(); err != nil {
				t.Fatalf("TIDEMARK_SEED=%d, step %d of %+v, grace %s: %v", seed, step, m.policy, m.grace, err)
			}
		}
		kills += m.kills
		expired += len(m.gone)
	}
	t.Logf("%d histories, %d kills, %d base backups expired, seed %d", n, kills, expired, seed)
	if kills == 0 || expired == 0 {
		t.Error("nothing was tried")
	}
}

func (m *model) step() error {
	switch m.rng.IntN(8) {
	case 0, 1, 2:
		m.pass(1 + m.rng.IntN(24))
		m.taken = append(m.taken, m.base())
	case 3:
		m.pass(1 + m.rng.IntN(30))
	case 4:
		if b := m.newest(); len(b.a.Segments) > 6 && len(m.lines) < 4 {
			m.failover(m.rng.IntN(4))
			m.pass(1 + m.rng.IntN(10))
		}
	case 5:
		return m.mark()
	default:
		return m.retain()
	}
	return nil
}

// mark keeps a base backup, or releases it.
func (m *model) mark() error {
	if len(m.taken) == 0 {
		return nil
	}
	b := m.taken[m.rng.IntN(len(m.taken))]
	if m.gone[b.ID] {
		return nil
	}
	if _, kept := m.kept[b.ID]; kept {
		delete(m.kept, b.ID)
		return m.a.Catalog.PutKeep(ctx, &catalog.Keep{Base: b.ID, Released: true, Marked: m.now})
	}
	until := m.now.Add(time.Duration(1+m.rng.IntN(200)) * hour)
	m.kept[b.ID] = until
	return m.a.Catalog.PutKeep(ctx, &catalog.Keep{Base: b.ID, Until: until, Marked: m.now})
}

var errKilled = errors.New("killed")

// retain runs retention, killed at some operation, beside another run, and then to its end.
func (m *model) retain() error {
	if len(m.newest().a.Segments) == 0 {
		return nil
	}
	left, late := m.rng.IntN(400), m.rng.IntN(2) == 0
	var mu sync.Mutex
	store := storage.Faulty(m.store, func(op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		left--
		switch {
		case left == 0 && late: // done, and the answer lost
			return storage.After(errKilled)
		case left <= 0:
			return errKilled
		}
		return nil
	})
	cat, err := catalog.Open(ctx, m.a.Store, "default", "test")
	if err != nil {
		return err
	}
	killed, err := catalog.Open(ctx, store, "default", "test")
	o := Options{Policy: m.policy, Grace: m.grace, Clock: stopped(m.now)}
	var wg sync.WaitGroup
	var first, second error
	if err == nil {
		wg.Go(func() { _, first = Run(ctx, killed, o) })
	}
	if m.rng.IntN(2) == 0 {
		wg.Go(func() { _, second = Run(ctx, cat, o) })
	}
	wg.Wait()
	switch {
	case errors.Is(first, errKilled):
		m.kills++
		if err := m.promised(); err != nil {
			return fmt.Errorf("after the kill: %w", err)
		}
	case first != nil && !fault.Is(first, fault.Warnings):
		return fmt.Errorf("the first run: %w", first)
	}
	if second != nil && !fault.Is(second, fault.Warnings) {
		return fmt.Errorf("the second run: %w", second)
	}
	r, err := Run(ctx, cat, o)
	if err != nil && !fault.Is(err, fault.Warnings) {
		return fmt.Errorf("the run after it: %w", err)
	}
	if m.grace == 0 && r.Waiting > 0 {
		return fmt.Errorf("without a grace %d objects wait", r.Waiting)
	}
	return m.promised()
}

// promised checks that all that must be there is there.
func (m *model) promised() error {
	quick, err := verify.Run(ctx, m.a.Catalog, verify.Options{Clock: stopped(m.now)})
	if err != nil {
		return fmt.Errorf("quick check: %w: %+v", err, quick)
	}
	if err := m.clean(); err != nil {
		return err
	}
	begin := m.now.Add(-m.policy.Window)
	for i, b := range m.lines {
		newest := i == len(m.lines)-1
		if m.end(b).Before(begin) && !newest {
			continue
		}
		first, ok := m.firstOf(b, begin)
		if !ok {
			continue
		}
		if err := m.restorable(i+1, first); err != nil {
			return err
		}
	}
	there, err := m.a.Catalog.Bases(ctx)
	if err != nil {
		return err
	}
	if len(there) < min(m.policy.MinBackups, len(m.taken)) {
		return fmt.Errorf("%d of %d base backups stay", len(there), len(m.taken))
	}
	for _, b := range m.taken {
		stays := slices.ContainsFunc(there, func(c *catalog.Base) bool { return c.ID == b.ID })
		if !stays {
			m.gone[b.ID] = true
		}
		if until, kept := m.kept[b.ID]; kept && m.now.Before(until) {
			if !stays {
				return fmt.Errorf("base backup %s is kept, and gone", b.ID)
			}
			if err := m.alone(b); err != nil {
				return err
			}
		} else if kept {
			delete(m.kept, b.ID)
		}
	}
	return nil
}

// firstOf is the first moment that a timeline must restore to, if any base backup serves it.
func (m *model) firstOf(b *branch, begin time.Time) (first time.Time, ok bool) {
	for _, c := range m.taken {
		own := m.lines[c.Timeline-1]
		if own != b && (indexOf(m.lines, own) > indexOf(m.lines, b) || !m.common(b, own, c.Consistent.Add(time.Second))) {
			continue
		}
		if !ok || c.Consistent.Before(first) {
			first, ok = c.Consistent, true
		}
	}
	if first.Before(begin) {
		first = begin
	}
	return first, ok
}

// alone checks that a base backup restores to its own end.
func (m *model) alone(b *catalog.Base) error {
	target, err := restore.ToPosition(b.Source.String())
	if err != nil {
		return err
	}
	p, err := m.plans(int(b.Timeline), target)
	if err != nil {
		return fmt.Errorf("base backup %s, which is kept: %w", b.ID, err)
	}
	if p.Position() != b.PositionMax.GTID {
		return fmt.Errorf("base backup %s, which is kept, restores to %s", b.ID, p.Position())
	}
	return nil
}
