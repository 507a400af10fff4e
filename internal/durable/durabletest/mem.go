package durabletest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidemark/internal/durable"
)

// Mem is a file system in memory that knows what of it would survive a loss of power: see Crash. It
// assumes no more of the disk than POSIX promises and the file systems in the field keep:
//
//   - The bytes and the size of a file are on the disk as they were at its last Sync. A sync of the file
//     does not bring its name there, nor does a sync of the directory bring the bytes.
//   - The names in a directory are on the disk as they were at its last SyncDir. A directory's own name is
//     in its parent, and is lost with all below it if that was not synced.
//   - Each change of a directory (a name made, replaced or removed) is on the disk wholly or not at all;
//     a rename is one change.
//   - What was not synced reaches the disk in any order, or never: neither two files nor two directories
//     wait for each other.
//   - What has once been read after a crash is on the disk: the memory of the machine is empty by then.
//
// Names lead from "/". There are no modes, no symbolic links, and no renames from one directory into another.
type Mem struct {
	mu   sync.Mutex
	root *node
}

var _ durable.FS = (*Mem)(nil)

// node is a file or a directory.
type node struct {
	isDir  bool
	mod    time.Time
	locked bool

	data []byte // of a file, as it is read
	disk []byte // and as it is on the disk; never changed in place

	names   map[string]*node // in a directory, as they are seen
	kept    map[string]*node // and as they are on the disk
	changes []change         // what made one of the other, in order
}

// change is a change of a directory: a name made or replaced, one removed, or both.
type change struct {
	made    string
	to      *node
	removed string
}

func (c change) apply(names map[string]*node) {
	delete(names, c.removed)
	if c.to != nil {
		names[c.made] = c.to
	}
}

// NewMem returns an empty file system.
func NewMem() *Mem { return &Mem{root: newDir()} }

func newDir() *node {
	return &node{isDir: true, mod: time.Now(), names: make(map[string]*node), kept: make(map[string]*node)}
}

func (n *node) change(c change) {
	c.apply(n.names)
	n.changes = append(n.changes, c)
	n.mod = time.Now()
}

// find returns what is at a path.
func (m *Mem) find(path string) (*node, error) {
	n := m.root
	for name := range strings.SplitSeq(filepath.Clean(path), "/") {
		if name == "" {
			continue
		}
		if !n.isDir {
			return nil, syscall.ENOTDIR
		}
		if n = n.names[name]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// place returns the directory that holds the last name of a path, the name, and what it leads to, if anything.
func (m *Mem) place(path string) (dir *node, name string, n *node, err error) {
	path = filepath.Clean(path)
	dir, err = m.find(filepath.Dir(path))
	if err == nil && !dir.isDir {
		err = syscall.ENOTDIR
	}
	if err == nil && path == "/" {
		err = syscall.EINVAL
	}
	if err != nil {
		return nil, "", nil, err
	}
	name = filepath.Base(path)
	return dir, name, dir.names[name], nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// Rename is FS.Rename, within a directory.
func (m *Mem) Rename(oldPath, newPath string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldPath, newPath); err != nil {
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: err}
	}
	return nil
}

func (m *Mem) rename(oldPath, newPath string) error {
	from, old, n, err := m.place(oldPath)
	if err != nil {
		return err
	}
	to, name, there, err := m.place(newPath)
	switch {
	case err != nil:
		return err
	case n == nil:
		return syscall.ENOENT
	case from != to:
		return syscall.EXDEV
	case there != nil && there.isDir:
		return syscall.EISDIR
	case there != n: // else both are names of it already, and stay
		from.change(change{made: name, to: n, removed: old})
	}
	return nil
}

// Link is FS.Link.
func (m *Mem) Link(oldPath, newPath string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(oldPath)
	dir, name, there, perr := m.place(newPath)
	switch {
	case err != nil:
	case perr != nil:
		err = perr
	case there != nil:
		err = syscall.EEXIST
	case n.isDir:
		err = syscall.EPERM
	default:
		dir.change(change{made: name, to: n})
		return nil
	}
	return &os.LinkError{Op: "link", Old: oldPath, New: newPath, Err: err}
}

// Remove is FS.Remove.
func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, n, err := m.place(path)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case len(n.names) > 0:
		err = syscall.ENOTEMPTY
	default:
		dir.change(change{removed: name})
	}
	return pathError("remove", path, err)
}

// Mkdir is FS.Mkdir.
func (m *Mem) Mkdir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, n, err := m.place(path)
	switch {
	case err != nil:
	case n != nil:
		err = syscall.EEXIST
	default:
		dir.change(change{made: name, to: newDir()})
	}
	return pathError("mkdir", path, err)
}

// ReadDir is FS.ReadDir.
func (m *Mem) ReadDir(path string, keep func(fs.DirEntry) bool) ([]fs.DirEntry, error) {
	m.mu.Lock()
	n, err := m.find(path)
	if err == nil && !n.isDir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		m.mu.Unlock()
		return nil, pathError("readdir", path, err)
	}
	var all []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		all = append(all, fs.FileInfoToDirEntry(n.names[name].info(name)))
	}
	m.mu.Unlock()
	if keep == nil {
		return all, nil
	}
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return !keep(e) }), nil
}

// Stat is FS.Stat.
func (m *Mem) Stat(path string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(path)
	if err != nil {
		return nil, pathError("stat", path, err)
	}
	return n.info(filepath.Base(path)), nil
}

// SyncDir is FS.SyncDir.
func (m *Mem) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(path)
	if err == nil && !n.isDir {
		err = syscall.ENOTDIR
	}
	if err == nil {
		n.kept, n.changes = maps.Clone(n.names), nil
	}
	return pathError("syncdir", path, err)
}
