package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
)

// paths are what is made durable here, each beginning with a file /d/old.
var paths = []struct {
	name, about string
	run         func(fsys durable.FS) error
	after       string // what /d then has
}{
	{"WriteFileAtomic", "WriteFileAtomic over a file that is there.", func(fsys durable.FS) error {
		return durable.WriteFileAtomic(fsys, "/d/old", []byte("new"))
	}, "old=new"},
	{"WriteStreamAtomic", "WriteStreamAtomic over a file that is there.", func(fsys durable.FS) error {
		_, err := durable.WriteStreamAtomic(fsys, "/d/old", strings.NewReader("new"))
		return err
	}, "old=new"},
	{"WriteFileExclusive", "WriteFileExclusive. That the temporary name goes needs no sync: whoever finds it removes it.", func(fsys durable.FS) error {
		return durable.WriteFileExclusive(fsys, "/d/f", []byte("new"))
	}, "f=new old=old"},
	{"WriteFileExclusive-exists", "WriteFileExclusive of a name that is there: who hears that goes on to rely on it, so it is synced.", func(fsys durable.FS) error {
		if err := durable.WriteFileExclusive(fsys, "/d/old", []byte("new")); !errors.Is(err, fs.ErrExist) {
			return errors.Join(err, errors.New("it does not say that the file exists"))
		}
		return nil
	}, "old=old"},
	{"Remove", "Remove.", func(fsys durable.FS) error { return durable.Remove(fsys, "/d/old") }, ""},
	{"MkdirAll", "MkdirAll of two directories below one that is there: each name is synced before one below it is made.", func(fsys durable.FS) error {
		return durable.MkdirAll(fsys, "/d/a/b")
	}, "a/b/ old=old"},
	{"MkdirAll-exists", "MkdirAll of a directory that is there: who made it may have died before the sync.", func(fsys durable.FS) error {
		return durable.MkdirAll(fsys, "/d")
	}, "old=old"},
}

// begin is a disk with /d/old on it.
func begin(t *testing.T) *durabletest.Mem {
	t.Helper()
	m := durabletest.NewMem()
	if err := errors.Join(durable.MkdirAll(m, "/d"), durable.WriteFileAtomic(m, "/d/old", []byte("old"))); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestOrder holds the order of operations on which durability rests.
func TestOrder(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			fsys := durabletest.New(begin(t), nil)
			if err := p.run(fsys); err != nil {
				t.Fatal(err)
			}
			durabletest.Golden(t, p.name, p.about, fsys.Log())
		})
	}
}

// TestCrash loses power before, after and at every step of each path: what was there is there or what was
// to come, whole; and what was reported done is done, whatever becomes of what was not synced.
func TestCrash(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			for at := 1; ; at++ {
				m := begin(t)
				fsys := durabletest.NewMortal(m, at)
				err := p.run(fsys)
				for seed := range uint64(50) {
					for _, fate := range []durabletest.Fate{durabletest.Lost, durabletest.Kept, durabletest.Torn} {
						after := m.Crash(fate, rand.New(rand.NewPCG(seed, 0)))
						got := content(t, after, "/d", "")
						partly := p.name == "MkdirAll" && got == "a/ old=old"
						if got != p.after && (err == nil || got != "old=old" && !partly) {
							t.Errorf("step %d, %s, seed %d: %v, and then %q", at, fate, seed, err, got)
						}
						if err := p.run(after); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
							t.Errorf("step %d, %s, seed %d: again: %v", at, fate, seed, err)
						}
					}
				}
				if !fsys.Dead() {
					break
				}
			}
		})
	}
}

// content is what a directory has, as "name=bytes name/", without temporary files.
func content(t *testing.T, fsys durable.FS, dir, prefix string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir, func(e fs.DirEntry) bool { return !durable.IsTemp(e.Name()) })
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		path := dir + "/" + e.Name()
		if e.IsDir() {
			below := content(t, fsys, path, prefix+e.Name()+"/")
			all = append(all, below)
			continue
		}
		all = append(all, prefix+e.Name()+"="+read(t, fsys, path))
	}
	if len(all) == 0 {
		return prefix
	}
	return strings.Join(all, " ")
}

func read(t *testing.T, fsys durable.FS, path string) string {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
