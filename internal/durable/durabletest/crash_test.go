package durabletest_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
)

// disk writes what a test of crashes begins with: /d/old, synced.
func disk(t *testing.T) *durabletest.Mem {
	t.Helper()
	m := durabletest.NewMem()
	if err := durable.MkdirAll(m, "/d"); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFileAtomic(m, "/d/old", []byte("old")); err != nil {
		t.Fatal(err)
	}
	return m
}

// content is what is in /d, as "name=bytes name=bytes".
func content(t *testing.T, m *durabletest.Mem) string {
	t.Helper()
	entries, err := m.ReadDir("/d", nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		f, err := m.Open("/d/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Name()+"="+string(data))
	}
	return strings.Join(all, " ")
}

// TestCrash: what is lost and what is kept of each kind of change, and that each step of its way to the disk
// can be had by tearing.
func TestCrash(t *testing.T) {
	write := func(m *durabletest.Mem, path string, sync bool) error {
		f, err := m.Create(path)
		if err == nil {
			_, err = io.WriteString(f, "new")
		}
		if err == nil && sync {
			err = f.Sync()
		}
		return err
	}
	for _, tt := range []struct {
		name string
		do   func(m *durabletest.Mem) error
		lost string
		kept string
		torn []string // others that must come of it
	}{
		{"nothing", func(*durabletest.Mem) error { return nil }, "old=old", "old=old", nil},
		{"write", func(m *durabletest.Mem) error { return write(m, "/d/f", false) }, "old=old", "f=new old=old", []string{"f= old=old", "f=n old=old"}},
		{"sync", func(m *durabletest.Mem) error { return write(m, "/d/f", true) }, "old=old", "f=new old=old", nil},
		{"write, syncdir", func(m *durabletest.Mem) error { return errors.Join(write(m, "/d/f", false), m.SyncDir("/d")) },
			"f= old=old", "f=new old=old", []string{"f=ne old=old", "f=\x00\x00\x00 old=old"}},
		{"sync, syncdir", func(m *durabletest.Mem) error { return errors.Join(write(m, "/d/f", true), m.SyncDir("/d")) },
			"f=new old=old", "f=new old=old", nil},
		{"rename", func(m *durabletest.Mem) error {
			return errors.Join(write(m, "/d/f", true), m.Rename("/d/f", "/d/old"))
		}, "old=old", "old=new", []string{"f=new old=old"}},
		{"remove", func(m *durabletest.Mem) error { return m.Remove("/d/old") }, "old=old", "", nil},
		{"link", func(m *durabletest.Mem) error { return m.Link("/d/old", "/d/too") }, "old=old", "old=old too=old", nil},
		{"append", func(m *durabletest.Mem) error {
			f, err := m.Append("/d/old")
			if err == nil {
				_, err = io.WriteString(f, "er")
			}
			return err
		}, "old=old", "old=older", []string{"old=olde", "old=old\x00\x00"}},
		{"truncate", func(m *durabletest.Mem) error {
			f, err := m.Edit("/d/old")
			if err == nil {
				err = f.Truncate(1)
			}
			return err
		}, "old=old", "old=o", []string{"old=ol"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := disk(t)
			if err := tt.do(m); err != nil {
				t.Fatal(err)
			}
			if got := content(t, m.Crash(durabletest.Lost, nil)); got != tt.lost {
				t.Errorf("lost: %q, want %q", got, tt.lost)
			}
			kept := m.Crash(durabletest.Kept, nil)
			if got := content(t, kept); got != tt.kept {
				t.Errorf("kept: %q, want %q", got, tt.kept)
			}
			if got := content(t, kept.Crash(durabletest.Lost, nil)); got != tt.kept {
				t.Errorf("what was found once is lost: %q, want %q", got, tt.kept)
			}
			var seen []string
			for seed := range uint64(500) {
				seen = append(seen, content(t, m.Crash(durabletest.Torn, rand.New(rand.NewPCG(seed, 0)))))
			}
			for _, want := range append([]string{tt.lost, tt.kept}, tt.torn...) {
				if !slices.Contains(seen, want) {
					t.Errorf("500 times torn, %q never came of it", want)
				}
			}
			if tt.lost == tt.kept && len(slices.Compact(slices.Sorted(slices.Values(seen)))) > 1 {
				t.Errorf("what was synced is torn: %q", seen)
			}
			twin := m.Clone()
			if got := content(t, twin.Crash(durabletest.Lost, nil)); got != tt.lost || content(t, twin) != tt.kept {
				t.Errorf("a clone has %q, and loses all but %q", content(t, twin), got)
			}
			if err := errors.Join(write(twin, "/d/more", true), twin.SyncDir("/d")); err != nil {
				t.Fatal(err)
			}
			if got := content(t, m); got != tt.kept {
				t.Errorf("a crash or a clone has changed what they are of: %q", got)
			}
		})
	}
}

// TestUnsyncedDirectory: what is below a directory whose name was not synced is lost with it.
func TestUnsyncedDirectory(t *testing.T) {
	m := disk(t)
	if err := errors.Join(m.Mkdir("/d/new"), durable.WriteFileAtomic(m, "/d/new/f", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if got := content(t, m.Crash(durabletest.Lost, nil)); got != "old=old" {
		t.Errorf("left %q", got)
	}
}

// TestMortal: a process does nothing after its death, and its lock can be had after the crash.
func TestMortal(t *testing.T) {
	m := disk(t)
	p := durabletest.NewMortal(m, 3)
	told := false
	p.WhenDead(func() { told = true })
	if _, err := p.TryLock("/d/lock"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.TryLock("/d/lock"); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	err := durable.WriteFileAtomic(p, "/d/f", []byte("x"))
	if !errors.Is(err, durabletest.ErrDead) || !p.Dead() || !told || p.Steps() < 3 {
		t.Errorf("%v, dead %v, told %v, %d steps", err, p.Dead(), told, p.Steps())
	}
	if _, err := p.Stat("/d/old"); !errors.Is(err, durabletest.ErrDead) {
		t.Errorf("a dead process reads: %v", err)
	}
	if steps := durabletest.Steps(p.Log()); len(steps) != 2 || !strings.HasPrefix(steps[1], "write ") {
		t.Errorf("steps %q", steps)
	}
	if _, err := m.Crash(durabletest.Kept, nil).TryLock("/d/lock"); err != nil {
		t.Errorf("after the crash: %v", err)
	}
}
