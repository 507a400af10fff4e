package durabletest_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
)

// TestMem does at random what is done with files in memory and on the machine's own file system: both answer
// alike.
func TestMem(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	mem, dir := durabletest.NewMem(), t.TempDir()
	var done []string
	for range 3000 {
		op, a, b := rng.IntN(12), somePath(rng), somePath(rng)
		data := strings.Repeat("x", rng.IntN(30))
		line := fmt.Sprintf("%d %s %s %d", op, a, b, len(data))
		done = append(done, line)
		got, want := act(mem, "", op, a, b, data), act(durable.OS{}, dir, op, a, b, data)
		if got != want {
			t.Fatalf("seed %d, after\n%s\nmemory: %s\nOS:     %s", seed, strings.Join(done[max(0, len(done)-20):], "\n"), got, want)
		}
	}
}

func somePath(rng *rand.Rand) string {
	path := ""
	for range 1 + rng.IntN(3) {
		path += "/" + string(rune('a'+rng.IntN(3)))
	}
	return path
}

// act does one thing and says what came of it.
func act(fsys durable.FS, dir string, op int, a, b, data string) string {
	a, b = dir+a, dir+b
	use := func(f durable.File, err error, run func(durable.File) error) error {
		if err != nil {
			return err
		}
		return errors.Join(run(f), f.Close())
	}
	write := func(f durable.File) error { _, err := io.WriteString(f, data); return err }
	said := ""
	var err error
	switch op {
	case 0:
		err = fsys.Mkdir(a)
	case 1:
		f, oerr := fsys.Create(a)
		err = use(f, oerr, write)
	case 2:
		f, oerr := fsys.Append(a)
		err = use(f, oerr, write)
	case 3:
		f, oerr := fsys.Edit(a)
		err = use(f, oerr, func(f durable.File) error {
			_, err := f.Seek(int64(len(data)), io.SeekStart)
			return errors.Join(err, write(f))
		})
	case 4:
		f, oerr := fsys.Append(a)
		err = use(f, oerr, func(f durable.File) error { return errors.Join(f.Truncate(int64(len(data)/2)), write(f), f.Sync()) })
	case 5:
		f, oerr := fsys.Open(a)
		if info, serr := fsys.Stat(a); serr == nil && info.IsDir() {
			return "a directory"
		}
		err = use(f, oerr, func(f durable.File) error {
			all, err := io.ReadAll(f)
			part := make([]byte, 7)
			n, aerr := f.ReadAt(part, int64(len(all)/2))
			said = fmt.Sprintf("%q %q %v", all, part[:n], aerr)
			return err
		})
	case 6:
		if a[:strings.LastIndexByte(a, '/')] != b[:strings.LastIndexByte(b, '/')] {
			return "renamed within a directory only"
		}
		if info, serr := fsys.Stat(b); serr == nil && info.IsDir() {
			return "not over a directory"
		}
		if info, serr := fsys.Stat(a); serr == nil && info.IsDir() {
			return "nor a directory"
		}
		err = fsys.Rename(a, b)
	case 7:
		err = fsys.Link(a, b)
	case 8:
		err = fsys.Remove(a)
	case 9:
		entries, rerr := fsys.ReadDir(a, func(e fs.DirEntry) bool { return e.Name() != "b" })
		for _, e := range entries {
			said += fmt.Sprintf("%s %v ", e.Name(), e.Type())
		}
		err = rerr
	case 10:
		info, serr := fsys.Stat(a)
		if serr == nil {
			said = fmt.Sprintf("%s %v", info.Name(), info.Mode())
			if !info.IsDir() {
				said += fmt.Sprint(info.Size())
			}
		}
		err = serr
	case 11:
		if info, serr := fsys.Stat(a); serr == nil && !info.IsDir() {
			return "a file can be opened, too"
		}
		err = fsys.SyncDir(a)
	}
	var no syscall.Errno
	errors.As(err, &no)
	return fmt.Sprintf("%s, %v %v", said, err == nil, no)
}
