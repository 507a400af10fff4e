package seal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// A stream that several threads compress is a row of zstd frames, each of so many plain bytes: no more than
// the level looks back anyway. It is read by whatever reads zstd, and by several threads too.
const frameSize = 4 << 20

// compressFrames compresses a frame a thread.
func (s *Sealer) compressFrames(stored io.Writer, plain io.Reader) error {
	fill := func(p *piece) error {
		if p.in == nil {
			p.in = make([]byte, frameSize)
		}
		n, err := io.ReadFull(plain, p.in[:frameSize])
		if p.in = p.in[:n]; err == io.ErrUnexpectedEOF {
			return nil
		}
		return err
	}
	for p, err := range lane(s.o.Threads, fill, func(p *piece) { p.out = s.enc.EncodeAll(p.in, p.out[:0]) }) {
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := stored.Write(p.out); err != nil {
			return err
		}
	}
	return nil
}

// largestFrame is the most plain bytes of a frame that is decompressed in one piece.
const largestFrame = 16 << 20

// errLarge: the next frame is not one of those that compressFrames writes.
var errLarge = errors.New("a frame is large, or does not say how large it is")

// framesReader decompresses a row of frames, several at a time; what is not a row of small frames as a stream.
type framesReader struct {
	in      *bufio.Reader
	threads int
	dec     *zstd.Decoder
	next    func() (*piece, error, bool) // of the lane
	stop    func()                       // ends the lane
	stream  *zstd.Decoder                // of what is behind it, if it did not reach the end
	left    []byte                       // of the last piece
	end     error                        // behind the last piece
	closed  bool
}

func newFramesReader(in io.Reader, threads int) (*framesReader, error) {
	dec, err := newDecoder(nil, threads, zstd.WithDecoderMaxMemory(largestFrame))
	if err != nil {
		return nil, err
	}
	r := &framesReader{in: bufio.NewReaderSize(in, 128<<10), threads: threads, dec: dec}
	r.next, r.stop = iter.Pull2(lane(threads, r.fill, func(p *piece) { p.out, p.err = dec.DecodeAll(p.in, p.out[:0]) }))
	return r, nil
}

// fill reads the next frame.
func (r *framesReader) fill(p *piece) error {
	head, err := r.in.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 || err != nil && err != io.EOF {
		return err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return err
	}
	if h.Skippable || !h.HasFCS || h.FrameContentSize > largestFrame {
		return errLarge
	}
	p.in = p.in[:0]
	if err := r.take(p, h.HeaderSize); err != nil {
		return err
	}
	for last := false; !last; {
		const blockHeader = 3 // the last one? 2 bits of type, 21 of size
		if err := r.take(p, blockHeader); err != nil {
			return err
		}
		b := p.in[len(p.in)-blockHeader:]
		header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size := int(header >> 3)
		if last = header&1 == 1; header>>1&3 == 1 {
			size = 1 // the byte that all of them are
		}
		if len(p.in)+size > 2*largestFrame {
			return fmt.Errorf("a frame of %d bytes takes more than %d", h.FrameContentSize, len(p.in))
		}
		if err := r.take(p, size); err != nil {
			return err
		}
	}
	if h.HasCheckSum {
		return r.take(p, 4)
	}
	return nil
}

// take reads n more bytes of a frame.
func (r *framesReader) take(p *piece, n int) error {
	at := len(p.in)
	p.in = slices.Grow(p.in, n)[:at+n]
	if _, err := io.ReadFull(r.in, p.in[at:]); err == io.EOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	return nil
}

func (r *framesReader) Read(b []byte) (int, error) {
	for len(r.left) == 0 {
		if r.stream != nil {
			return r.stream.Read(b)
		}
		if r.end != nil {
			return 0, r.end
		}
		p, err, _ := r.next()
		if errors.Is(err, errLarge) {
			if r.stream, err = newDecoder(r.in, r.threads); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			r.end = err
			continue
		}
		r.left = p.out
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

// Close ends the reading. When it returns, nothing reads the stored bytes any more.
func (r *framesReader) Close() {
	if r.closed {
		return
	}
	r.closed = true
	if r.stream != nil {
		r.stream.Close()
	}
	r.stop()
	r.dec.Close()
}
