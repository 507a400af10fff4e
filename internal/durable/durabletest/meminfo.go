package durabletest

import (
	"io/fs"
	"path/filepath"
	"time"
)

// memInfo describes a file or directory of a Mem, as it was when it was asked for.
type memInfo struct {
	name string
	mode fs.FileMode
	size int64
	mod  time.Time
}

func (n *node) info(path string) fs.FileInfo {
	i := memInfo{name: filepath.Base(path), mode: 0o600, size: int64(len(n.data)), mod: n.mod}
	if n.isDir {
		i.mode = fs.ModeDir | 0o700
	}
	return i
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.mod }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
