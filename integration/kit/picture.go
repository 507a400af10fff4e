package kit

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// picture is what lies in directories, by path: what a restore must leave as it is.
type picture map[string]string

// untouched takes a picture of what lies around the target of a restore: of all that is in the directory of the world and
// beside the target, and of the primary's data when it does not run. It returns a function that compares that with what is there
// later. What is written meanwhile is left out: the target, the data of a server that runs, and what a daemon that runs has.
func (w *World) untouched(args []string) (compare func()) {
	w.T.Helper()
	target := targetOf(args)
	if target == "" {
		return func() {}
	}
	roots := []string{w.Dir, filepath.Dir(target), w.Server.Datadir}
	except := []string{target, target + ".tidemark"}
	if w.Server.Pid() != 0 {
		except = append(except, w.Server.Datadir)
	}
	if w.Daemon != nil && w.Daemon.running() {
		except = append(except, filepath.Join(w.Dir, "archive"), filepath.Join(w.Dir, "state"), w.Daemon.log)
	}
	before := take(w.T, roots, except)
	return func() {
		w.T.Helper()
		after := take(w.T, roots, except)
		for _, path := range slices.Sorted(maps.Keys(before)) {
			if now, ok := after[path]; !ok {
				w.T.Errorf("the restore into %s has removed %s", target, path)
			} else if now != before[path] {
				w.T.Errorf("the restore into %s has changed %s: %s became %s", target, path, before[path], now)
			}
		}
		for _, path := range slices.Sorted(maps.Keys(after)) {
			if _, ok := before[path]; !ok {
				w.T.Errorf("the restore into %s has made %s", target, path)
			}
		}
	}
}

// targetOf returns the directory that a command restores into; "" if it is no restore, or one that is to change something else.
func targetOf(args []string) (target string) {
	if args[0] != "restore" || slices.Contains(args, "--into-service") {
		return ""
	}
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--target-dir="); ok {
			target = value
		}
		if arg == "--target-dir" && i+1 < len(args) {
			target = args[i+1]
		}
	}
	return target
}

// take takes a picture of directories. A root in the picture of another is in it once.
func take(t testing.TB, roots, except []string) picture {
	t.Helper()
	p := picture{}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case os.IsNotExist(err):
				return nil // a server that runs removes files
			case err != nil:
				return err
			case slices.Contains(except, path), e.IsDir() && lived(path):
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			info, err := e.Info()
			if os.IsNotExist(err) {
				return nil
			}
			if err == nil {
				p[path], err = describe(path, info)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// small is the size up to which the bytes of a file are in a picture.
const small = 16 << 10

// describe tells a file from one that was written since. Of a directory it tells the mode only: files come and go in
// those that hold what is left out, and what else comes and goes is seen by itself.
func describe(path string, info fs.FileInfo) (string, error) {
	if info.IsDir() {
		return info.Mode().String(), nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: no status", path)
	}
	text := fmt.Sprintf("%s, inode %d, of user %d, %d bytes, of %s", info.Mode(), st.Ino, st.Uid, info.Size(),
		info.ModTime().Format("15:04:05.000000000"))
	if !info.Mode().IsRegular() || info.Size() > small {
		return text, nil
	}
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return text, nil
	}
	return fmt.Sprintf("%s, %x", text, sha256.Sum256(data)), err
}

// lived reports whether a server runs on a directory: it holds a lock on a file that each has.
func lived(dir string) bool {
	for _, name := range []string{"ibdata1", "mysql.ibd", "aria_log_control"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock)
		_ = f.Close()
		if err == nil && lock.Type != unix.F_UNLCK {
			return true
		}
	}
	return false
}
