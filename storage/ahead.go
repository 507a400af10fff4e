package storage

import (
	"context"
	"io"
	"iter"

	"tidemark/internal/ordered"
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
	a := &ahead{ctx: ctx, cancel: cancel, first: first}
	a.next, a.stop = iter.Pull(ordered.Map(ctx, aheadPieces, a.pieces(size), func(ctx context.Context, p *piece) *piece {
		p.read(ctx, s, key)
		return p
	}))
	return a, nil
}

// ahead reads the pieces of an object in order.
type ahead struct {
	ctx    context.Context
	cancel context.CancelFunc
	first  io.ReadCloser // what has been opened for the first piece, until that takes it
	next   func() (*piece, bool)
	stop   func() // waits for the requests that are under way
	left   []byte // of the last piece
	end    error  // behind it
}

type piece struct {
	at   int64
	buf  []byte // to be filled, then what was read
	body io.ReadCloser
	err  error // behind what was read
}

// pieces are those of an object of so many bytes. The memory of one is used again aheadPieces later.
func (a *ahead) pieces(size int64) iter.Seq[*piece] {
	return func(yield func(*piece) bool) {
		var bufs [aheadPieces][]byte
		for i := int64(0); i*aheadPiece < size; i++ {
			at, buf := i*aheadPiece, &bufs[i%aheadPieces]
			if *buf == nil {
				*buf = make([]byte, aheadPiece+1)
			}
			length := int64(aheadPiece)
			if at+length >= size {
				length = size - at + 1 // shows whether there is more
			}
			p := &piece{at: at, buf: (*buf)[:length], body: a.first}
			a.first = nil
			if !yield(p) {
				return
			}
		}
	}
}

// read fills the piece from the object, or with what has been opened there already.
func (p *piece) read(ctx context.Context, s Store, key string) {
	whole := p.buf
	if p.buf = whole[:0]; p.body == nil {
		if p.body, p.err = s.Get(ctx, key, p.at, int64(len(whole))); p.err != nil {
			return
		}
	}
	defer p.body.Close()
	n, err := io.ReadFull(p.body, whole)
	if p.buf = whole[:n]; err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	p.err = err
}

func (a *ahead) Read(b []byte) (int, error) {
	for len(a.left) == 0 {
		if a.end != nil {
			return 0, a.end
		}
		if p, ok := a.next(); ok {
			a.left, a.end = p.buf, p.err
		} else if a.end = a.ctx.Err(); a.end == nil {
			a.end = io.EOF
		}
	}
	n := copy(b, a.left)
	a.left = a.left[n:]
	return n, nil
}

// Close ends the requests that are under way.
func (a *ahead) Close() error {
	a.cancel()
	a.stop()
	if a.first != nil { // nothing was read
		return a.first.Close()
	}
	return nil
}
