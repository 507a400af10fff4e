package file

import (
	"context"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"tidemark/internal/durable"
	"tidemark/storage"
)

// List walks the directories that can hold keys of the range, one at a time. A directory is synced
// before it is read: a name left there unsynced by a process that died must be durable before anyone
// continues after it.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if !storage.CanBegin(prefix) {
			return
		}
		start := prefix[:strings.LastIndexByte(prefix, '/')+1]
		l := lister{ctx: ctx, store: s, prefix: prefix, after: after, yield: yield}
		l.walk(start)
	}
}

// lister is one listing.
type lister struct {
	ctx           context.Context
	store         *Store
	prefix, after string
	yield         func(storage.Object, error) bool
}

// entry is a file or directory.
type entry struct {
	fs.DirEntry
	isDir bool
}

// rest is what the key of a file, or all keys below a directory, go on with behind the directory that it is
// in. It is made when it is asked for: there may be very many.
func (e entry) rest() string {
	if e.isDir {
		return e.Name() + "/"
	}
	return e.Name()
}

// walk yields the objects below a directory, whose key is "" or ends with '/', and returns false when
// the listing is over.
func (l *lister) walk(dir string) bool {
	entries, err := l.read(dir)
	if err != nil {
		l.yield(storage.Object{}, l.store.fault("list", dir, err))
		return false
	}
	for _, e := range entries {
		if err := l.ctx.Err(); err != nil {
			l.yield(storage.Object{}, keyError("list", dir, err))
			return false
		}
		if !l.visit(e, dir+e.rest()) {
			return false
		}
	}
	return true
}

func (l *lister) visit(e entry, key string) bool {
	if e.isDir {
		return l.walk(key)
	}
	if key <= l.after {
		return true // read because it might have been a directory
	}
	info, err := l.store.info(e.DirEntry, key)
	if notExist(err) {
		return true // deleted meanwhile
	}
	if err != nil {
		l.yield(storage.Object{}, l.store.fault("list", key, err))
		return false
	}
	return !info.Mode().IsRegular() || l.yield(object(key, info), nil)
}

// read returns the entries of a directory that may matter, in key order. That is not the order of
// names: with the '/' it ends with, the directory "a/" comes after the file "a.json".
func (l *lister) read(dir string) ([]entry, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	path := l.store.path(dir)
	if err := durable.Settle(l.store.fsys, path); err != nil && !notExist(err) {
		return nil, err
	}
	found, err := l.store.fsys.ReadDir(path, func(e fs.DirEntry) bool {
		return storage.CheckKey(e.Name()) == nil && l.wanted(dir+e.Name())
	})
	if notExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(found))
	for _, e := range found {
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := l.store.fsys.Stat(l.store.path(dir + e.Name()))
			if err != nil && !notExist(err) {
				return nil, err
			}
			isDir = err == nil && info.IsDir()
		}
		entries = append(entries, entry{e, isDir})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.rest(), b.rest()) })
	return entries, nil
}

// wanted reports whether a file of this key, or one below a directory of it, can be in the range. The
// walk begins in the directory that prefix names, so every key below a directory that is seen begins
// with prefix if the directory does.
func (l *lister) wanted(key string) bool {
	below := key + "/" // comes after key, and its keys after it
	return strings.HasPrefix(key, l.prefix) && (below > l.after || strings.HasPrefix(l.after, below))
}

// info describes a directory entry; through a symbolic link, what it leads to.
func (s *Store) info(e fs.DirEntry, key string) (fs.FileInfo, error) {
	if e.Type()&fs.ModeSymlink != 0 {
		return s.fsys.Stat(s.path(key))
	}
	return e.Info()
}
