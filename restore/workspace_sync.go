package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"tidemark/internal/durable"
	"tidemark/internal/mysqld"
)

// sync makes durable all that was written to the target, and gives it to the owner.
func (w *workspace) sync(owner mysqld.User) error {
	err := filepath.WalkDir(w.target, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = w.syncOne(path, e, owner)
		}
		if errors.Is(err, fs.ErrNotExist) && path != w.target { // a server may run there
			err = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make the restored files durable: %w", err)
	}
	return nil
}

func (w *workspace) syncOne(path string, e fs.DirEntry, owner mysqld.User) error {
	err := owner.Own(path)
	switch {
	case err != nil:
		return err
	case e.IsDir():
		return w.fsys.SyncDir(path)
	case !e.Type().IsRegular():
		return nil
	}
	f, err := w.fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// finish makes all that was written durable, and the owner's, and records that it is done.
func (w *workspace) finish(owner mysqld.User, report *Report) error {
	if err := w.sync(owner); err != nil {
		return err
	}
	w.state.Step, w.state.Report, w.state.To = stepDone, report, report.Target
	return w.save()
}

// tidy removes what only a running restore needs: the marker last, behind which the target is no longer
// ours. The logs stay.
func (w *workspace) tidy() error {
	if err := w.removeDirs(); err != nil {
		return err
	}
	return durable.Remove(w.fsys, filepath.Join(w.target, marker))
}
