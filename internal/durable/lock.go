package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked: another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock is an advisory lock of this process on a file. It ends with the process, however that ends.
type Lock struct{ f *os.File }

// TryLock locks the file, making it when it is missing, or returns ErrLocked at once.
func TryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return &Lock{f: f}, nil
}

// File is for child processes to inherit: then the lock ends with the last of them.
func (l *Lock) File() *os.File { return l.f }

// Release ends the lock. The file stays: to remove it would let two processes lock two files.
func (l *Lock) Release() { _ = l.f.Close() }
