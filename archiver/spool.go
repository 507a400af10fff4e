package archiver

import (
	"errors"
	"path/filepath"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// Spool is a spool directory that this process holds: no other one uses it, and one that did is dead.
type Spool struct {
	lock durable.Held
	uuid string
}

// HoldSpool makes a spool directory if need be, and locks it. The error is of kind Locked when another process
// has it.
func HoldSpool(fsys durable.FS, dir string) (*Spool, error) {
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return nil, fault.New(fault.Config, "make the spool directory", dir, err).
			WithHint("Give the user that runs tidemark a state_dir it may write to.")
	}
	lock, err := fsys.TryLock(filepath.Join(dir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fault.New(fault.Locked, "open the spool", dir, errors.New("another process uses it")).
			WithHint("Stop the other `tidemark run`, or give this one a state_dir of its own.")
	}
	if err != nil {
		return nil, fault.New(fault.Config, "lock the spool", dir, err).
			WithHint("Give the user that runs tidemark a state_dir it may write to.")
	}
	s, err := loadState(fsys, dir)
	if err != nil {
		lock.Release()
		return nil, err
	}
	return &Spool{lock: lock, uuid: s.Writer}, nil
}

// UUID is the persistent name of whoever archives from this spool.
func (s *Spool) UUID() string { return s.uuid }

// Release lets others use it.
func (s *Spool) Release() { s.lock.Release() }

// letGo releases a spool that Open has taken hold of.
func (a *Archiver) letGo() {
	if a.o.Spool == nil {
		a.spool.Release()
	}
}
