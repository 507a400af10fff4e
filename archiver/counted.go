package archiver

import (
	"sync/atomic"

	"tidemark/internal/durable"
)

// counted is a file system that counts syncs, of files and of directories: what durability costs.
type counted struct {
	durable.FS
	syncs *atomic.Uint64
}

func count(fsys durable.FS) counted { return counted{fsys, new(atomic.Uint64)} }

// SyncDir is FS.SyncDir.
func (c counted) SyncDir(path string) error {
	c.syncs.Add(1)
	return c.FS.SyncDir(path)
}

// Create is FS.Create.
func (c counted) Create(path string) (durable.File, error) { return c.file(c.FS.Create(path)) }

// Append is FS.Append.
func (c counted) Append(path string) (durable.File, error) { return c.file(c.FS.Append(path)) }

// Edit is FS.Edit.
func (c counted) Edit(path string) (durable.File, error) { return c.file(c.FS.Edit(path)) }

func (c counted) file(f durable.File, err error) (durable.File, error) {
	if err != nil {
		return nil, err
	}
	return countedFile{f, c.syncs}, nil
}

type countedFile struct {
	durable.File
	syncs *atomic.Uint64
}

// Sync is File.Sync.
func (f countedFile) Sync() error {
	f.syncs.Add(1)
	return f.File.Sync()
}

// Reread is durable.Reread of the file itself, which would not be seen through this one.
func (f countedFile) Reread() { durable.Reread(f.File) }
