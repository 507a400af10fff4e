package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	fileMode = 0o600
	dirMode  = 0o700
	dirBatch = 1024 // entries read from a directory at a time
)

// OS is the file system of the machine. Files are made with mode 0600, directories with 0700.
type OS struct{}

var _ FS = OS{}

func (OS) Create(path string) (File, error) {
	return open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (OS) Append(path string) (File, error) { return open(path, os.O_RDWR|os.O_APPEND) }

func (OS) Edit(path string) (File, error) { return open(path, os.O_RDWR) }

func (OS) Open(path string) (File, error) { return open(path, os.O_RDONLY) }

func (OS) Rename(oldPath, newPath string) error { return os.Rename(oldPath, newPath) }

func (OS) Link(oldPath, newPath string) error { return os.Link(oldPath, newPath) }

func (OS) Remove(path string) error { return os.Remove(path) }

func (OS) Mkdir(path string) error { return os.Mkdir(path, dirMode) }

func (OS) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }

func (OS) ReadDir(path string, keep func(fs.DirEntry) bool) ([]fs.DirEntry, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var kept []fs.DirEntry
	for {
		batch, err := dir.ReadDir(dirBatch)
		for _, entry := range batch {
			if keep == nil || keep(entry) {
				kept = append(kept, entry)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(kept, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return kept, nil
}

func (OS) SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if cerr := dir.Close(); err == nil {
		err = cerr
	}
	return err
}

func (OS) TryLock(path string) (Held, error) {
	l, err := TryLock(path)
	if err != nil {
		return nil, err // not a nil *Lock
	}
	return l, nil
}

// open keeps a nil *os.File from becoming a File that is not nil.
func open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return f, nil
}
