package cloud

import (
	"context"
	"io"
	"sync"

	"tidemark/storage"
)

// Sizes of an upload. Memory is at most inFlight parts: 24 MiB for an object of up to 7.8 GiB, and
// 768 MiB for one of more than 242 GiB; 10,000 parts, which is what S3 takes, are 1.4 TiB.
const (
	firstPart  = 8 << 20
	largePart  = 256 << 20
	partsAlike = 1000 // after so many the size doubles
	inFlight   = 3
)

// partSize returns the size of part n, from 1.
func partSize(n int) int {
	return int(min(int64(firstPart)<<min((n-1)/partsAlike, 20), largePart))
}

// Multipart is how a provider takes an object in parts. Each method is tried again when its error is
// one that may pass; the errors are as a driver returns them.
type Multipart interface {
	// Whole stores an object that is no larger than one part.
	Whole(ctx context.Context, data []byte) error
	// Begin, Part and Complete store any other. Parts are numbered from 1 and come several at a time,
	// in any order; data is the caller's again when Part returns.
	Begin(ctx context.Context) error
	Part(ctx context.Context, n int, data []byte) error
	Complete(ctx context.Context, parts int, size int64) error
	// Abort gives up what was begun. Its failure leaves parts that the provider, or a rule of the
	// bucket, removes.
	Abort(ctx context.Context)
}

// Upload stores r and returns its length. When r or ctx fails it returns their error, and the object
// does not appear.
func Upload(ctx context.Context, op, key string, r io.Reader, m Multipart, b storage.Backoff) (int64, error) {
	src := storage.NewSource(ctx, r)
	first := make([]byte, firstPart)
	n, more, err := fill(src, first)
	if err != nil {
		return 0, Plain(op, key, err)
	}
	if !more {
		err := b.Do(ctx, func() error { return m.Whole(ctx, first[:n]) })
		if err != nil {
			return 0, err
		}
		return int64(n), nil
	}
	if err := b.Do(ctx, func() error { return m.Begin(ctx) }); err != nil {
		return 0, err
	}
	u := &upload{m: m, backoff: b, src: src, free: make(chan []byte, inFlight)}
	for range inFlight - 1 {
		u.free <- nil
	}
	parts, size, err := u.parts(ctx, first)
	if err == nil {
		err = b.Do(ctx, func() error { return m.Complete(ctx, parts, size) })
	}
	if err == nil {
		return size, nil
	}
	m.Abort(context.WithoutCancel(ctx))
	if serr := src.Err(); serr != nil {
		err = Plain(op, key, serr)
	}
	return 0, err
}

// fill reads until p is full or the stream ends, and tells whether it may go on.
func fill(src *storage.Source, p []byte) (n int, more bool, err error) {
	for n < len(p) {
		m, err := src.Read(p[n:])
		n += m
		if err == io.EOF {
			return n, false, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, true, nil
}

// upload is one that has been begun.
type upload struct {
	m       Multipart
	backoff storage.Backoff
	src     *storage.Source
	free    chan []byte // what parts may be read into
}

// parts sends all parts, the first of which has been read, and returns their number and sum.
func (u *upload) parts(ctx context.Context, data []byte) (n int, size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for more := true; len(data) > 0; {
		n++
		size += int64(len(data))
		number, part := n, data
		wg.Go(func() {
			err := u.backoff.Do(ctx, func() error { return u.m.Part(ctx, number, part) })
			if err != nil {
				cancel(err) // the first counts; the others end with it
			}
			u.free <- part
		})
		if !more {
			break
		}
		if data, more, err = u.next(ctx, n+1); err != nil {
			cancel(err)
			return 0, 0, err
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return 0, 0, context.Cause(ctx)
	}
	return n, size, nil
}

// next reads a part as soon as there is room for it.
func (u *upload) next(ctx context.Context, n int) (data []byte, more bool, err error) {
	select {
	case data = <-u.free:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	if want := partSize(n); cap(data) < want {
		data = make([]byte, want)
	} else {
		data = data[:want]
	}
	read, more, err := fill(u.src, data)
	if err != nil {
		return nil, false, err
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	return data[:read], more, nil
}
