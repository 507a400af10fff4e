package durable

import (
	"io"
	"io/fs"
)

// FS is the file operations the program is made of. Paths are those of package filepath, errors
// match fs.ErrNotExist, fs.ErrExist and fs.ErrPermission where they apply. Nothing is durable until
// it is synced: bytes by File.Sync, a name (made, replaced or removed) by SyncDir of its directory.
// All methods may be called at the same time.
type FS interface {
	// Create makes a file that must not exist yet, for reading and writing.
	Create(path string) (File, error)
	// Append opens a file that must exist, for reading and for writing at its end only.
	Append(path string) (File, error)
	// Edit opens a file that must exist, for reading and for writing anywhere in it.
	Edit(path string) (File, error)
	// Open opens a file for reading.
	Open(path string) (File, error)

	// Rename gives a file another name at once, replacing the file that has it.
	Rename(oldPath, newPath string) error
	// Link gives a file a second name, which must not exist yet.
	Link(oldPath, newPath string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// Mkdir makes one directory, which must not exist yet; its parent must.
	Mkdir(path string) error

	// ReadDir returns the entries of a directory for which keep is true, sorted by name.
	// With a nil keep it returns all. What it does not keep costs no memory.
	ReadDir(path string, keep func(fs.DirEntry) bool) ([]fs.DirEntry, error)
	// Stat describes a file or directory; it follows symbolic links.
	Stat(path string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable, not the bytes they lead to.
	SyncDir(path string) error

	// TryLock locks a file for this process, making it when it is missing, or returns ErrLocked at once.
	TryLock(path string) (Held, error)
}

// Held is a lock that is held. It ends when it is released, or with the process. *Lock is one.
type Held interface{ Release() }

// File is an open file. *os.File is one.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Seeker
	io.Closer

	// Name is the path the file was opened by.
	Name() string
	// Stat describes the file.
	Stat() (fs.FileInfo, error)
	// Truncate cuts or extends the file to size bytes; like a write, it needs a Sync.
	Truncate(size int64) error
	// Sync makes the bytes and the size durable, not the name. After it has failed nothing is
	// known of what was written since the last good one, and to sync again proves nothing.
	Sync() error
}
