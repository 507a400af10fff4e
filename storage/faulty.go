package storage

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Faulty returns a Store over s that fails where decide says so, for tests of code that must survive
// a failing storage. decide is called with the operation and the key, from several goroutines at a
// time:
//
//	put, upload, get, stat, delete    before the operation, with its key
//	list                              before a listing, with its prefix
//	next                              before a listing yields an object, with its key
//	read                              before each Read of an object that Get opened, with its key
//
// An error it returns is returned to the caller and the operation is not done; one marked by After is
// returned although the operation has been done.
func Faulty(s Store, decide func(op, key string) error) Store {
	return &faulty{Store: s, decide: decide}
}

// After marks an error that decide returns to Faulty: the operation is done first, and if it succeeds
// the caller gets err all the same, as when the answer of a server is lost. On "next" and "read" the
// object, or the bytes, come with the error after them.
func After(err error) error { return &afterError{err} }

type afterError struct{ error }

func (e *afterError) Unwrap() error { return e.error }

type faulty struct {
	Store
	decide func(op, key string) error
}

// verdict returns the errors to return instead of the operation, and after its success.
func (f *faulty) verdict(op, key string) (before, afterwards error) {
	err := f.decide(op, key)
	var late *afterError
	if errors.As(err, &late) {
		return nil, late.error
	}
	return err, nil
}

func (f *faulty) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	before, late := f.verdict("put", key)
	if before != nil {
		return before
	}
	if err := f.Store.Put(ctx, key, data, ifAbsent); err != nil {
		return err
	}
	return late
}

func (f *faulty) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	before, late := f.verdict("upload", key)
	if before != nil {
		return 0, before
	}
	n, err := f.Store.Upload(ctx, key, r)
	if err != nil {
		return n, err
	}
	if late != nil {
		return 0, late
	}
	return n, nil
}

func (f *faulty) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	before, late := f.verdict("get", key)
	if before != nil {
		return nil, before
	}
	r, err := f.Store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	if late != nil {
		r.Close()
		return nil, late
	}
	return &faultyReader{ReadCloser: r, faulty: f, key: key}, nil
}

func (f *faulty) Stat(ctx context.Context, key string) (Object, error) {
	before, late := f.verdict("stat", key)
	if before != nil {
		return Object{}, before
	}
	o, err := f.Store.Stat(ctx, key)
	if err != nil {
		return Object{}, err
	}
	if late != nil {
		return Object{}, late
	}
	return o, nil
}

func (f *faulty) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		before, late := f.verdict("list", prefix)
		if before != nil {
			yield(Object{}, before)
			return
		}
		for o, err := range f.Store.List(ctx, prefix, after) {
			if err != nil {
				yield(o, err)
				return
			}
			failed, late := f.verdict("next", o.Key)
			if failed == nil {
				if !yield(o, nil) {
					return
				}
				failed = late
			}
			if failed != nil {
				yield(Object{}, failed)
				return
			}
		}
		if late != nil {
			yield(Object{}, late)
		}
	}
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	before, late := f.verdict("delete", key)
	if before != nil {
		return before
	}
	if err := f.Store.Delete(ctx, key); err != nil {
		return err
	}
	return late
}

// faultyReader asks before each Read.
type faultyReader struct {
	io.ReadCloser
	faulty *faulty
	key    string
}

func (r *faultyReader) Read(p []byte) (int, error) {
	before, late := r.faulty.verdict("read", r.key)
	if before != nil {
		return 0, before
	}
	n, err := r.ReadCloser.Read(p)
	if err == nil {
		err = late
	}
	return n, err
}
