package archiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/storage/file"
)

var errDead = errors.New("the process is dead")

// mortal is a file system whose process dies at one operation: that one and all after it fail. With
// power the machine dies too, and what was not synced is lost.
type mortal struct {
	*durabletest.FS
	disk *syncing

	mu   sync.Mutex
	ops  int
	at   int // the operation that it dies at; 0: never
	dead bool
	then func() // called at death
}

func newMortal(at int) *mortal {
	m := &mortal{at: at, disk: &syncing{FS: durable.OS{}}}
	m.FS = durabletest.New(m.disk, func(string, string) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.ops++; m.ops == m.at {
			m.dead = true
			if m.then != nil {
				m.then()
			}
		}
		if m.dead {
			return errDead
		}
		return nil
	})
	return m
}

func (m *mortal) died() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.dead }

// whenDead calls f when the process dies, or at once if it has.
func (m *mortal) whenDead(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.then = f; m.dead {
		f()
	}
}

// syncing knows how much of each file was synced. A file of an earlier process counts as synced.
type syncing struct {
	durable.FS
	sizes sync.Map // of path to int64
}

func (s *syncing) Create(path string) (durable.File, error) {
	f, err := s.FS.Create(path)
	if err != nil {
		return nil, err
	}
	s.sizes.Store(path, int64(0))
	return &syncedFile{f, s}, nil
}

func (s *syncing) Append(path string) (durable.File, error) {
	f, err := s.FS.Append(path)
	if err != nil {
		return nil, err
	}
	return &syncedFile{f, s}, nil
}

func (s *syncing) Rename(from, to string) error {
	err := s.FS.Rename(from, to)
	if n, ok := s.sizes.LoadAndDelete(from); ok && err == nil {
		s.sizes.Store(to, n)
	}
	return err
}

type syncedFile struct {
	durable.File
	s *syncing
}

func (f *syncedFile) Sync() error {
	info, err := f.File.Stat()
	if err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.s.sizes.Store(f.Name(), info.Size())
	return nil
}

func (f *syncedFile) Truncate(size int64) error {
	if n, ok := f.s.sizes.Load(f.Name()); ok && n.(int64) > size {
		f.s.sizes.Store(f.Name(), size)
	}
	return f.File.Truncate(size)
}

// lose does to the files what a loss of power may: bytes that were not synced are cut off, or are
// zeros or others.
func lose(t *testing.T, dir string, s *syncing, rng *rand.Rand) {
	t.Helper()
	s.sizes.Range(func(k, v any) bool {
		path, synced := k.(string), v.(int64)
		data, err := os.ReadFile(path)
		if err != nil || int64(len(data)) <= synced || !strings.HasPrefix(path, dir) {
			return true
		}
		data = data[:synced+rng.Int64N(int64(len(data))-synced+1)]
		if lost := data[synced:]; len(lost) > 0 {
			switch rng.IntN(3) {
			case 0:
				clear(lost[rng.IntN(len(lost)):])
			case 1:
				lost[rng.IntN(len(lost))] ^= 0x40
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return true
	})
}

// session archives in two connections, the first of which breaks, and closes in between. It returns
// when the process has died, or all is done.
func session(b *bench, p *primary, rng *rand.Rand) error {
	for _, limit := range []int{20_000 + rng.IntN(20_000), 0} {
		a, err := b.open()
		if err != nil {
			return err
		}
		r := run(a)
		err = feed(a, p, 4000, limit)
		if err == nil || errors.Is(err, errEnd) {
			err = feed(a, p, 1<<20, limit*2) // the same process connects again
		}
		if limit > 0 { // give it time to upload, or not
			time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
		}
		if !errors.Is(err, errEnd) {
			r.kill()
			return err
		}
		if err := r.stop(); err != nil {
			r.kill()
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if m, ok := b.options.FS.(*mortal); ok {
			m.whenDead(cancel)
		}
		err = a.Close(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func crashBench(t *testing.T, fs durable.FS) *bench {
	t.Helper()
	b := newBench(t)
	b.options.FS, b.options.MaxSize, b.options.MaxAge, b.options.HeadAge = fs, 8000, 5*time.Millisecond, 3*time.Millisecond
	store, err := file.New(fs, b.dir+"/archive")
	if err != nil {
		t.Fatal(err)
	}
	b.store = store
	return b
}

// keptAcked fails unless what was acknowledged is as safe as promised: in the spool, or in the archive
// alone.
func (b *bench) keptAcked(p *primary) {
	b.t.Helper()
	if len(p.acked) == 0 {
		return
	}
	a := b.mustOpen()
	s := a.Stats()
	run(a).kill()
	at := s.Spooled.Point
	if b.options.Ack == AckArchive {
		at = s.Archived.Point
	}
	if last := slices.MaxFunc(p.acked, p.order); p.order(at, last) < 0 {
		b.t.Errorf("%s was acknowledged, and %s is safe (%d)", last, at, b.options.Ack)
	}
}

// TestCrash kills the process, and in turn the machine, at every operation on a file. Whatever comes
// next finds all that was archived and all that was acknowledged, and in the end the archive is the
// primary's log, byte for byte.
func TestCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("TIDEMARK_SEED"), 10, 64); err == nil {
		seed = s
	}
	p := sample(1, 3000, 9000)
	whole := newMortal(0)
	b := crashBench(t, whole)
	if err := session(b, p, rand.New(rand.NewPCG(seed, 0))); err != nil {
		t.Fatal(err)
	}
	all := whole.ops
	b.check(p, nil)
	step := 7
	if n, err := strconv.Atoi(os.Getenv("TIDEMARK_N")); err == nil && n > 0 {
		step = max(1, all/n)
	} else if testing.Short() {
		step = 25
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	crashes, acks := 0, 0
	for at := 1 + rng.IntN(step); at < all; at += step {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			m := newMortal(at)
			b := crashBench(t, durable.OS{})
			b.options.FS, b.options.Ack, b.options.Keep = m, Ack(rng.IntN(3)), int64(rng.IntN(2))<<20
			p.waits, p.acked = b.options.Ack != AckNone, nil
			store, err := file.New(m, b.dir+"/archive")
			if err != nil {
				return // died at once
			}
			b.store = store
			_ = session(b, p, rng) // ends where the crash comes
			after := crashBench(t, durable.OS{})
			after.dir, after.options.Dir, after.options.Ack, after.options.Keep = b.dir, b.options.Dir, b.options.Ack, b.options.Keep
			if after.store, err = file.Open(filepath.Join(b.dir, "archive")); err != nil {
				t.Fatal(err)
			}
			if m.died() {
				if crashes++; crashes%2 == 0 {
					lose(t, b.dir, m.disk, rng)
				}
				acks += len(p.acked)
				after.keptAcked(p)
				p.waits = false
				// Twice: after the recovery there must be nothing left to do.
				after.finish(p)
				after.finish(p)
			}
			after.check(p, nil)
			a := after.mustOpen()
			if kept := keeping(t, a); after.options.Keep == 0 && len(kept) > 0 {
				t.Errorf("kept are %v", kept)
			}
			run(a).kill()
			if t.Failed() {
				log := m.Log()
				t.Logf("seed %d, operation %d, power %v: %s", seed, at, crashes%2 == 0, strings.Join(log[max(0, len(log)-20):], "\n"))
			}
		})
	}
	t.Logf("seed %d: %d crashes among %d operations, %d acknowledgements before them", seed, crashes, all, acks)
	if acks == 0 {
		t.Error("nothing was acknowledged")
	}
}
