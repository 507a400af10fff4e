package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"syscall"

	"tidemark/internal/durable"
	"tidemark/storage"
)

// Get opens a range of a file. An object that is replaced or deleted meanwhile is read to its end.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	path, err := s.begin(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, keyError("get", key, errors.New("negative offset"))
	}
	f, err := s.fsys.Open(path)
	if err != nil {
		return nil, s.absent("get", key, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fs.ErrNotExist
	case offset > 0:
		// Not beyond the end: the kernel refuses offsets larger than any file can be.
		_, err = f.Seek(min(offset, info.Size()), io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, s.absent("get", key, err)
	}
	if length < 0 {
		length = math.MaxInt64
	}
	return &reader{ctx: ctx, store: s, key: key, file: f, left: length}, nil
}

// Stat describes a file.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	path, err := s.begin(ctx, "stat", key)
	if err != nil {
		return storage.Object{}, err
	}
	info, err := s.fsys.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return storage.Object{}, s.absent("stat", key, err)
	}
	return object(key, info), nil
}

func object(key string, info fs.FileInfo) storage.Object {
	return storage.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}
}

// notExist reports whether err says that there is no such file; also when what should be a directory
// above it is one.
func notExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// absent turns err into ErrNotExist or a fault.
func (s *Store) absent(op, key string, err error) error {
	if notExist(err) {
		return keyError(op, key, storage.ErrNotExist)
	}
	return s.fault(op, key, err)
}

// reader reads a range of an object from the file's offset.
type reader struct {
	ctx   context.Context
	store *Store
	key   string
	file  durable.File
	left  int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, keyError("read", r.key, err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err != nil && err != io.EOF {
		err = r.store.fault("read", r.key, err)
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }
