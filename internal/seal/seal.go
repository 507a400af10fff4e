// Package seal turns plain bytes into what is stored, and back: compressed, and counted and hashed
// on both sides of the compression.
//
// A sealed stream is a plain zstd frame, so that `zstd -d` reads it.
package seal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Compression names the method in manifests.
const Compression = "zstd"

// Extension ends the key of every sealed object.
const Extension = ".zst"

// Options of sealing.
type Options struct {
	// Threads compress one stream in parallel; 0 and 1 mean one.
	Threads int
	// SkipPlainHash leaves Result.PlainSHA256 zero, for callers that hash the plain bytes themselves.
	SkipPlainHash bool
}

// Result describes both sides of a sealed stream.
type Result struct {
	PlainBytes   int64
	PlainSHA256  [sha256.Size]byte
	StoredBytes  int64
	StoredCRC32C uint32
	StoredSHA256 [sha256.Size]byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sealer seals streams one after another, reusing its memory. It is not for concurrent use.
type Sealer struct {
	enc *zstd.Encoder
	o   Options
	buf []byte
}

// New returns a Sealer.
func New(o Options) (*Sealer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(max(1, o.Threads)), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("start compression: %w", err)
	}
	return &Sealer{enc: enc, o: o, buf: make([]byte, 256<<10)}, nil
}

// Seal reads plain to its end and hands the sealed stream to store, which must read it to its end.
// The result is right only when the error is nil.
func (s *Sealer) Seal(ctx context.Context, plain io.Reader, store func(context.Context, io.Reader) error) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	in := &counter{}
	if !s.o.SkipPlainHash {
		in.hash = sha256.New()
	}
	out := &counter{hash: sha256.New(), crc: true}

	done := make(chan error, 1)
	go func() {
		s.enc.Reset(io.MultiWriter(pw, out))
		// The encoder's ReadFrom is hidden: it goes on compressing behind a failed write.
		_, err := io.CopyBuffer(struct{ io.Writer }{s.enc}, struct{ io.Reader }{io.TeeReader(plain, in)}, s.buf)
		if cerr := s.enc.Close(); err == nil {
			err = cerr
		}
		pw.CloseWithError(err) // nil becomes io.EOF
		done <- err
	}()
	err := store(ctx, pr)
	pr.CloseWithError(io.ErrClosedPipe) // release the compressor when store gave up early
	if serr := <-done; err == nil {
		err = serr
	}
	if err != nil {
		return Result{}, err
	}
	r := Result{PlainBytes: in.n, StoredBytes: out.n, StoredCRC32C: out.sum}
	if in.hash != nil {
		in.hash.Sum(r.PlainSHA256[:0])
	}
	out.hash.Sum(r.StoredSHA256[:0])
	return r, nil
}

// counter counts and hashes what is written to it.
type counter struct {
	n    int64
	hash hash.Hash // nil: only counted
	crc  bool
	sum  uint32
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.hash != nil {
		c.hash.Write(p)
	}
	if c.crc {
		c.sum = crc32.Update(c.sum, castagnoli, p)
	}
	return len(p), nil
}

// Reader unseals a stream and checks it: the stored bytes' size and SHA-256 against what the
// manifest says, at the end. Close must be called; it does not close the stored stream.
type Reader struct {
	dec  *zstd.Decoder
	src  *source
	size int64
	sha  []byte
	done bool
}

// source counts and hashes what it reads, and remembers a failure to read.
type source struct {
	io.Reader
	counter
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	_, _ = s.counter.Write(p[:n])
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Open unseals stored, which must be size bytes with the SHA-256 sha. An error of Read that
// wraps ErrDamaged says that they are not.
func Open(stored io.Reader, size int64, sha []byte) (*Reader, error) {
	src := &source{Reader: stored, counter: counter{hash: sha256.New()}}
	dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	return &Reader{dec: dec, src: src, size: size, sha: sha}, nil
}

// ErrDamaged: the stored bytes are not those that were stored.
var ErrDamaged = fmt.Errorf("stored bytes are damaged")

// Read returns plain bytes. io.EOF comes only after the whole stored object was read and its size
// and hash were found right.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.dec.Read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		if r.src.err == nil { // the storage gave what it had, and that does not decompress
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return n, err
	}
	if !r.done {
		if _, err := io.Copy(io.Discard, r.src); err != nil {
			return n, err
		}
		if r.src.n != r.size {
			return n, fmt.Errorf("%w: %d bytes stored, %d expected", ErrDamaged, r.src.n, r.size)
		}
		if sum := r.src.hash.Sum(nil); string(sum) != string(r.sha) {
			return n, fmt.Errorf("%w: SHA-256 is %x, %x expected", ErrDamaged, sum, r.sha)
		}
		r.done = true
	}
	return n, io.EOF
}

// Close releases the decompressor.
func (r *Reader) Close() { r.dec.Close() }
