package file_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/storage"
)

// TestCrash ends a process at every step of every write to a new archive, and of a removal. Whether the power is lost with it, or
// after the next process has written the same or has listed what is there: an object is there whole or not at
// all, what was reported done is done, and what was listed stays.
func TestCrash(t *testing.T) {
	const key = "a/b/k"
	put := func(s storage.Store) error { return s.Put(t.Context(), key, []byte("x"), false) }
	for _, w := range []struct {
		name  string
		write func(s storage.Store) error
		done  string // what there is then
	}{
		{"put", put, "x"},
		{"put if absent", func(s storage.Store) error { return s.Put(t.Context(), key, []byte("x"), true) }, "x"},
		{"upload", func(s storage.Store) error { _, err := s.Upload(t.Context(), key, strings.NewReader("x")); return err }, "x"},
		{"delete", func(s storage.Store) error { return s.Delete(t.Context(), key) }, ""},
	} {
		t.Run(w.name, func(t *testing.T) {
			for at := 1; ; at++ {
				disk := durabletest.NewMem()
				if w.done == "" {
					if err := put(open(t, disk, "/archive")); err != nil {
						t.Fatal(err)
					}
				}
				m := durabletest.NewMortal(disk, at)
				err := w.write(open(t, m, "/archive"))
				for seed := range uint64(20) {
					for _, fate := range []durabletest.Fate{durabletest.Lost, durabletest.Kept, durabletest.Torn} {
						left := disk.Crash(fate, rand.New(rand.NewPCG(seed, 0)))
						if got := object(t, left, key); got != "" && got != "x" || err == nil && got != w.done {
							t.Errorf("step %d, %s, seed %d: %v, and %q is there", at, fate, seed, err, got)
						}
					}
				}
				if !m.Dead() {
					break
				}
				listed := disk.Clone()
				seen, err := list(t, open(t, listed, "/archive"), "", "")
				if got := object(t, listed.Crash(durabletest.Lost, nil), key); err != nil || len(seen) > 0 && got != "x" {
					t.Errorf("step %d: the next process lists %q, %v, and %q stays", at, seen, err, got)
				}
				if err := w.write(open(t, disk, "/archive")); err != nil && !errors.Is(err, storage.ErrExist) {
					t.Errorf("step %d: the next process: %v", at, err)
				}
				if got := object(t, disk.Crash(durabletest.Lost, nil), key); got != w.done {
					t.Errorf("step %d: after the next process %q is there", at, got)
				}
			}
		})
	}
}

// object is what an object holds; "" when there is none.
func object(t *testing.T, fsys durable.FS, key string) string {
	t.Helper()
	data, err := storage.ReadAll(t.Context(), open(t, fsys, "/archive"), key, 10)
	if err != nil && !errors.Is(err, storage.ErrNotExist) {
		t.Fatal(err)
	}
	if err == nil && len(data) == 0 {
		t.Error("the object is empty")
	}
	return string(data)
}
