package restore

import (
	"bufio"
	"io"

	"tidemark/internal/durable"
)

// relayFile is a relay log file that is being written. It is not synced: whatever interrupts a
// restore, it is written anew.
type relayFile struct {
	f     durable.File
	w     *bufio.Writer
	size  int64
	head  int64 // length of what is not the source's
	cut   int64 // behind the last event after which it may end; head if there is none
	marks []mark
}

// staged is a whole relay log file that waits.
type staged struct {
	path  string
	size  int64
	marks []mark
}

// mark says how many transactions, of all batches, have been applied at an offset of a file.
type mark struct {
	offset       int64
	transactions uint64
}

// markEvery is the distance of marks, in bytes.
const markEvery = 1 << 20

func newRelayFile(fsys durable.FS, path string, head []byte) (*relayFile, error) {
	f, err := fsys.Create(path)
	if err != nil {
		return nil, err
	}
	r := &relayFile{f: f, w: bufio.NewWriterSize(f, 256<<10)}
	if err := r.write(head); err != nil {
		f.Close()
		return nil, err
	}
	r.head, r.cut = r.size, r.size
	return r, nil
}

func (r *relayFile) write(b []byte) error {
	n, err := r.w.Write(b)
	r.size += int64(n)
	return err
}

// boundary says that the file may end here, and how many transactions are applied then.
func (r *relayFile) boundary(transactions uint64) {
	r.cut = r.size
	if n := len(r.marks); n == 0 || r.size-r.marks[n-1].offset >= markEvery {
		r.marks = append(r.marks, mark{r.size, transactions})
	}
}

// moveRest moves what comes after the last boundary to another file.
func (r *relayFile) moveRest(to *relayFile) error {
	if err := r.w.Flush(); err != nil {
		return err
	}
	n, err := io.Copy(to.w, io.NewSectionReader(r.f, r.cut, r.size-r.cut))
	to.size += n
	if err != nil {
		return err
	}
	r.size = r.cut
	return r.f.Truncate(r.cut)
}

// backTo takes back what comes after an offset. All is written to the file.
func (r *relayFile) backTo(offset int64) error {
	r.size = offset
	if err := r.f.Truncate(offset); err != nil {
		return err
	}
	_, err := r.f.Seek(offset, io.SeekStart)
	return err
}

// end closes the file.
func (r *relayFile) end() (staged, error) {
	err := r.w.Flush()
	if cerr := r.f.Close(); err == nil {
		err = cerr
	}
	return staged{path: r.f.Name(), size: r.size, marks: r.marks}, err
}
