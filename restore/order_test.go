package restore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/mysqld"
)

// TestOrder holds the order in which a restore records what it does, and when it gives up that the target is its own.
func TestOrder(t *testing.T) {
	plan := &Plan{Cluster: "shop", Target: "latest", base: new(catalog.Base)}
	user := mysqld.User{UID: os.Getuid(), GID: os.Getgid()}
	dir := t.TempDir()
	fsys := durabletest.New(durable.OS{}, nil)
	var w *workspace
	take := func() (err error) {
		if w, err = claim(fsys, filepath.Join(dir, "data")); err == nil {
			err = w.begin(plan, noon)
		}
		return err
	}
	for _, o := range []struct {
		name, about string
		run         func() error
	}{
		{"begin", "A restore begins: who fills the target is recorded before the target has anything that says so.", take},
		{"checkpoint", "A checkpoint.", func() error { return w.save() }},
		{"again", "A restore begins again: what was in the target is gone from the disk before the marker is, without which it would be somebody else's.", func() error {
			if err := os.WriteFile(filepath.Join(dir, "data", "ibdata1"), []byte("x"), 0o600); err != nil {
				return err
			}
			w.release()
			return take()
		}},
		{"end", "A restore ends: the files, then that it is done, then the marker.", func() error {
			err := os.WriteFile(filepath.Join(dir, "data", "ibdata1"), []byte("x"), 0o600)
			return errors.Join(err, w.finish(user, new(Report)), w.tidy())
		}},
	} {
		t.Run(o.name, func(t *testing.T) {
			fsys.Reset()
			if err := o.run(); err != nil {
				t.Fatal(err)
			}
			log := fsys.Log()
			for i := range log {
				log[i] = strings.ReplaceAll(strings.ReplaceAll(log[i], dir, "/D"), filepath.Dir(dir), "/")
			}
			durabletest.Golden(t, o.name, o.about, log)
		})
	}
	w.release()
}

// TestKilledBegin kills a restore at each step of its beginning, and of its beginning again: the same command goes on.
func TestKilledBegin(t *testing.T) {
	plan := &Plan{Cluster: "shop", Target: "latest", base: new(catalog.Base)}
	for _, again := range []bool{false, true} {
		for at := 1; ; at++ {
			target := filepath.Join(t.TempDir(), "data")
			begin := func(fsys durable.FS) error {
				w, err := claim(fsys, target)
				if err == nil {
					err = w.begin(plan, noon)
					w.release()
				}
				return err
			}
			if again {
				if err := begin(durable.OS{}); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(target, "ibdata1"), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m := durabletest.NewMortal(durable.OS{}, at)
			if err := begin(m); err != nil && !m.Dead() {
				t.Fatal(err)
			}
			if err := begin(durable.OS{}); err != nil {
				t.Errorf("again %v, killed at step %d: %v\n%s", again, at, err, strings.Join(durabletest.Steps(m.Log()), "\n"))
			}
			if entries, err := os.ReadDir(target); err != nil || len(entries) != 1 {
				t.Errorf("again %v, killed at step %d: %d entries beside the marker, %v", again, at, len(entries)-1, err)
			}
			if !m.Dead() {
				break
			}
		}
	}
}
