package storage

import (
	"context"
	"io"
)

// Source is the reader of an upload, for drivers. It ends with the context, also when that ends just
// before r does, and keeps what ended it apart from the errors of the storage.
type Source struct {
	ctx context.Context
	r   io.Reader
	err error
}

// NewSource returns a Source over r.
func NewSource(ctx context.Context, r io.Reader) *Source { return &Source{ctx: ctx, r: r} }

// Err returns what ended the stream before its end: the context's or the reader's error.
func (s *Source) Err() error { return s.err }

// Read reads from the stream.
func (s *Source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil {
		if cerr := s.ctx.Err(); cerr != nil {
			err = cerr
		}
		if err != io.EOF {
			s.err = err
		}
	}
	return n, err
}
