package storage

import (
	"context"
	"io"
	"iter"
	"time"

	"tidemark/internal/clock"
)

// Observation is one operation that has ended.
type Observation struct {
	Op    string        // put, upload, get, stat, list or delete
	Bytes int64         // of objects, sent or received
	Took  time.Duration // of a get or list: until its end, the caller's own time included
	Err   error
}

// Observe returns a Store over s that reports every operation to seen when it ends; a get ends when it
// is closed. seen is called from several goroutines at a time.
func Observe(s Store, c clock.Clock, seen func(Observation)) Store {
	return &observed{Store: s, clock: c, seen: seen}
}

type observed struct {
	Store
	clock clock.Clock
	seen  func(Observation)
}

func (o *observed) report(op string, started time.Time, n int64, err error) {
	o.seen(Observation{op, n, o.clock.Now().Sub(started), err})
}

func (o *observed) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	started := o.clock.Now()
	err := o.Store.Put(ctx, key, data, ifAbsent)
	o.report("put", started, int64(len(data)), err)
	return err
}

func (o *observed) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	started := o.clock.Now()
	n, err := o.Store.Upload(ctx, key, r)
	o.report("upload", started, n, err)
	return n, err
}

func (o *observed) Stat(ctx context.Context, key string) (Object, error) {
	started := o.clock.Now()
	object, err := o.Store.Stat(ctx, key)
	o.report("stat", started, 0, err)
	return object, err
}

func (o *observed) Delete(ctx context.Context, key string) error {
	started := o.clock.Now()
	err := o.Store.Delete(ctx, key)
	o.report("delete", started, 0, err)
	return err
}

func (o *observed) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		started := o.clock.Now()
		var failed error
		defer func() { o.report("list", started, 0, failed) }()
		for object, err := range o.Store.List(ctx, prefix, after) {
			failed = err
			if !yield(object, err) {
				return
			}
		}
	}
}

func (o *observed) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	started := o.clock.Now()
	body, err := o.Store.Get(ctx, key, offset, length)
	if err != nil {
		o.report("get", started, 0, err)
		return nil, err
	}
	return &observedReader{ReadCloser: body, store: o, started: started}, nil
}

// observedReader counts what is read.
type observedReader struct {
	io.ReadCloser
	store   *observed
	started time.Time
	n       int64
	err     error
	closed  bool
}

func (r *observedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *observedReader) Close() error {
	if !r.closed {
		r.closed = true
		r.store.report("get", r.started, r.n, r.err)
	}
	return r.ReadCloser.Close()
}
