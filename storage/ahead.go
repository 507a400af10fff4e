package storage

import (
	"context"
	"io"
)

// How much of an object is read ahead. Storage over a network answers one request slowly however wide
// the way to it is, and several at once as fast as that.
const (
	aheadPiece  = 8 << 20 // bytes of a request
	aheadPieces = 4       // in memory at most, the one that is being read included
)

// Ahead opens an object of the size that is expected, for reading from its beginning to its end. A large one
// is read in pieces, several at a time, in a few tens of MiB of memory. Of an object of another size as
// much is read as shows that: less, or one byte more.
func Ahead(ctx context.Context, s Store, key string, size int64) (io.ReadCloser, error) {
	if size <= aheadPiece {
		return s.Get(ctx, key, 0, -1)
	}
	ctx, cancel := context.WithCancel(ctx)
	first, err := s.Get(ctx, key, 0, aheadPiece)
	if err != nil {
		cancel()
		return nil, err
	}
	a := &ahead{cancel: cancel, queue: make(chan *piece, aheadPieces), free: make(chan []byte, aheadPieces)}
	for range aheadPieces {
		a.free <- nil
	}
	go a.run(ctx, s, key, size, first)
	return a, nil
}

// ahead reads the pieces of an object in order.
type ahead struct {
	cancel context.CancelFunc
	queue  chan *piece // in order; closed behind the last one
	free   chan []byte // buffers for pieces, nil before their first use
	now    *piece
	left   []byte // of now
	end    error  // behind the last piece, when queue is closed
}

type piece struct {
	done chan struct{} // closed when it is read
	buf  []byte
	err  error // behind what was read
}

// run asks for piece after piece, as buffers become free.
func (a *ahead) run(ctx context.Context, s Store, key string, size int64, body io.ReadCloser) {
	defer close(a.queue)
	a.end = io.EOF
	for at := int64(0); at < size; at += aheadPiece {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-ctx.Done():
			if body != nil {
				body.Close()
			}
			a.end = ctx.Err()
			return
		}
		if buf == nil {
			buf = make([]byte, aheadPiece+1)
		}
		length := int64(aheadPiece)
		if at+length >= size {
			length = size - at + 1 // shows whether there is more
		}
		p := &piece{done: make(chan struct{}), buf: buf[:length]}
		a.queue <- p // there are no more of them than it takes
		go p.read(ctx, s, key, at, body)
		body = nil
	}
}

// read fills the piece from the object at an offset, or with what has been opened there already.
func (p *piece) read(ctx context.Context, s Store, key string, at int64, body io.ReadCloser) {
	defer close(p.done)
	whole := p.buf
	if p.buf = whole[:0]; body == nil {
		if body, p.err = s.Get(ctx, key, at, int64(len(whole))); p.err != nil {
			return
		}
	}
	defer body.Close()
	n, err := io.ReadFull(body, whole)
	if p.buf = whole[:n]; err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	p.err = err
}

func (a *ahead) Read(b []byte) (int, error) {
	for len(a.left) == 0 {
		if a.now != nil {
			if a.now.err != nil {
				return 0, a.now.err
			}
			a.free <- a.now.buf[:cap(a.now.buf)]
			a.now = nil
		}
		p, ok := <-a.queue
		if !ok {
			return 0, a.end
		}
		<-p.done
		a.now, a.left = p, p.buf
	}
	n := copy(b, a.left)
	a.left = a.left[n:]
	return n, nil
}

// Close ends the requests that are under way.
func (a *ahead) Close() error {
	a.cancel()
	for p := range a.queue {
		<-p.done
	}
	return nil
}
