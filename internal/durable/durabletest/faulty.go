// Package durabletest is file systems for tests of code that must survive a failing disk, the end of its
// process and a loss of power.
//
// FS, over another file system, fails chosen operations and records the order of all of them. Mortal is
// one whose process dies at an operation. Mem is a disk in memory, which can lose its power. Golden
// compares an order of operations with the one that was reviewed.
package durabletest

import (
	"errors"
	"io/fs"
	"slices"
	"sync"

	"tidemark/internal/durable"
)

// FS passes every operation on to another file system, unless decide gives it an error.
//
// Operations are named create, append, edit, open, rename, link, remove, mkdir, readdir, stat,
// syncdir and lock; those of open files are write, read, readat, seek, truncate, fstat, sync and close.
type FS struct {
	under  durable.FS
	decide func(op, path string) error

	mu  sync.Mutex
	log []string
}

var _ durable.FS = (*FS)(nil)

// New returns a file system over another one. Before each operation decide is called with its name
// and path (of two paths, the new one); an error it returns comes back in an *fs.PathError and the
// operation is not done, except that a file that fails to close is closed. A nil decide only
// records. decide may be called from several goroutines at a time.
func New(under durable.FS, decide func(op, path string) error) *FS {
	return &FS{under: under, decide: decide}
}

// Log returns the operations so far, in order: "create PATH", "rename OLD NEW". One that decide
// failed has ": " and the error after it.
func (f *FS) Log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Reset empties the log.
func (f *FS) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

// step records an operation on a path (for two, old and new) and decides whether it fails.
func (f *FS) step(op string, paths ...string) error {
	line := op
	for _, p := range paths {
		line += " " + p
	}
	path := paths[len(paths)-1]
	var err error
	if f.decide != nil {
		err = f.decide(op, path)
	}
	if err != nil {
		line += ": " + err.Error()
		err = &fs.PathError{Op: op, Path: path, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, line)
	return err
}

func (f *FS) Create(path string) (durable.File, error) {
	return f.open("create", path, f.under.Create)
}

func (f *FS) Append(path string) (durable.File, error) {
	return f.open("append", path, f.under.Append)
}

func (f *FS) Edit(path string) (durable.File, error) {
	return f.open("edit", path, f.under.Edit)
}

func (f *FS) Open(path string) (durable.File, error) {
	return f.open("open", path, f.under.Open)
}

func (f *FS) open(op, path string, under func(string) (durable.File, error)) (durable.File, error) {
	if err := f.step(op, path); err != nil {
		return nil, err
	}
	opened, err := under(path)
	if err != nil {
		return nil, err
	}
	return &file{File: opened, fs: f}, nil
}

func (f *FS) Rename(oldPath, newPath string) error {
	if err := f.step("rename", oldPath, newPath); err != nil {
		return err
	}
	return f.under.Rename(oldPath, newPath)
}

func (f *FS) Link(oldPath, newPath string) error {
	if err := f.step("link", oldPath, newPath); err != nil {
		return err
	}
	return f.under.Link(oldPath, newPath)
}

func (f *FS) Remove(path string) error {
	if err := f.step("remove", path); err != nil {
		return err
	}
	return f.under.Remove(path)
}

func (f *FS) Mkdir(path string) error {
	if err := f.step("mkdir", path); err != nil {
		return err
	}
	return f.under.Mkdir(path)
}

func (f *FS) ReadDir(path string, keep func(fs.DirEntry) bool) ([]fs.DirEntry, error) {
	if err := f.step("readdir", path); err != nil {
		return nil, err
	}
	return f.under.ReadDir(path, keep)
}

func (f *FS) Stat(path string) (fs.FileInfo, error) {
	if err := f.step("stat", path); err != nil {
		return nil, err
	}
	return f.under.Stat(path)
}

func (f *FS) SyncDir(path string) error {
	if err := f.step("syncdir", path); err != nil {
		return err
	}
	return f.under.SyncDir(path)
}

func (f *FS) TryLock(path string) (durable.Held, error) {
	if err := f.step("lock", path); err != nil {
		return nil, err
	}
	return f.under.TryLock(path)
}

// file passes the operations of an open file on.
type file struct {
	durable.File
	fs *FS
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.fs.step("read", f.Name()); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.step("readat", f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.fs.step("write", f.Name()); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	if err := f.fs.step("seek", f.Name()); err != nil {
		return 0, err
	}
	return f.File.Seek(offset, whence)
}

func (f *file) Stat() (fs.FileInfo, error) {
	if err := f.fs.step("fstat", f.Name()); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *file) Truncate(size int64) error {
	if err := f.fs.step("truncate", f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *file) Sync() error {
	if err := f.fs.step("sync", f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *file) Close() error {
	if err := f.fs.step("close", f.Name()); err != nil {
		return errors.Join(err, f.File.Close())
	}
	return f.File.Close()
}
