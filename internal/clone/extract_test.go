package clone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/fault"
)

func TestExtract(t *testing.T) {
	dir, err := extract(t, stream(t, whole()))
	if err != nil {
		t.Fatal(err)
	}
	late, err := firstPage(105, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ibdata1":                "sySTEM..",
		"d/a.ibd":                "was b.",
		"d/b.ibd":                "was a.grown",
		"d/c.ibd":                "new c.more",
		"d/late.ibd":             string(late) + strings.Repeat("\x00", 3*16<<10),
		"#innodb_redo/#ib_redo0": "header" + strings.Repeat("\x00", 506) + "log" + strings.Repeat("\x00", 4096-515),
		"#clone/#status_fix":     "",
		"#clone/#replace_files":  "",
		"#clone/#view_status":    "2 1\n1000001 2000002\nstream\n0\n\n\n0\n\n",
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		text, there := want[name]
		got, err := os.ReadFile(path)
		if !there || string(got) != text {
			t.Errorf("%s has %.40q, %d bytes", name, got, len(got))
		}
		delete(want, name)
		return err
	})
	if err != nil || len(want) > 0 {
		t.Errorf("missing: %v, %v", want, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "mysql")); err != nil || !info.IsDir() {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, scratch)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", scratch, err)
	}
}

// TestExtractMany has more files than are kept open, and comes back to each of them.
func TestExtractMany(t *testing.T) {
	const n = maxOpen + 100
	items := []item{{desc: state(stateInit, false)}, {desc: state(stateFiles, true)}}
	for i := range n {
		items = append(items, item{desc: meta(stateFiles, i, fmt.Sprintf("./d%d/t%d.ibd", i%3, i), 8, 0)}, text(stateFiles, i, 0, "12345678", 8))
	}
	items = append(items, item{desc: state(stateFiles, false)}, item{desc: state(statePages, true)})
	for i := range n {
		items = append(items, text(statePages, i, 4, "page", 8))
	}
	items = append(items, item{desc: state(statePages, false)}, item{desc: state(stateRedo, true)}, item{desc: state(stateRedo, false)}, item{desc: state(stateDone, true)})

	open, most := 0, 0
	fsys := durabletest.New(durable.OS{}, func(op, _ string) error {
		switch op {
		case "create", "edit":
			open++
			most = max(most, open)
		case "close":
			open--
		}
		return nil
	})
	dir := t.TempDir()
	totals, err := Extract(context.Background(), bytes.NewReader(stream(t, items)), dir, fsys)
	if err != nil || totals.Files != n || totals.Bytes != n*12 {
		t.Fatalf("%+v, %v", totals, err)
	}
	if open != 0 || most > maxOpen {
		t.Errorf("%d files are open in the end, %d were at a time", open, most)
	}
	for i := range n {
		if got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("d%d/t%d.ibd", i%3, i))); err != nil || string(got) != "1234page" {
			t.Fatalf("file %d: %q, %v", i, got, err)
		}
	}
}

// TestExtractDurable holds that a file is synced after its last write, and every directory after its
// last change, before Extract returns.
func TestExtractDurable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	fsys := durabletest.New(durable.OS{}, nil)
	if _, err := Extract(context.Background(), bytes.NewReader(stream(t, whole())), dir, fsys); err != nil {
		t.Fatal(err)
	}
	dirty := map[string]string{} // path, and what was done to it
	for _, line := range fsys.Log() {
		f := strings.Fields(line)
		switch path := f[len(f)-1]; f[0] {
		case "write", "truncate":
			dirty[path] = line
		case "sync":
			delete(dirty, path)
		case "create", "mkdir":
			dirty[filepath.Dir(path)] = line
		case "remove":
			delete(dirty, path)
			dirty[filepath.Dir(path)] = line
		case "rename":
			if d := dirty[f[1]]; d != "" {
				t.Errorf("renamed before it was synced: %s", d)
			}
			dirty[filepath.Dir(path)] = line
		case "syncdir":
			delete(dirty, path)
		}
	}
	delete(dirty, filepath.Join(dir, scratch))
	for path, what := range dirty {
		t.Errorf("%s is not synced after: %s", path, what)
	}
}

// TestExtractFails fails each operation of the file system in turn; that is not the stream's fault.
func TestExtractFails(t *testing.T) {
	b := stream(t, whole())
	for n := 0; ; n++ {
		k, failed := 0, ""
		fsys := durabletest.New(durable.OS{}, func(op, path string) error {
			if k++; k-1 == n {
				failed = op + " " + path
				return syscall.EIO
			}
			return nil
		})
		_, err := Extract(context.Background(), bytes.NewReader(b), filepath.Join(t.TempDir(), "data"), fsys)
		if failed == "" {
			if err != nil || n < 50 {
				t.Errorf("%d operations, %v", n, err)
			}
			return
		}
		// A name of no use may stay.
		if harmless := strings.HasPrefix(failed, "remove ") && strings.Contains(failed, ".tmp~"); !harmless && (!errors.Is(err, syscall.EIO) || fault.Is(err, fault.Integrity)) {
			t.Errorf("%s: %v", failed, err)
		}
	}
}

func TestExtractRefuses(t *testing.T) {
	b := stream(t, whole())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ibdata1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(context.Background(), bytes.NewReader(b), dir, durable.OS{}); !fault.Is(err, fault.TargetNotEmpty) {
		t.Errorf("over other data: %v", err)
	}
	ours := t.TempDir()
	if err := os.WriteFile(filepath.Join(ours, ".ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(context.Background(), bytes.NewReader(b), ours, durable.OS{}); err != nil {
		t.Errorf("beside a file of ours: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Extract(ctx, bytes.NewReader(b), t.TempDir(), durable.OS{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := fault.New(fault.Storage, "read", "bucket", errors.New("gone"))
	in := io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(broken))
	if _, err := Extract(context.Background(), in, t.TempDir(), durable.OS{}); !fault.Is(err, fault.Storage) {
		t.Errorf("the archive failed: %v", err)
	}
}
