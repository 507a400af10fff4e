package clone

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"tidemark/internal/durable"
)

// maxOpen is how many files are kept open. A server may have more tables than a process may have
// files, and every one of them is written at least once more after all the others.
const maxOpen = 200

// openFiles are the files of a copy under their numbers.
type openFiles struct {
	fs    durable.FS
	dir   string
	made  map[fileKey]bool
	open  map[fileKey]durable.File
	queue []fileKey // the open ones, the one that was used last at the end
}

func newOpenFiles(fsys durable.FS, dir string) *openFiles {
	return &openFiles{fs: fsys, dir: dir, made: map[fileKey]bool{}, open: map[fileKey]durable.File{}}
}

func (o *openFiles) path(k fileKey) string {
	kind := "data"
	if k.redo {
		kind = "redo"
	}
	return filepath.Join(o.dir, fmt.Sprintf("%s-%d", kind, k.index))
}

// writeAt writes into a file, which is made if it is new.
func (o *openFiles) writeAt(k fileKey, p []byte, at uint64) error {
	f, err := o.get(k)
	if err != nil {
		return err
	}
	if _, err := f.Seek(int64(at), io.SeekStart); err != nil {
		return err
	}
	_, err = f.Write(p)
	return err
}

func (o *openFiles) get(k fileKey) (durable.File, error) {
	if f := o.open[k]; f != nil {
		if last := len(o.queue) - 1; o.queue[last] != k {
			o.queue = append(slices.DeleteFunc(o.queue, func(q fileKey) bool { return q == k }), k)
		}
		return f, nil
	}
	if len(o.queue) >= maxOpen {
		if err := o.shut(o.queue[0]); err != nil {
			return nil, err
		}
	}
	open := o.fs.Create
	if o.made[k] {
		open = o.fs.Edit
	}
	f, err := open(o.path(k))
	if err != nil {
		return nil, err
	}
	o.made[k], o.open[k] = true, f
	o.queue = append(o.queue, k)
	return f, nil
}

// shut syncs and closes a file. It is synced through the descriptor that wrote it: an error of
// writing back need not show on another one.
func (o *openFiles) shut(k fileKey) error {
	f := o.open[k]
	delete(o.open, k)
	o.queue = slices.DeleteFunc(o.queue, func(q fileKey) bool { return q == k })
	err := f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// finish makes a file durable with the size it must have, and returns its path.
func (o *openFiles) finish(k fileKey, size int64) (string, error) {
	f, err := o.get(k)
	if err != nil {
		return "", err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = f.Truncate(size)
	}
	if err != nil {
		return "", err
	}
	return o.path(k), o.shut(k)
}

// discard removes a file that was dropped while it was copied.
func (o *openFiles) discard(k fileKey) error {
	if f := o.open[k]; f != nil {
		if err := o.shut(k); err != nil {
			return err
		}
	}
	if err := o.fs.Remove(o.path(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// abandon closes what is still open, after a failure.
func (o *openFiles) abandon() {
	for _, f := range o.open {
		_ = f.Close()
	}
	clear(o.open)
}
