// Package xbstream reads the streams that backup tools write, in the two dialects there are of them:
// that of `mariadb-backup --stream=mbstream` and that of `xtrabackup --stream=xbstream`. An Inspector
// checks everything that can be checked and keeps the content of a few small files; Extract writes the
// files of a stream to a directory. Neither takes memory that grows with the stream.
//
// A stream is chunks, one after another, without a trailer. All numbers are little-endian:
//
//	magic "XBSTCK01" | flags u8 | type u8 | path length u32 | path
//	'P' payload  length u64 | offset in the file u64 | CRC-32 (IEEE) u32 | payload
//	'E' end      nothing: the file is complete; an empty file is only this
//
// MariaDB's dialect has three more:
//
//	'S' seek     offset u64: where the file goes on
//	'R' rename   path length u32 | new path; of a file that is complete
//	'D' remove   nothing; of a file that is complete
//
// and in Percona's, where a file comes once only, 'S' is something else:
//
//	'S' sparse   entries u32 | length u64 | offset in the file u64 | CRC-32 (IEEE) u32 | entries | payload
//	             an entry: zeroes to leave out u32 | bytes of the payload that follow them u32
//
// The checksum is that of the entries, if any, and the payload. An offset is where the file's chunk
// before ended, holes included. Chunks of several files may interleave. In MariaDB's dialect a file that
// was ended may come again if its first chunk carries the rewrite flag, which replaces its content. A
// chunk of another type may be passed over if its flags say so; it is laid out like a payload.
//
// That a stream is cut off between two chunks cannot be seen in it. Close therefore wants an end for
// every file, and whoever made the stream has to say that it is whole.
package xbstream

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
)

// Dialect is whose streams are read.
type Dialect int

// The dialects, by the programs that extract them.
const (
	Mbstream Dialect = iota // of mariadb-backup
	Xbstream                // of xtrabackup
)

// String returns "mbstream" or "xbstream".
func (d Dialect) String() string {
	if d == Xbstream {
		return "xbstream"
	}
	return "mbstream"
}

// MaxCapture is the largest file, in bytes, of which the content can be kept.
const MaxCapture = 1 << 20

// Error says where a stream is damaged.
type Error struct {
	File   string // "" where no file is concerned
	Offset int64  // in the stream, of the chunk
	Reason string

	dialect Dialect
}

// Error renders the damage with the file's name.
func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("damaged %s at byte %d: %s", e.dialect, e.Offset, e.Reason)
	}
	return fmt.Sprintf("damaged %s at byte %d, file %q: %s", e.dialect, e.Offset, e.File, e.Reason)
}

// Inspector is a writer that a stream is copied to. It fails at the first damage, and from then on.
type Inspector struct {
	// Removed is called when the stream removes or renames a file or directory, and returns the paths
	// of files under that name that must be there in the end. It may be nil.
	Removed func(path string) []string
	// Content is called with the bytes of files as they come, and where in the file they belong; not with Percona's
	// sparse ones. It may be nil.
	Content func(path string, p []byte, at uint64)
	// Head says of how many of a file's first bytes Heads shall know. It may be nil.
	Head func(path string) int

	dialect Dialect
	sink    sink // takes the files; may be nil

	capture map[string]bool   // names of files to keep
	kept    map[string][]byte // their content so far
	heads   map[string][]byte // first bytes of files, by path
	open    map[string]uint64 // files begun and not ended, with the offset at which they go on
	again   map[string]bool   // of those, whether they came with the rewrite flag
	ended   map[uint64]bool   // the same of complete files, by the hashes of their paths
	missing map[string]bool   // files that the stream has removed though they are wanted
	seed    maphash.Seed
	bytes   int64
	err     error

	// The chunk being read.
	start int64 // its offset in the stream
	head  []byte
	need  int // bytes that head must have before next is called
	next  func() error
	flags byte
	typ   byte
	path  string
	runs  []run  // of a sparse chunk
	left  uint64 // payload bytes to come
	at    uint64 // where in the file the next of them goes
	crc   uint32 // of the payload so far
	want  uint32 // what it must be in the end
}

// sink takes what a stream says of its files, in order. Checksums are found wrong only afterwards.
type sink interface {
	write(path string, p []byte, at uint64) error
	end(path string, size uint64) error
}

// NewInspector returns an Inspector that keeps the content of the files with these paths, of at most
// MaxCapture bytes each.
func NewInspector(d Dialect, capture ...string) *Inspector {
	i := &Inspector{dialect: d, capture: map[string]bool{}, kept: map[string][]byte{}, heads: map[string][]byte{}, open: map[string]uint64{},
		again: map[string]bool{}, ended: map[uint64]bool{}, missing: map[string]bool{}, seed: maphash.MakeSeed(), head: make([]byte, 0, maxPath+1)}
	for _, path := range capture {
		i.capture[path] = true
	}
	_ = i.begin()
	return i
}

// Write follows the stream through p. An error is an *Error and final.
func (i *Inspector) Write(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	size := len(p)
	for len(p) > 0 {
		n := i.need - len(i.head)
		if i.left > 0 {
			n = int(min(i.left, uint64(len(p))))
		}
		n = min(n, len(p))
		i.bytes += int64(n)
		if i.left > 0 {
			i.err = i.payload(p[:n])
		} else if i.head = append(i.head, p[:n]...); len(i.head) == i.need {
			i.err = i.next()
		}
		if p = p[n:]; i.err != nil {
			return size - len(p), i.err
		}
	}
	return size, nil
}

// Close returns an error unless the stream ended between two chunks, without damage, and with every
// file ended.
func (i *Inspector) Close() error {
	switch {
	case i.err != nil:
		return i.err
	case i.bytes == 0:
		return &Error{Reason: "the stream is empty", dialect: i.dialect}
	case i.bytes != i.start:
		i.err = &Error{File: i.path, Offset: i.start, Reason: "the stream is cut off inside a chunk", dialect: i.dialect}
	case len(i.open) > 0:
		names := slices.Sorted(maps.Keys(i.open))
		i.err = &Error{File: names[0], Offset: i.bytes, Reason: fmt.Sprintf("the stream is cut off: %d files have no end", len(names)), dialect: i.dialect}
	}
	return i.err
}

// Kept returns the content of a file that was to be kept, if the stream has all of it.
func (i *Inspector) Kept(path string) ([]byte, bool) {
	data, ok := i.kept[path]
	if _, open := i.open[path]; open {
		return nil, false
	}
	return data, ok
}

// Heads returns the first bytes of the files that Head wants them of, by the paths that they have in the end.
func (i *Inspector) Heads() map[string][]byte { return i.heads }

// Has says whether the stream has all of a file, under the name that it has in the end, and whether it came again, to
// replace an earlier copy or in case there was one.
func (i *Inspector) Has(path string) (complete, again bool) {
	again, complete = i.ended[i.id(path)]
	return complete, again
}

// Missing returns the files that Removed wanted and that have not come again, sorted.
func (i *Inspector) Missing() []string { return slices.Sorted(maps.Keys(i.missing)) }

// Bytes returns the length of the stream so far.
func (i *Inspector) Bytes() int64 { return i.bytes }

// Files returns the number of complete files so far.
func (i *Inspector) Files() int { return len(i.ended) }
