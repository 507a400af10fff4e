package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
)

// writers are the functions that store a file, as one shape.
var writers = map[string]func(durable.FS, string, []byte) error{
	"WriteFileAtomic":    durable.WriteFileAtomic,
	"WriteFileExclusive": durable.WriteFileExclusive,
	"WriteStreamAtomic": func(fsys durable.FS, path string, data []byte) error {
		n, err := durable.WriteStreamAtomic(fsys, path, bytes.NewReader(data))
		if err == nil && n != int64(len(data)) {
			err = fmt.Errorf("reports %d bytes of %d", n, len(data))
		}
		return err
	},
}

// TestFailure fails each operation of a write in turn: the caller hears of it, what is under the
// name is the old file or the new one, and no temporary file is left.
func TestFailure(t *testing.T) {
	for name, write := range writers {
		for _, op := range []string{"create", "write", "sync", "close", "rename", "link", "syncdir"} {
			t.Run(name+"/"+op, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				exclusive := name == "WriteFileExclusive"
				if !exclusive {
					if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				failed := false
				fsys := durabletest.New(durable.OS{}, func(o, _ string) error {
					if o == op {
						failed = true
						return syscall.EIO
					}
					return nil
				})
				err := write(fsys, path, []byte("new"))
				if failed != (err != nil) || failed && !errors.Is(err, syscall.EIO) {
					t.Fatalf("failed %v, got %v", failed, err)
				}
				want := "old"
				if exclusive {
					want = ""
				}
				if !failed || op == "syncdir" && !exclusive { // another try would not hear of it again
					want = "new"
				}
				got, err := os.ReadFile(path)
				if err != nil && !(want == "" && errors.Is(err, fs.ErrNotExist)) {
					t.Fatal(err)
				}
				if string(got) != want {
					t.Errorf("file has %q, want %q", got, want)
				}
				noTemp(t, dir)
			})
		}
	}
}

// TestExclusive lets many writers race for each name.
func TestExclusive(t *testing.T) {
	const writers, names = 8, 25
	dir := t.TempDir()
	for i := range names {
		path := filepath.Join(dir, fmt.Sprint(i))
		var won sync.Map
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				err := durable.WriteFileExclusive(durable.OS{}, path, fmt.Append(nil, w))
				switch {
				case err == nil:
					won.Store(w, true)
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var winners []string
		won.Range(func(w, _ any) bool { winners = append(winners, fmt.Sprint(w)); return true })
		got, err := os.ReadFile(path)
		if err != nil || len(winners) != 1 || string(got) != winners[0] {
			t.Errorf("name %d: winners %v, file has %q, %v", i, winners, got, err)
		}
	}
	noTemp(t, dir)
}

func TestStreamReaderFails(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken pipe")
	r := io.MultiReader(strings.NewReader("some bytes"), iotest.ErrReader(broken))
	_, err := durable.WriteStreamAtomic(durable.OS{}, filepath.Join(dir, "f"), r)
	if err != broken {
		t.Errorf("got %v, want the reader's error unchanged", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := durable.MkdirAll(durable.OS{}, dir); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(durable.OS{}, dir); err != nil {
		t.Errorf("again: %v", err)
	}
	for name, write := range writers {
		path := filepath.Join(dir, name)
		if err := write(durable.OS{}, path, nil); err != nil {
			t.Fatal(err)
		}
		mode(t, path, 0o600)
		if err := durable.MkdirAll(durable.OS{}, path); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("MkdirAll of a file: %v", err)
		}
	}
	mode(t, dir, fs.ModeDir|0o700)
	mode(t, filepath.Dir(dir), fs.ModeDir|0o700)
}

// TestMkdirAllForeignParent: a parent that is not ours to sync does not spoil a directory that is there.
func TestMkdirAllForeignParent(t *testing.T) {
	dir := t.TempDir()
	for err, wantOK := range map[error]bool{syscall.EACCES: true, syscall.EROFS: true, syscall.EINVAL: true, syscall.EIO: false} {
		fsys := durabletest.New(durable.OS{}, func(op, path string) error {
			if op == "syncdir" && path == filepath.Dir(dir) {
				return err
			}
			return nil
		})
		if got := durable.MkdirAll(fsys, dir); (got == nil) != wantOK {
			t.Errorf("%v: got %v", err, got)
		}
		fsys = durabletest.New(durable.OS{}, func(op, path string) error {
			if op == "syncdir" && path == dir {
				return err
			}
			return nil
		})
		if got := durable.MkdirAll(fsys, filepath.Join(dir, err.(syscall.Errno).Error())); !errors.Is(got, err) {
			t.Errorf("%v under a directory that was made: got %v", err, got)
		}
	}
}

func TestRemoveMissing(t *testing.T) {
	err := durable.Remove(durable.OS{}, filepath.Join(t.TempDir(), "f"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestOS holds the parts of the FS contract that package os does not promise by itself.
func TestOS(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if f, err := (durable.OS{}).Append(path); !errors.Is(err, fs.ErrNotExist) || f != nil {
		t.Fatalf("append to nothing: %v, %v", f, err)
	}
	f, err := durable.OS{}.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "0123456789")
	f.Close()
	if f, err := (durable.OS{}).Create(path); !errors.Is(err, fs.ErrExist) || f != nil {
		t.Fatalf("create over a file: %v, %v", f, err)
	}
	if f, err = (durable.OS{}).Append(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4); err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "x")
	f.Close()
	if got, _ := os.ReadFile(path); string(got) != "0123x" {
		t.Errorf("cut and appended: %q", got)
	}

	for i := range 2500 { // more than one batch
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d", i*7919%2500)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := durable.OS{}.ReadDir(dir, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "1") })
	if err != nil || len(entries) != 1+10+100+1000 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if !slices.IsSortedFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
		t.Error("entries are not sorted")
	}
	if all, err := (durable.OS{}).ReadDir(dir, nil); err != nil || len(all) != 2501 {
		t.Errorf("%d entries, %v", len(all), err)
	}
}

func noTemp(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if durable.IsTemp(entry.Name()) {
			t.Errorf("%s is left", entry.Name())
		}
	}
}

func mode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != want {
		t.Errorf("%s has mode %v, want %v", filepath.Base(path), info.Mode(), want)
	}
}
