package xbstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// Extract writes the files of a stream in xtrabackup's dialect into dir, which must exist, with holes
// where the stream has them. A file that exists already is an error. With a nil error the stream was
// whole and the bytes of its files are synced, not their names; otherwise what is in dir is of no use.
//
// An error of the stream itself is an *Error, of kind Integrity. One of in's is passed on.
func Extract(ctx context.Context, in io.Reader, dir string, fsys durable.FS) (files int, err error) {
	x := &extractor{fs: fsys, dir: dir, made: map[string]bool{}, open: map[string]durable.File{}}
	defer x.abandon()
	i := NewInspector(Xbstream)
	i.sink = x
	buf := make([]byte, 1<<20)
	for {
		n, rerr := in.Read(buf)
		if _, err := i.Write(buf[:n]); err != nil {
			return 0, x.failed(err)
		}
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(rerr, io.EOF):
			if err := i.Close(); err != nil {
				return 0, x.failed(err)
			}
			return i.Files(), nil
		case rerr != nil:
			return 0, rerr
		}
	}
}

// extractor is a directory that takes the files of a stream.
type extractor struct {
	fs   durable.FS
	dir  string
	made map[string]bool         // directories below dir
	open map[string]durable.File // by their paths in the stream; a tool's threads write one each
}

func (x *extractor) failed(err error) error {
	var damage *Error
	if errors.As(err, &damage) {
		return fault.New(fault.Integrity, "extract the base backup into", x.dir, err).
			WithHint("`tidemark verify` says whether the archive is damaged; an older base backup may be whole.")
	}
	return fmt.Errorf("extract the base backup into %s: %w", x.dir, err)
}

func (x *extractor) write(path string, p []byte, at uint64) error {
	f, err := x.file(path)
	if err != nil {
		return err
	}
	if _, err := f.Seek(int64(at), io.SeekStart); err != nil {
		return err
	}
	_, err = f.Write(p)
	return err
}

// end gives a file its size, which reaches over a hole at its end, and syncs it.
func (x *extractor) end(path string, size uint64) error {
	f, err := x.file(path)
	if err != nil {
		return err
	}
	delete(x.open, path)
	err = f.Truncate(int64(size))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// file returns a file of the stream, which is made if it is new.
func (x *extractor) file(path string) (durable.File, error) {
	if f := x.open[path]; f != nil {
		return f, nil
	}
	if err := x.mkdir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := x.fs.Create(filepath.Join(x.dir, path))
	if err == nil {
		x.open[path] = f
	}
	return f, err
}

func (x *extractor) mkdir(path string) error {
	if path == "." || x.made[path] {
		return nil
	}
	if err := x.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := x.fs.Mkdir(filepath.Join(x.dir, path)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	x.made[path] = true
	return nil
}

// abandon closes what is still open, after a failure.
func (x *extractor) abandon() {
	for _, f := range x.open {
		_ = f.Close()
	}
}
