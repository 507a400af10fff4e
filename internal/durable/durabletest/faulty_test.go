package durabletest_test

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
)

// TestEveryOperation: each operation is recorded under its name and can be failed.
func TestEveryOperation(t *testing.T) {
	var fail string
	dir := t.TempDir()
	fsys := durabletest.New(durable.OS{}, func(op, path string) error {
		if op == fail {
			return syscall.EIO
		}
		return nil
	})
	path := filepath.Join(dir, "f")
	f, err := fsys.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ops := []struct {
		op  string
		run func() error
	}{
		{"write", func() error { _, err := io.WriteString(f, "x"); return err }},
		{"seek", func() error { _, err := f.Seek(0, io.SeekStart); return err }},
		{"read", func() error { _, err := f.Read(make([]byte, 1)); return err }},
		{"readat", func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err }},
		{"fstat", func() error { _, err := f.Stat(); return err }},
		{"truncate", func() error { return f.Truncate(1) }},
		{"sync", func() error { return f.Sync() }},
		{"close", func() error { return f.Close() }},
		{"open", func() error { f, err := fsys.Open(path); return closed(f, err) }},
		{"append", func() error { f, err := fsys.Append(path); return closed(f, err) }},
		{"stat", func() error { _, err := fsys.Stat(path); return err }},
		{"readdir", func() error { _, err := fsys.ReadDir(dir, nil); return err }},
		{"link", func() error { return fsys.Link(path, path+"2") }},
		{"rename", func() error { return fsys.Rename(path+"2", path+"3") }},
		{"mkdir", func() error { return fsys.Mkdir(path + "4") }},
		{"syncdir", func() error { return fsys.SyncDir(dir) }},
		{"lock", func() error {
			l, err := fsys.TryLock(path + "4/lock")
			if err == nil {
				l.Release()
			}
			return err
		}},
		{"remove", func() error { return fsys.Remove(path) }},
		{"create", func() error { f, err := fsys.Create(path); return closed(f, err) }},
	}
	for _, o := range ops {
		fail = ""
		if o.op != "close" { // a file that fails to close is closed all the same
			fsys.Reset()
			if err := o.run(); err != nil {
				t.Errorf("%s: %v", o.op, err)
			}
			if log := fsys.Log(); len(log) == 0 || !slices.Contains([]string{
				o.op + " " + path, o.op + " " + dir, o.op + " " + path + "4", o.op + " " + path + "4/lock",
				o.op + " " + path + " " + path + "2", o.op + " " + path + "2 " + path + "3",
			}, log[0]) {
				t.Errorf("%s: log %q", o.op, log)
			}
		}
		fail = o.op
		var perr *fs.PathError
		if err := o.run(); !errors.Is(err, syscall.EIO) || !errors.As(err, &perr) || perr.Op != o.op {
			t.Errorf("%s: got %v, want the injected error", o.op, err)
		}
	}
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a file that failed to close is open: %v", err)
	}
}

func closed(f durable.File, err error) error {
	if err == nil {
		f.Close()
	}
	return err
}
