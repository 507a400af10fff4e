// Package storage is where an archive lives: a flat space of immutable objects under one
// prefix of a bucket, a container or a directory.
//
// A driver maps this small interface to one provider and knows nothing of binlogs.
// Every driver passes the conformance suite of storage/storagetest.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Errors that callers tell apart; drivers wrap them.
var (
	// ErrNotExist: there is no object under the key.
	ErrNotExist = errors.New("object does not exist")
	// ErrExist: a put-if-absent found an object under the key.
	ErrExist = errors.New("object already exists")
)

// Object describes a stored object.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time // for people and grace periods; order never depends on it
}

// Store holds objects. A key is valid when CheckKey says so, and every method that takes one refuses
// any other. No key of a store may be another one followed by '/' and more: a directory cannot be a
// file too. All methods may be called at the same time. An error that is neither ErrNotExist nor
// ErrExist nor the context's says that the outcome is unknown: the object of a failed Put may or may
// not exist.
type Store interface {
	// Put stores a small object whole. It returns nil only when the object is durable, name and
	// bytes. With ifAbsent, exactly one of several writers of a key wins; the others get ErrExist
	// and change nothing. Without, it replaces.
	Put(ctx context.Context, key string, data []byte, ifAbsent bool) error

	// Upload stores a stream of unknown length in bounded memory. The object appears whole, when
	// r ends with io.EOF, or not at all, when r or the context fails. Returns the bytes stored.
	Upload(ctx context.Context, key string, r io.Reader) (int64, error)

	// Get opens length bytes of an object from offset; length < 0 means to its end. A range that
	// starts at or beyond the end reads nothing. The context governs the reading too.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat describes an object.
	Stat(ctx context.Context, key string) (Object, error)

	// List yields the objects whose keys begin with prefix and sort after after, in key order (by
	// bytes). Neither string needs to be a valid key. What is put or deleted meanwhile may or may not
	// be seen; what is seen is durable. It stops at the first error, which it yields.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]

	// Delete removes an object, durably. That it is not there is no error.
	Delete(ctx context.Context, key string) error

	// URL names the store for people, without secrets.
	URL() string
}

var errTooLarge = errors.New("object is larger than expected")

// ReadAll returns a whole object of at most limit bytes.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	r, err := s.Get(ctx, key, 0, limit+1)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, 4<<10) // most objects that are read whole are manifests
	for err == nil {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		var n int
		n, err = r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
	}
	if err == io.EOF {
		err = nil
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read %s: %w", key, errTooLarge)
	}
	return data, err
}
