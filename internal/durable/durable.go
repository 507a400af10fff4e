// Package durable is the one place in the program that creates, renames, links and syncs files.
//
// A file is durable when its bytes and the name that leads to it would survive a loss of power.
// That takes an order of operations, written here once: the bytes go to a temporary file beside
// the final name and are synced, the final name is made in one step, and then the directory that
// holds the name is synced. A crash leaves the old file or the new one, never a part of one, and
// at worst a temporary file that IsTemp recognizes.
//
// Everything goes through FS, so that a test can fail any step, or lose what was not synced.
package durable

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"tidemark/internal/failpoint"
)

// tempPrefix begins the name of a temporary file. The '~' keeps it apart from every storage key.
const tempPrefix = ".tmp~"

// copyBuffer is the size of the pieces in which a stream is written, in bytes.
const copyBuffer = 256 << 10

// IsTemp reports whether a file of this name (the last element, no directory) is the temporary
// file of a write that is under way or was cut off.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// WriteFileAtomic stores data under path, replacing what is there. When it returns nil the file is
// durable. An error from the last step, the sync of the directory, leaves the outcome unknown;
// after any earlier error path is as it was.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	temp, _, err := writeTemp(fsys, path, whole(data))
	if err != nil {
		return err
	}
	return replace(fsys, temp, path)
}

// WriteStreamAtomic is WriteFileAtomic for a stream that ends with io.EOF; any other error of r
// leaves path as it was and is returned unchanged. It returns the number of bytes stored.
func WriteStreamAtomic(fsys FS, path string, r io.Reader) (int64, error) {
	temp, n, err := writeTemp(fsys, path, func(f File) (int64, error) {
		// Only the Write method is shown to io, whose shortcuts would ignore the buffer.
		return io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, copyBuffer))
	})
	if err != nil {
		return 0, err
	}
	if err := replace(fsys, temp, path); err != nil {
		return 0, err
	}
	return n, nil
}

// WriteFileExclusive stores data under path if nothing is there. Of several writers, in whatever
// processes, exactly one gets nil; the others get an error that matches fs.ErrExist and change
// nothing. In both cases the file under path is durable. After any other error the outcome is
// unknown.
func WriteFileExclusive(fsys FS, path string, data []byte) error {
	temp, _, err := writeTemp(fsys, path, whole(data))
	if err != nil {
		return err
	}
	failpoint.Before(failpoint.FileLink)
	err = fsys.Link(temp, path)
	failpoint.After(failpoint.FileLink)
	if err == nil || errors.Is(err, fs.ErrExist) {
		// The loser syncs too: the winner may have died before it could, and whoever hears
		// "exists" goes on to rely on that file.
		if serr := fsys.SyncDir(filepath.Dir(path)); serr != nil {
			if err == nil {
				// A failure is told once: whoever tried again would find the name, sync the directory without an error, and
				// take the file for durable.
				_ = fsys.Remove(path)
			}
			err = serr
		}
	}
	// A second name for the bytes does no harm if this fails or is never synced.
	_ = fsys.Remove(temp)
	return err
}

// Remove removes a file or an empty directory, durably. That there was none is an error that
// matches fs.ErrNotExist.
func Remove(fsys FS, path string) error {
	if err := fsys.Remove(path); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// MkdirAll makes dir and the parents it lacks, durably. A directory that exists may have been made
// by a call that has not synced it yet, or died before it could. As every call syncs a directory's
// parent before it goes on to the child, that can only be the deepest one, and it is synced again.
func MkdirAll(fsys FS, dir string) error {
	parent := filepath.Dir(filepath.Clean(dir))
	info, err := fsys.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	case err == nil:
		return Settle(fsys, parent)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := MkdirAll(fsys, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

// Settle syncs a directory that we have not changed ourselves, so that names left there by a
// process that died before its sync become durable before anyone relies on them. A directory that
// is closed to us, is read-only or cannot be synced holds no such names of ours: that is no error.
func Settle(fsys FS, dir string) error {
	err := fsys.SyncDir(dir)
	for _, harmless := range []error{fs.ErrPermission, errors.ErrUnsupported, syscall.EROFS, syscall.EINVAL} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}

// whole writes data in one call.
func whole(data []byte) func(File) (int64, error) {
	return func(f File) (int64, error) {
		n, err := f.Write(data)
		return int64(n), err
	}
}

// writeTemp makes a temporary file beside path and lets fill write it. It returns the file's path
// and fill's count when the bytes are durable; after an error there is no file.
func writeTemp(fsys FS, path string, fill func(File) (int64, error)) (string, int64, error) {
	temp := filepath.Join(filepath.Dir(path), tempPrefix+rand.Text())
	f, err := fsys.Create(temp)
	if err != nil {
		return "", 0, err
	}
	failpoint.Before(failpoint.FileWrite)
	n, err := fill(f)
	failpoint.After(failpoint.FileWrite)
	if err == nil {
		failpoint.Before(failpoint.FileSync)
		err = f.Sync()
		failpoint.After(failpoint.FileSync)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = fsys.Remove(temp)
		return "", 0, err
	}
	return temp, n, nil
}

// replace gives the temporary file its final name, durably.
func replace(fsys FS, temp, path string) error {
	failpoint.Before(failpoint.FileRename)
	err := fsys.Rename(temp, path)
	failpoint.After(failpoint.FileRename)
	if err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}
