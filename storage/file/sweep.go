package file

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"tidemark/internal/durable"
	"tidemark/storage"
)

// Sweep removes the temporary files that were last written to before a time, and returns how many.
// None of them may belong to a write that is under way: a day ago is a safe choice.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	n, err := s.sweep(ctx, s.dir, before)
	if err != nil {
		return n, s.fault("sweep archive directory", s.dir, err)
	}
	return n, nil
}

func (s *Store) sweep(ctx context.Context, dir string, before time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	entries, err := s.fsys.ReadDir(dir, func(e fs.DirEntry) bool {
		return durable.IsTemp(e.Name()) || !e.Type().IsRegular() && storage.CheckKey(e.Name()) == nil
	})
	if notExist(err) { // removed meanwhile, or a link to a file
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range entries {
		n, err := 0, error(nil)
		if path := filepath.Join(dir, e.Name()); durable.IsTemp(e.Name()) {
			n, err = s.sweepFile(path, before)
		} else {
			n, err = s.sweep(ctx, path, before)
		}
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (s *Store) sweepFile(path string, before time.Time) (int, error) {
	info, err := s.fsys.Stat(path)
	if err == nil && info.ModTime().Before(before) {
		if err = s.fsys.Remove(path); err == nil {
			return 1, nil
		}
	}
	if notExist(err) { // its writer has finished
		return 0, nil
	}
	return 0, err
}
