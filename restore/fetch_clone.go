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
	_, err := clone.Extract(ctx, pr, r.work.target, r.FS)
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
