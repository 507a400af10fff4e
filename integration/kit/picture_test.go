package kit

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPicture: each way to touch a file shows, and what is left out does not.
func TestPicture(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	large := make([]byte, small+1)
	for _, touch := range []struct {
		name string
		by   func() error
		seen bool
	}{
		{"a new file", func() error { return os.WriteFile(at("b/new"), nil, 0o600) }, true},
		{"a new directory", func() error { return os.Mkdir(at("new"), 0o700) }, true},
		{"removed", func() error { return os.Remove(at("b/file")) }, true},
		{"other bytes at the same time", func() error {
			info, err := os.Stat(at("b/file"))
			if err != nil {
				return err
			}
			if err := os.WriteFile(at("b/file"), []byte("after!"), 0o600); err != nil {
				return err
			}
			return os.Chtimes(at("b/file"), time.Time{}, info.ModTime())
		}, true},
		{"a large one written", func() error { return os.WriteFile(at("b/large"), large, 0o600) }, true},
		{"another mode", func() error { return os.Chmod(at("b/file"), 0o644) }, true},
		{"another file of the same name", func() error { return os.Rename(at("b/other"), at("b/file")) }, true},
		{"left out", func() error { return os.WriteFile(at("out/new"), nil, 0o600) }, false},
		{"nothing", func() error { return nil }, false},
	} {
		t.Run(touch.name, func(t *testing.T) {
			for _, d := range []string{"b", "out", "new"} {
				if err := os.RemoveAll(at(d)); err != nil {
					t.Fatal(err)
				}
			}
			for name, data := range map[string][]byte{"b/file": []byte("before"), "b/other": []byte("before"), "b/large": large} {
				if err := os.MkdirAll(at("b"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at(name), data, 0o600); err != nil {
					t.Fatal(err)
				}
				old := time.Now().Add(-time.Hour)
				if err := os.Chtimes(at(name), old, old); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(at("out"), 0o700); err != nil {
				t.Fatal(err)
			}
			before := take(t, []string{dir}, []string{at("out")})
			if err := touch.by(); err != nil {
				t.Fatal(err)
			}
			if after := take(t, []string{dir}, []string{at("out")}); maps.Equal(before, after) == touch.seen {
				t.Errorf("%v became %v", before, after)
			}
		})
	}
}
