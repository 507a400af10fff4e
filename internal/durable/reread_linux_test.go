package durable_test

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/internal/durable"
)

// TestReread: after it nothing of a synced file is in memory.
func TestReread(t *testing.T) {
	const pages = 64
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, pages*os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := durable.OS{}.Append(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fsys unix.Statfs_t
	if err := unix.Statfs(path, &fsys); err != nil {
		t.Fatal(err)
	}
	if fsys.Type == unix.TMPFS_MAGIC {
		t.Skip("the temporary directory is in memory itself")
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := resident(t, f.(*os.File), pages); n == 0 {
		t.Fatal("nothing is in memory that was just written")
	}
	durable.Reread(f)
	if n := resident(t, f.(*os.File), pages); n > 0 {
		t.Errorf("%d of %d pages are in memory still", n, pages)
	}
}

// resident counts the pages of a file that are in memory.
func resident(t *testing.T, f *os.File, pages int) (n int) {
	t.Helper()
	data, err := unix.Mmap(int(f.Fd()), 0, pages*os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(data) }()
	in := make([]byte, pages)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, b := range in {
		n += int(b & 1)
	}
	return n
}
