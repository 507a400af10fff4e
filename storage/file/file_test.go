package file_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/fault"
	"tidemark/storage"
	"tidemark/storage/file"
	"tidemark/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		return open(t, durable.OS{}, filepath.Join(t.TempDir(), "archive")) // which is not there yet
	})
}

// TestConformanceInMemory: tests of crashes put the archive into a Mem.
func TestConformanceInMemory(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, durabletest.NewMem(), "/srv/archive") })
}

func TestUploadMemory(t *testing.T) {
	storagetest.UploadMemory(t, open(t, durable.OS{}, t.TempDir()), 40<<20, 4<<20)
}

func TestURL(t *testing.T) {
	s := open(t, durable.OS{}, "/var/lib/tide mark/archive/")
	if got, want := s.URL(), "file:///var/lib/tide%20mark/archive"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(path); !fault.Is(err, fault.Storage) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("opened a file as a directory: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "not", "there")
	if _, err := file.Open(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open made a directory: %v", err)
	}
}

// TestOrder holds what is synced, and when: every directory made, each once a process.
func TestOrder(t *testing.T) {
	fsys := durabletest.New(durabletest.NewMem(), nil)
	s := open(t, fsys, "/archive")
	put := func(key string, ifAbsent bool) error { return s.Put(t.Context(), key, []byte("x"), ifAbsent) }
	for _, o := range []struct {
		name, about string
		run         func() error
	}{
		{"Put-first", "The first put of a process: it makes the directories, and syncs the name of each.", func() error { return put("a/b/k", true) }},
		{"Put", "Put over an object.", func() error { return put("a/b/k", false) }},
		{"PutIfAbsent", "Put if absent.", func() error { return put("a/b/l", true) }},
		{"PutIfAbsent-exists", "Put if absent of a key that exists: that it is reported makes it durable.", func() error {
			if err := put("a/b/l", true); !errors.Is(err, storage.ErrExist) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		}},
		{"Upload", "Upload.", func() error { _, err := s.Upload(t.Context(), "a/b/u", strings.NewReader("x")); return err }},
		{"Delete", "Delete.", func() error { return s.Delete(t.Context(), "a/b/u") }},
		{"Delete-again", "Delete of what is not there: who removed it may have died before the sync.", func() error { return s.Delete(t.Context(), "a/b/u") }},
		{"Put-restart", "The first put after a restart: the name of a directory that is there may not be synced.", func() error {
			s = open(t, fsys, "/archive")
			return put("a/b/k", false)
		}},
		{"List", "List: what it shows is durable.", func() error { _, err := list(t, s, "a/b/", ""); return err }},
	} {
		t.Run(o.name, func(t *testing.T) {
			fsys.Reset()
			if err := o.run(); err != nil {
				t.Fatal(err)
			}
			durabletest.Golden(t, o.name, o.about, fsys.Log())
		})
	}
}

// TestDirectoryVanishes: someone who removes a directory we have made does not stop us.
func TestDirectoryVanishes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, durable.OS{}, filepath.Join(dir, "archive"))
	for range 2 {
		if err := s.Put(t.Context(), "a/b/k", nil, true); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "archive")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFailures fails every file operation of every write in turn. The caller hears of it, the old
// object or the new one is there, whole, and afterwards the store works.
func TestFailures(t *testing.T) {
	writes := map[string]func(s storage.Store, data string) error{
		"put":           func(s storage.Store, data string) error { return s.Put(t.Context(), "a/b/k", []byte(data), false) },
		"put if absent": func(s storage.Store, data string) error { return s.Put(t.Context(), "a/b/k", []byte(data), true) },
		"upload": func(s storage.Store, data string) error {
			_, err := s.Upload(t.Context(), "a/b/k", strings.NewReader(data))
			return err
		},
		"delete": func(s storage.Store, _ string) error { return s.Delete(t.Context(), "a/b/k") },
	}
	for name, write := range writes {
		for _, old := range []string{"", "old"} {
			for at := 0; ; at++ {
				dir := t.TempDir()
				s := open(t, durable.OS{}, dir)
				if old != "" {
					if err := s.Put(t.Context(), "a/b/k", []byte(old), true); err != nil {
						t.Fatal(err)
					}
				}
				n, failed := 0, ""
				s = open(t, durabletest.New(durable.OS{}, func(op, path string) error {
					if op == "stat" && path == dir {
						return nil // by open
					}
					n++
					if n == at+1 {
						failed = op
						return syscall.ENOSPC
					}
					return nil
				}), dir)
				err := write(s, "new")
				if failed == "" {
					break // there are no more operations
				}
				where := fmt.Sprintf("%s over %q, operation %d (%s)", name, old, at, failed)
				exists := name == "put if absent" && old != "" && errors.Is(err, storage.ErrExist)
				harmless := failed == "remove" && name != "delete" || failed == "stat" && (name == "delete" || exists)
				switch {
				case harmless && (err == nil || exists):
				case !fault.Is(err, fault.Storage) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "full"):
					t.Errorf("%s: got %v", where, err)
				}
				got, gerr := os.ReadFile(filepath.Join(dir, "a/b/k"))
				want := "new"
				if name == "delete" {
					want = "" // nothing
				}
				if string(got) != want && string(got) != old {
					t.Errorf("%s: object has %q, %v", where, got, gerr)
				}
				if err == nil && string(got) != want {
					t.Errorf("%s: reported done, object has %q", where, got)
				}
				if seen, err := list(t, s, "", ""); err != nil || len(seen) > 1 {
					t.Errorf("%s: lists %q, %v", where, seen, err)
				}
				if err := s.Put(t.Context(), "a/b/k", []byte("newer"), false); err != nil {
					t.Errorf("%s: then %v", where, err)
				}
				if got, _ := os.ReadFile(filepath.Join(dir, "a/b/k")); string(got) != "newer" {
					t.Errorf("%s: then object has %q", where, got)
				}
			}
		}
	}
}

// TestHints: what the operator is told to do.
func TestHints(t *testing.T) {
	dir := t.TempDir()
	put := func(s storage.Store) error { return s.Put(t.Context(), "k", nil, true) }
	get := func(s storage.Store) error { _, err := s.Get(t.Context(), "j", 0, -1); return err }
	tests := []struct {
		op   string
		err  error
		run  func(s storage.Store) error
		want string
	}{
		{"create", syscall.EACCES, put, "not writable by this user"},
		{"create", syscall.EROFS, put, "read-only"},
		{"create", syscall.EDQUOT, put, "full"},
		{"write", syscall.ENOSPC, put, "full"},
		{"sync", syscall.EIO, put, "kernel log"},
		{"link", &os.LinkError{Op: "link", Err: syscall.EPERM}, put, "no hard links"},
		{"link", &os.LinkError{Op: "link", Err: syscall.ENOTSUP}, put, "no hard links"},
		{"open", syscall.EACCES, get, "not readable by this user"},
		{"readdir", syscall.EACCES, func(s storage.Store) error { _, err := list(t, s, "", ""); return err }, "not readable by this user"},
	}
	if err := open(t, durable.OS{}, dir).Put(t.Context(), "j", nil, false); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		s := open(t, durabletest.New(durable.OS{}, func(op, path string) error {
			if op == tt.op && strings.HasPrefix(path, dir) {
				return tt.err
			}
			return nil
		}), dir)
		err := tt.run(s)
		if !fault.Is(err, fault.Storage) || !errors.Is(err, tt.err) {
			t.Errorf("%s %v: got %v", tt.op, tt.err, err)
		}
		if hint := fault.HintOf(err); !strings.Contains(hint, tt.want) || !strings.Contains(hint, dir) {
			t.Errorf("%s %v: hint %q", tt.op, tt.err, hint)
		}
	}
}

// TestReadFails: a disk that fails under an open object is a failure, not its end.
func TestReadFails(t *testing.T) {
	reads := 0
	s := open(t, durabletest.New(durable.OS{}, func(op, path string) error {
		if op == "read" {
			if reads++; reads > 1 {
				return syscall.EIO
			}
		}
		return nil
	}), t.TempDir())
	if err := s.Put(t.Context(), "k", make([]byte, 100_000), false); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.ReadAll(t.Context(), s, "k", 1<<20); !fault.Is(err, fault.Storage) || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
}

// TestDirectoryInTheWay: a name cannot be a file and a directory; that is neither "exists" nor silent.
func TestDirectoryInTheWay(t *testing.T) {
	s := open(t, durable.OS{}, t.TempDir())
	if err := s.Put(t.Context(), "a/b", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a/b/c"} {
		for _, ifAbsent := range []bool{true, false} {
			err := s.Put(t.Context(), key, nil, ifAbsent)
			if !fault.Is(err, fault.Storage) || errors.Is(err, storage.ErrExist) || errors.Is(err, storage.ErrNotExist) {
				t.Errorf("put %s, if absent %v: %v", key, ifAbsent, err)
			}
		}
	}
	if seen, err := list(t, s, "", ""); err != nil || !slices.Equal(seen, []string{"a/b"}) {
		t.Errorf("lists %q, %v", seen, err)
	}
}

// TestForeignFiles: what is no object is not listed, and what is linked to is.
func TestForeignFiles(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	s := open(t, durable.OS{}, dir)
	for _, key := range []string{"base/x/manifest.json", "base.json", "z"} {
		if err := s.Put(t.Context(), key, []byte("x"), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Rename(filepath.Join(dir, "base"), filepath.Join(elsewhere, "base")),
		os.Symlink(filepath.Join(elsewhere, "base"), filepath.Join(dir, "base")),
		os.Symlink(filepath.Join(elsewhere, "nothing"), filepath.Join(dir, "dangling")),
		os.Mkdir(filepath.Join(dir, "lost+found"), 0),
		os.WriteFile(filepath.Join(dir, "notes of ops.txt"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, ".tmp~1"), nil, 0o600),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	seen, err := list(t, s, "", "")
	if want := []string{"base.json", "base/x/manifest.json", "z"}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("lists %q, %v; want %q", seen, err, want)
	}
	if err := s.Put(t.Context(), "base/y/manifest.json", []byte("y"), true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "base/y/manifest.json")); err != nil {
		t.Error(err)
	}
}

// TestListReadsLittle: a listing opens only the directories that can hold what it is asked for.
func TestListReadsLittle(t *testing.T) {
	dir := t.TempDir()
	s := open(t, durable.OS{}, dir)
	for c := range 3 {
		for l := range 10 {
			if err := s.Put(t.Context(), fmt.Sprintf("c%d/log/%02d/x", c, l), nil, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	fsys := durabletest.New(durable.OS{}, nil)
	s = open(t, fsys, dir)
	for _, tt := range []struct {
		prefix, after string
		want          []string
	}{
		{"c1/log/03/", "", []string{"/c1/log/03"}},
		{"c1/log/0", "c1/log/08/a", []string{"/c1/log", "/c1/log/08", "/c1/log/09"}},
		{"c", "c2/log/09/", []string{"", "/c2", "/c2/log", "/c2/log/09"}},
		{"", "c2/log/09/x", []string{"", "/c2", "/c2/log", "/c2/log/09"}},
		{"", "c2/log/09/x/", []string{"", "/c2", "/c2/log", "/c2/log/09"}},
		{"", "d", []string{""}},
		{"nothing/", "", []string{"/nothing"}},
	} {
		fsys.Reset()
		if _, err := list(t, s, tt.prefix, tt.after); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range fsys.Log() {
			if path, ok := strings.CutPrefix(line, "readdir "+dir); ok {
				got = append(got, path)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("list %q after %q reads %q, want %q", tt.prefix, tt.after, got, tt.want)
		}
	}
	fsys.Reset()
	for range s.List(t.Context(), "", "") {
		break
	}
	if n := strings.Count(strings.Join(fsys.Log(), "\n"), "readdir "); n != 4 {
		t.Errorf("the first object took %d directories, want 4", n)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := open(t, durable.OS{}, dir)
	old := time.Now().Add(-48 * time.Hour)
	if err := s.Put(t.Context(), "a/b/k", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".tmp~old", "a/b/.tmp~old", "a/b/.tmp~new", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".tmp~old", "a/b/.tmp~old", "a/b/k", "notes"} {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		if n, err := s.Sweep(t.Context(), time.Now().Add(-24*time.Hour)); n != want || err != nil {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
	for _, name := range []string{"a/b/k", "a/b/.tmp~new", "notes"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if n, err := open(t, durable.OS{}, filepath.Join(dir, "none")).Sweep(t.Context(), time.Now()); n != 0 || err != nil {
		t.Errorf("swept %d of nothing, %v", n, err)
	}
}

func open(t *testing.T, fsys durable.FS, dir string) *file.Store {
	t.Helper()
	s, err := file.New(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func list(t *testing.T, s storage.Store, prefix, after string) ([]string, error) {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}
