package kit

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Cat writes the archived binlog files out and returns their directory.
func (w *World) Cat(args ...string) string {
	w.T.Helper()
	out := filepath.Join(w.T.TempDir(), "cat")
	w.Run(append([]string{"cat", "shop", "--output", out}, args...)...)
	return out
}

// FilesEqual finds the primary's own binlog files in the archive, byte for byte. The last may have grown.
func (w *World) FilesEqual(args ...string) {
	w.T.Helper()
	w.FilesEqualThose(w.Server.Datadir, args...)
}

// FilesEqualThose is FilesEqual where the primary's files lie in a directory.
func (w *World) FilesEqualThose(dir string, args ...string) {
	w.T.Helper()
	out := w.Cat(args...)
	w.SameFiles(out, dir)
	w.mustRemove(out)
}

// SameFiles compares what Cat has written with the primary's files, which lie in a directory.
func (w *World) SameFiles(out, dir string) {
	w.T.Helper()
	rows, all := w.Server.Query("SHOW BINARY LOGS"), int64(0)
	for i, row := range rows {
		archived, err := os.Open(filepath.Join(out, row[0]))
		if err != nil {
			w.T.Error(err)
			continue
		}
		n, err := SameFile(archived, filepath.Join(dir, row[0]), i == len(rows)-1)
		archived.Close()
		if err != nil {
			w.T.Errorf("%s: %v", row[0], err)
		}
		all += n
	}
	w.T.Logf("%d files compared, %d bytes", len(rows), all)
}

// inUse is where the flag of a binlog file lies that says that it is open.
const inUse = 4 + 17

// SameFile compares what is archived of a binlog file with the original, which may be longer if it is
// still open, and returns how many bytes were compared.
func SameFile(archived io.Reader, original string, open bool) (int64, error) {
	b, err := os.Open(original)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	have, own := bufio.NewReaderSize(archived, 1<<20), bufio.NewReaderSize(b, 1<<20)
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := io.ReadFull(have, p)
		if n == 0 {
			if _, more := own.Peek(1); more == nil && !open {
				return at, fmt.Errorf("%d bytes are archived, and there are more", at)
			}
			return at, nil
		}
		if m, _ := io.ReadFull(own, q[:n]); m < n {
			return at, fmt.Errorf("more than %d bytes are archived of %d", at+int64(m), at+int64(m))
		}
		if at == 0 && n > inUse {
			p[inUse], q[inUse] = p[inUse]&^1, q[inUse]&^1
		}
		if !bytes.Equal(p[:n], q[:n]) {
			for i := range n {
				if p[i] != q[i] {
					return at, fmt.Errorf("they differ at byte %d", at+int64(i))
				}
			}
		}
		if at += int64(n); err != nil && err != io.ErrUnexpectedEOF {
			return at, err
		}
	}
}
