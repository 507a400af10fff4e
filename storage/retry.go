package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"tidemark/internal/clock"
)

// Backoff is how often and how soon something is tried again.
type Backoff struct {
	Attempts int           // at most, the first one included
	First    time.Duration // the first wait is at most this, each further one at most twice as long
	Most     time.Duration // but never longer than this
	Clock    clock.Clock
}

// DefaultBackoff takes about six seconds to give up, and at most twelve: enough for a restart of what
// answers, and for a provider that asks to slow down. Those who can wait longer try again themselves.
func DefaultBackoff() Backoff {
	return Backoff{Attempts: 7, First: 200 * time.Millisecond, Most: 10 * time.Second, Clock: clock.System{}}
}

// Do tries until f succeeds, fails for good, or has been tried often enough. The waits are random from
// nothing to their bound, so that many clients of an overloaded server do not come back together.
func (b Backoff) Do(ctx context.Context, f func() error) error {
	for tried := 1; ; tried++ {
		err := f()
		if err == nil || Permanent(err) || tried >= b.Attempts || !b.wait(ctx, tried) {
			return err
		}
	}
}

// wait waits after so many tries, and returns false if the context ends first.
func (b Backoff) wait(ctx context.Context, tried int) bool {
	bound := min(b.First<<min(tried-1, 20), b.Most)
	if ctx.Err() != nil {
		return false
	}
	select {
	case <-b.Clock.After(rand.N(bound + 1)):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Retry returns a Store over s that tries again what may pass, by itself:
//
//   - a put if absent whose outcome is unknown and that then finds the object has won if what is there
//     is what was put;
//   - a listing goes on after the last object it has yielded;
//   - the reading of an object goes on where it was cut off. The objects of an archive do not change,
//     and what is read is checked against its manifest: who replaces objects under a reader may see
//     the beginning of one and the end of another.
//
// An upload is not tried again, as its stream is gone: drivers do so with its parts.
func Retry(s Store, b Backoff) Store { return &retry{Store: s, backoff: b} }

type retry struct {
	Store
	backoff Backoff
}

func (r *retry) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	unknown := false // an earlier try may have put it
	return r.backoff.Do(ctx, func() error {
		err := r.Store.Put(ctx, key, data, ifAbsent)
		if errors.Is(err, ErrExist) && unknown {
			there, rerr := ReadAll(ctx, r.Store, key, int64(len(data)))
			switch {
			case rerr == nil && bytes.Equal(there, data):
				return nil
			case rerr != nil && !errors.Is(rerr, errTooLarge) && !errors.Is(rerr, ErrNotExist):
				return rerr // not known to be another's
			}
		}
		unknown = unknown || err != nil && !Permanent(err)
		return err
	})
}

func (r *retry) Stat(ctx context.Context, key string) (o Object, err error) {
	err = r.backoff.Do(ctx, func() error {
		o, err = r.Store.Stat(ctx, key)
		return err
	})
	return o, err
}

func (r *retry) Delete(ctx context.Context, key string) error {
	return r.backoff.Do(ctx, func() error { return r.Store.Delete(ctx, key) })
}

func (r *retry) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		last, tried := after, 0
		for {
			var failed error
			for o, err := range r.Store.List(ctx, prefix, last) {
				if err != nil {
					failed = err
					break
				}
				last, tried = o.Key, 0
				if !yield(o, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			if tried++; Permanent(failed) || tried >= r.backoff.Attempts || !r.backoff.wait(ctx, tried) {
				yield(Object{}, failed)
				return
			}
		}
	}
}

func (r *retry) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := r.open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return &resumed{ctx: ctx, retry: r, key: key, offset: offset, left: length, body: body}, nil
}

func (r *retry) open(ctx context.Context, key string, offset, length int64) (body io.ReadCloser, err error) {
	err = r.backoff.Do(ctx, func() error {
		body, err = r.Store.Get(ctx, key, offset, length)
		return err
	})
	return body, err
}

// resumed reads a range of an object and opens what is left of it again when it is cut off.
type resumed struct {
	ctx    context.Context
	retry  *retry
	key    string
	offset int64 // of what comes next
	left   int64 // bytes to come; negative: to the end
	body   io.ReadCloser
	tried  int // since a byte came
}

func (r *resumed) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		if n > 0 {
			r.offset += int64(n)
			if r.left >= 0 {
				r.left = max(r.left-int64(n), 0)
			}
			r.tried = 0
		}
		if err == nil || err == io.EOF || Permanent(err) {
			return n, err
		}
		if r.tried++; r.tried >= r.retry.backoff.Attempts || !r.retry.backoff.wait(r.ctx, r.tried) {
			return n, err
		}
		again, gerr := r.retry.open(r.ctx, r.key, r.offset, r.left)
		if gerr != nil {
			return n, gerr
		}
		r.body.Close()
		r.body = again
		if n > 0 {
			return n, nil
		}
	}
}

func (r *resumed) Close() error { return r.body.Close() }
