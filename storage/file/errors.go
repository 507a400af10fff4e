package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"tidemark/internal/fault"
)

// keyError says what was being done, and to which key, when err is for the caller to tell apart.
func keyError(op, key string, err error) error {
	return fmt.Errorf("%s: %w", strings.TrimSpace(op+" "+key), err)
}

// fault makes err a failure of the storage, with the next step where one is known. An end of the
// context is not the storage's failure.
func (s *Store) fault(op, key string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return keyError(op, key, err)
	}
	return fault.New(fault.Storage, op, key, err).WithHint(s.hint(op, err))
}

func (s *Store) hint(op string, err error) string {
	var link *os.LinkError
	noLinks := errors.As(err, &link) && link.Op == "link" &&
		(errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported))
	switch {
	case noLinks:
		return "The file system of the archive directory " + s.dir + " has no hard links, which the archive needs: choose another one."
	case errors.Is(err, fs.ErrPermission):
		access := "writable"
		switch op {
		case "get", "stat", "read", "list", "open archive directory":
			access = "readable"
		}
		return "The archive directory " + s.dir + " is not " + access + " by this user: look at its owner and mode, and at those of what is in it."
	case errors.Is(err, syscall.EROFS):
		return "The file system of the archive directory " + s.dir + " is read-only: remount it, and look at the kernel log if it was writable before."
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return "The file system of the archive directory " + s.dir + " is full: free space on it."
	case errors.Is(err, syscall.ENOTDIR):
		return "The archive must be a directory: look at what " + s.dir + " is."
	case errors.Is(err, syscall.EIO):
		return "The disk of the archive directory " + s.dir + " fails: look at the kernel log."
	}
	return ""
}
