// Package seal turns plain bytes into what is stored, and back: compressed, encrypted where there are
// recipients, and counted and hashed on both sides.
//
// A sealed stream is a plain zstd frame, or several one behind the other, so that `zstd -d` reads it; an encrypted one is that in a file
// of age, so that `age -d | zstd -d` does.
package seal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/keys"
)

// Compression names the method in manifests.
const Compression = "zstd"

// Options of sealing.
type Options struct {
	// Threads compress one stream in parallel; 0 and 1 mean one.
	Threads int
	// SkipPlainHash leaves Result.PlainSHA256 zero, for callers that hash the plain bytes themselves.
	SkipPlainHash bool
	// Recipients, if any, are who alone can open what is sealed.
	Recipients *keys.Recipients
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
		err := s.write(io.MultiWriter(pw, out), io.TeeReader(plain, in))
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

// write writes what plain holds to stored, sealed.
func (s *Sealer) write(stored io.Writer, plain io.Reader) error {
	if s.o.Recipients == nil {
		return s.compress(stored, plain)
	}
	encrypted, err := s.o.Recipients.Encrypt(stored)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	if err := s.compress(encrypted, plain); err != nil {
		return err
	}
	return encrypted.Close()
}

func (s *Sealer) compress(stored io.Writer, plain io.Reader) error {
	if s.o.Threads > 1 {
		return s.compressFrames(stored, plain)
	}
	s.enc.Reset(stored)
	// The encoder's ReadFrom is hidden: it goes on compressing behind a failed write.
	_, err := io.CopyBuffer(struct{ io.Writer }{s.enc}, struct{ io.Reader }{plain}, s.buf)
	if cerr := s.enc.Close(); err == nil {
		err = cerr
	}
	return err
}

// Recipients are who can open what is sealed; nil: everybody.
func (s *Sealer) Recipients() *keys.Recipients { return s.o.Recipients }

// Suffix ends the keys of what is encrypted: ".age", or "".
func (s *Sealer) Suffix() string {
	if s.o.Recipients == nil {
		return ""
	}
	return ".age"
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
