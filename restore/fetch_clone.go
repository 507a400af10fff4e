package restore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"tidemark/internal/clone"
)

// fetchClone reads the parts of a clone in order and lays its files out in the target.
func (r *run) fetchClone(ctx context.Context) error {
	return r.unpack(ctx, func(in io.Reader) error {
		_, err := clone.Extract(ctx, in, r.work.target, r.FS)
		return err
	})
}

// unpack gives the parts of the base backup, in order, to what writes their files into the target.
func (r *run) unpack(ctx context.Context, into func(io.Reader) error) error {
	r.tracker.total(r.plan.base.PlainBytes, 0)
	pr, pw := io.Pipe()
	read := make(chan error, 1)
	go func() {
		var done int64
		var err error
		for _, p := range r.plan.base.Parts {
			if err = r.extract(ctx, p, pw, &done); err != nil {
				break
			}
		}
		pw.CloseWithError(err) // nil becomes io.EOF
		read <- err
	}()
	err := into(pr)
	pr.CloseWithError(io.ErrClosedPipe) // when it gave up early
	if rerr := <-read; rerr != nil && !errors.Is(rerr, io.ErrClosedPipe) {
		return rerr
	}
	if err != nil {
		return err
	}
	return filepath.WalkDir(r.work.target, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return r.user.Own(path)
	})
}
