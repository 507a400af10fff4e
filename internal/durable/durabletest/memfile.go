package durabletest

import (
	"bytes"
	"io"
	"io/fs"
	"syscall"
	"time"

	"tidemark/internal/durable"
)

// How a file is opened.
const (
	reading = 1 << iota
	editing
	appending
	making   // it is made when it is missing
	notThere // it must be missing
)

// Create is FS.Create.
func (m *Mem) Create(path string) (durable.File, error) {
	return asFile(m.open("create", path, editing|making|notThere))
}

// Append is FS.Append.
func (m *Mem) Append(path string) (durable.File, error) {
	return asFile(m.open("append", path, appending))
}

// Edit is FS.Edit.
func (m *Mem) Edit(path string) (durable.File, error) { return asFile(m.open("edit", path, editing)) }

// Open is FS.Open.
func (m *Mem) Open(path string) (durable.File, error) { return asFile(m.open("open", path, reading)) }

// asFile keeps a nil *memFile from becoming a File that is not nil.
func asFile(f *memFile, err error) (durable.File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (m *Mem) open(op, path string, how int) (*memFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, n, err := m.place(path)
	if path == "/" {
		n, err = m.root, nil
	}
	switch {
	case err != nil:
	case n == nil && how&making == 0:
		err = syscall.ENOENT
	case n == nil:
		n = &node{mod: time.Now()}
		dir.change(change{made: name, to: n})
	case how&notThere != 0:
		err = syscall.EEXIST
	case n.isDir && how != reading:
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError(op, path, err)
	}
	return &memFile{m: m, n: n, path: path, how: how}, nil
}

// memFile is an open file of a Mem. A file that is removed, or whose name is given to another, can be read and
// written as long as it is open.
type memFile struct {
	m      *Mem
	n      *node
	path   string
	how    int
	at     int64
	closed bool
}

// do runs an operation, unless the file is closed or a directory.
func (f *memFile) do(op string, run func() error) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	switch {
	case f.closed:
		return pathError(op, f.path, fs.ErrClosed)
	case f.n.isDir && op != "fstat" && op != "close":
		return pathError(op, f.path, syscall.EISDIR)
	}
	return pathError(op, f.path, run())
}

// Name is File.Name.
func (f *memFile) Name() string { return f.path }

// Read is File.Read.
func (f *memFile) Read(p []byte) (n int, err error) {
	err = f.do("read", func() error {
		n = copy(p, f.n.data[min(f.at, int64(len(f.n.data))):])
		f.at += int64(n)
		return nil
	})
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// ReadAt is File.ReadAt.
func (f *memFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do("readat", func() error {
		if off < 0 {
			return syscall.EINVAL
		}
		n = copy(p, f.n.data[min(off, int64(len(f.n.data))):])
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Write is File.Write.
func (f *memFile) Write(p []byte) (int, error) {
	err := f.do("write", func() error {
		if f.how == reading {
			return syscall.EBADF
		}
		if f.how == appending {
			f.at = int64(len(f.n.data))
		}
		f.n.resize(max(f.at+int64(len(p)), int64(len(f.n.data))))
		f.at += int64(copy(f.n.data[f.at:], p))
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Seek is File.Seek.
func (f *memFile) Seek(offset int64, whence int) (at int64, err error) {
	err = f.do("seek", func() error {
		at = offset
		switch whence {
		case io.SeekCurrent:
			at += f.at
		case io.SeekEnd:
			at += int64(len(f.n.data))
		}
		if at < 0 {
			return syscall.EINVAL
		}
		f.at = at
		return nil
	})
	return at, err
}

// Truncate is File.Truncate.
func (f *memFile) Truncate(size int64) error {
	return f.do("truncate", func() error {
		if f.how == reading || size < 0 {
			return syscall.EINVAL
		}
		f.n.resize(size)
		return nil
	})
}

// Sync is File.Sync.
func (f *memFile) Sync() error {
	return f.do("sync", func() error {
		f.n.disk = bytes.Clone(f.n.data)
		return nil
	})
}

// Stat is File.Stat.
func (f *memFile) Stat() (info fs.FileInfo, err error) {
	err = f.do("fstat", func() error { info = f.n.info(f.path); return nil })
	return info, err
}

// Close is File.Close. What was written is not synced by it.
func (f *memFile) Close() error {
	return f.do("close", func() error { f.closed = true; return nil })
}

// resize cuts a file, or extends it with zeros.
func (n *node) resize(size int64) {
	if more := size - int64(len(n.data)); more > 0 {
		n.data = append(n.data, make([]byte, more)...)
	}
	n.data = n.data[:size]
	n.mod = time.Now()
}

// TryLock is FS.TryLock.
func (m *Mem) TryLock(path string) (durable.Held, error) {
	f, err := m.open("lock", path, editing|making)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.n.locked {
		return nil, durable.ErrLocked
	}
	f.n.locked = true
	return &memLock{m: m, n: f.n}, nil
}

type memLock struct {
	m *Mem
	n *node
}

// Release ends the lock.
func (l *memLock) Release() {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.n.locked = false
}
