package seal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/keys"
)

// Reader unseals a stream and checks it: the stored bytes' size and SHA-256 against what the
// manifest says, at the end. Close must be called; it does not close the stored stream.
type Reader struct {
	dec decompressor
	src *source
	end error // what Read has ended with
}

// decompressor returns plain bytes. When Close returns, it reads no stored ones any more.
type decompressor interface {
	io.Reader
	Close()
}

// newDecoder returns a decompressor of a stream, which needs no more memory than any that Seal has made.
func newDecoder(in io.Reader, threads int, more ...zstd.DOption) (*zstd.Decoder, error) {
	dec, err := zstd.NewReader(in, append([]zstd.DOption{zstd.WithDecoderConcurrency(threads), zstd.WithDecoderMaxWindow(32 << 20)}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	return dec, nil
}

// source are stored bytes that must have a size and a SHA-256. It counts and hashes what it reads, and remembers a failure to read.
type source struct {
	io.Reader
	counter
	size int64
	sha  []byte
	err  error
}

func newSource(stored io.Reader, size int64, sha []byte) *source {
	return &source{Reader: stored, counter: counter{hash: sha256.New()}, size: size, sha: sha}
}

// check says whether what has been read, to its end, is what was to be there.
func (s *source) check() error {
	if s.n != s.size {
		return fmt.Errorf("%w: %d bytes stored, %d expected", ErrDamaged, s.n, s.size)
	}
	if sum := s.hash.Sum(nil); string(sum) != string(s.sha) {
		return fmt.Errorf("%w: SHA-256 is %x, %x expected", ErrDamaged, sum, s.sha)
	}
	return nil
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	_, _ = s.counter.Write(p[:n])
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Open unseals stored, which must be size bytes with the SHA-256 sha. With ids it is
// encrypted. An error, of Open or of Read, that wraps ErrDamaged says that the bytes are not those, and
// keys.ErrWrong that they are for somebody else. With more than one thread the bytes are read and decrypted
// while those before them are decompressed.
func Open(stored io.Reader, size int64, sha []byte, ids *keys.Identities, threads int) (*Reader, error) {
	src := newSource(stored, size, sha)
	r := &Reader{src: src}
	compressed := io.Reader(src)
	if ids != nil {
		var err error
		if compressed, err = ids.Decrypt(src); errors.Is(err, keys.ErrWrong) {
			return nil, err
		} else if err != nil {
			return nil, r.failure(err)
		}
	}
	var err error
	if threads > 1 {
		r.dec, err = newFramesReader(compressed, threads)
	} else {
		r.dec, err = newDecoder(compressed, 1)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ErrDamaged: the stored bytes are not those that were stored.
var ErrDamaged = errors.New("stored bytes are damaged")

// failure is what an error of decrypting or decompressing means.
func (r *Reader) failure(err error) error {
	if r.src.err == nil { // the storage gave what it had, and that makes no sense
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r.src.err
}

// Read returns plain bytes. io.EOF comes only after the whole stored object was read and its size
// and hash were found right.
func (r *Reader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	n, err := r.dec.Read(p)
	if err != nil {
		r.dec.Close() // nobody else reads the stored bytes any more
		if err == io.EOF {
			err = r.finish()
		} else {
			err = r.failure(err)
		}
		r.end = err
	}
	return n, err
}

// finish reads what is left of the stored bytes, and returns io.EOF if all are those that were sealed.
func (r *Reader) finish() error {
	if _, err := io.Copy(io.Discard, r.src); err != nil {
		return err
	}
	if err := r.src.check(); err != nil {
		return err
	}
	return io.EOF
}

// Close releases the decompressor.
func (r *Reader) Close() { r.dec.Close() }

// Check returns what is stored as it is, which must be size bytes with the SHA-256 sha: io.EOF comes
// only when it was, and else an error that wraps ErrDamaged.
func Check(stored io.Reader, size int64, sha []byte) io.Reader {
	return &checked{newSource(stored, size, sha)}
}

type checked struct{ src *source }

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if err == io.EOF {
		if cerr := c.src.check(); cerr != nil {
			err = cerr
		}
	}
	return n, err
}
