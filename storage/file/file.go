// Package file keeps an archive in a directory: file:///path.
//
// An object is a regular file, its key is the file's path in that directory, and what is written is
// synced to the disk, bytes and names, before it is reported done. A write in progress is a file
// beside the object under a name that no key can have (see durable.IsTemp), so no listing shows it;
// what a crash leaves of one is removed by Sweep.
//
// The file system must have hard links, on which put-if-absent rests. Symbolic links are followed:
// a part of the archive may be moved to another disk and linked to.
package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"

	"tidemark/internal/durable"
	"tidemark/storage"
)

// Store is an archive directory. The directory need not exist: without it the store is empty, and
// the first write makes it.
type Store struct {
	fsys durable.FS
	dir  string // absolute

	// settled holds the directories whose names are known to be durable all the way up: this process
	// has made them, or found and synced them.
	settled sync.Map // of string to struct{}
}

var (
	_ storage.Store   = (*Store)(nil)
	_ storage.Sweeper = (*Store)(nil)
)

// Open returns the store in dir. It changes nothing there.
func Open(dir string) (*Store, error) { return New(durable.OS{}, dir) }

// New is Open over any file system.
func New(fsys durable.FS, dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{fsys: fsys, dir: abs}
	info, err := fsys.Stat(abs)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: abs, Err: syscall.ENOTDIR}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.fault("open archive directory", abs, err)
	}
	return s, nil
}

// URL returns file:///path.
func (s *Store) URL() string { return (&url.URL{Scheme: "file", Path: s.dir}).String() }

// Put stores a file in one step, by link(2) with ifAbsent, else by rename(2).
func (s *Store) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	path, err := s.begin(ctx, "put", key)
	if err != nil {
		return err
	}
	if err := s.makeDir(filepath.Dir(path)); err != nil {
		return s.fault("put", key, err)
	}
	if !ifAbsent {
		if err := durable.WriteFileAtomic(s.fsys, path, data); err != nil {
			return s.fault("put", key, err)
		}
		return nil
	}
	err = durable.WriteFileExclusive(s.fsys, path, data)
	if errors.Is(err, fs.ErrExist) {
		// A directory has the name, then, or an object.
		if info, serr := s.fsys.Stat(path); serr == nil && info.IsDir() {
			err = &fs.PathError{Op: "link", Path: path, Err: syscall.EISDIR}
		} else {
			return keyError("put", key, storage.ErrExist)
		}
	}
	if err != nil {
		return s.fault("put", key, err)
	}
	return nil
}

// Upload streams r into a file that gets its name when r has ended and all is synced.
func (s *Store) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	path, err := s.begin(ctx, "upload", key)
	if err != nil {
		return 0, err
	}
	if err := s.makeDir(filepath.Dir(path)); err != nil {
		return 0, s.fault("upload", key, err)
	}
	src := storage.NewSource(ctx, r)
	n, err := durable.WriteStreamAtomic(s.fsys, path, src)
	switch {
	case src.Err() != nil: // not the storage's failure
		return 0, keyError("upload", key, src.Err())
	case err != nil:
		return 0, s.fault("upload", key, err)
	}
	return n, nil
}

// Delete removes a file and leaves the directory it was in, even if empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := s.begin(ctx, "delete", key)
	if err != nil {
		return err
	}
	info, err := s.fsys.Stat(path)
	if err == nil && info.IsDir() {
		return nil // no object, and another writer may be about to use it
	}
	err = durable.Remove(s.fsys, path)
	if notExist(err) {
		// Whoever removed it may have died before the sync.
		if err = durable.Settle(s.fsys, filepath.Dir(path)); notExist(err) {
			return nil
		}
	}
	if err != nil {
		return s.fault("delete", key, err)
	}
	return nil
}

// begin checks the context and the key and returns the path of the key's file.
func (s *Store) begin(ctx context.Context, op, key string) (string, error) {
	if err := storage.CheckKey(key); err != nil {
		return "", keyError(op, "", err)
	}
	if err := ctx.Err(); err != nil {
		return "", keyError(op, key, err)
	}
	return s.path(key), nil
}

func (s *Store) path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

// makeDir makes a directory durable. Only the first call for it syncs; later ones look whether it is
// still there.
func (s *Store) makeDir(dir string) error {
	if _, ok := s.settled.Load(dir); ok {
		if _, err := s.fsys.Stat(dir); err == nil {
			return nil
		}
	}
	if err := durable.MkdirAll(s.fsys, dir); err != nil {
		return err
	}
	s.settled.Store(dir, struct{}{})
	return nil
}
