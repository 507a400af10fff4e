package clone

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// layout follows a copy: which files there are, and where the bytes that come belong. Files are known
// by their numbers, because names change hands while DDL goes on; the names that count are those at
// the end.
type layout struct {
	state   uint32
	over    bool // the state has ended
	files   map[fileKey]*file
	current *file  // takes the bytes that come
	at      uint64 // the next goes here
	left    uint32 // so many are still to come
	bytes   uint64
}

// fileKey identifies a file. Redo logs are numbered apart from data files.
type fileKey struct {
	redo  bool
	index uint32
}

type file struct {
	key     fileKey
	name    string // relative, clean
	size    uint64
	deleted bool

	space, flags uint32 // of the tablespace
	begun        bool   // its first bytes have come
}

func newLayout() *layout { return &layout{files: map[fileKey]*file{}} }

// descriptor takes the next descriptor. over says that it ends a state that must be acknowledged.
func (l *layout) descriptor(b []byte) (over bool, err error) {
	if l.left > 0 {
		return false, fmt.Errorf("%d bytes of %s are missing", l.left, l.current.name)
	}
	l.current = nil
	kind, err := descType(b)
	if err != nil {
		return false, err
	}
	switch kind {
	case descState:
		c, err := parseState(b)
		if err != nil {
			return false, err
		}
		return !c.begins, l.change(c)
	case descFile:
		m, err := parseFile(b)
		if err != nil {
			return false, err
		}
		return false, l.describe(m)
	case descData:
		m, err := parseData(b)
		if err != nil {
			return false, err
		}
		return false, l.aim(m)
	case descTask:
		return false, nil // who of several sends; here it is one
	}
	return false, fmt.Errorf("a descriptor is of unknown type %d", kind)
}

// change goes to a later state, or ends the one that is.
func (l *layout) change(c stateChange) error {
	switch {
	case c.begins && c.state > l.state && c.state <= stateDone:
		l.state, l.over = c.state, false
	case !c.begins && (c.state == l.state && !l.over || c.state == stateInit && l.state == 0):
		l.state, l.over = c.state, true // the first state has no beginning
	default:
		return fmt.Errorf("state %d of the copy comes after state %d", c.state, l.state)
	}
	return nil
}

// ErrEncrypted refuses a file that could be read only with a key of the server. Files keep the encryption
// that they were written with when it is turned off.
var ErrEncrypted = errors.New("is encrypted, which cannot be copied")

// describe takes the description of a file, new or changed.
func (l *layout) describe(m fileMeta) error {
	// Redo logs have no name. A data file that is new in the state of redo logs has one.
	key := fileKey{redo: m.state == stateRedo && m.name == "", index: m.index}
	name, err := key.place(m.name)
	if err != nil {
		return err
	}
	if m.flags&fileEncrypted != 0 {
		return fmt.Errorf("%s %w", name, ErrEncrypted)
	}
	f := l.files[key]
	if f == nil {
		f = &file{key: key}
		l.files[key] = f
	}
	f.space, f.flags = m.space, m.spaceFlags
	f.name, f.size, f.deleted = name, max(f.size, m.size), f.deleted || m.flags&fileDeleted != 0
	return nil
}

// place returns where in the data directory a file belongs. A name that leads elsewhere is refused.
func (k fileKey) place(name string) (string, error) {
	if k.redo {
		// The donor gives them no names: a recipient makes them of its own number.
		return fmt.Sprintf("#innodb_redo/#ib_redo%d", k.index), nil
	}
	clean := strings.TrimPrefix(name, "./")
	if !filepath.IsLocal(clean) || filepath.Clean(clean) != clean || clean == "." || strings.ContainsAny(clean, "\x00\\") {
		return "", fmt.Errorf("the file %q is not inside the data directory", name)
	}
	if first, _, _ := strings.Cut(clean, "/"); first == scratch || first == statusDir || first[0] == '.' {
		return "", fmt.Errorf("the file %q has a name that cannot be", name)
	}
	return clean, nil
}

// maxFile is the greatest size of a tablespace: 2^32 pages of 64 KiB.
const maxFile = 1 << 48

// aim prepares for the bytes that follow.
func (l *layout) aim(m dataMeta) error {
	f := l.files[fileKey{redo: m.state == stateRedo, index: m.index}]
	if f == nil {
		return fmt.Errorf("there are bytes for file %d, which was not described", m.index)
	}
	f.size = max(f.size, m.size)
	if m.state == statePages && m.offset <= maxFile {
		// The donor says that a tablespace has grown with its first page only. That page need not be among
		// those that were written while the files were copied; the redo log knows of it then.
		f.size = max(f.size, m.offset+uint64(m.length))
	}
	if m.offset > f.size || uint64(m.length) > f.size-m.offset {
		return fmt.Errorf("%d bytes at %d do not fit into %s of %d bytes", m.length, m.offset, f.name, f.size)
	}
	l.current, l.at, l.left = f, m.offset, m.length
	return nil
}

// data takes n bytes and says where they belong.
func (l *layout) data(n int) (*file, uint64, error) {
	if l.current == nil || uint64(n) > uint64(l.left) {
		return nil, 0, fmt.Errorf("%d bytes have come where %d belong", n, l.left)
	}
	at := l.at
	l.current.begun = l.current.begun || at == 0
	l.at += uint64(n)
	l.left -= uint32(n)
	l.bytes += uint64(n)
	return l.current, at, nil
}

// finished returns an error unless the copy has reached its end.
func (l *layout) finished() error {
	switch {
	case l.left > 0:
		return fmt.Errorf("%d bytes of %s are missing", l.left, l.current.name)
	case l.state != stateDone:
		return fmt.Errorf("it ends in state %d", l.state)
	}
	names := map[string]bool{}
	for _, f := range l.files {
		if f.deleted {
			continue
		}
		if names[f.name] {
			return fmt.Errorf("two files have the name %s", f.name)
		}
		names[f.name] = true
	}
	if len(names) == 0 {
		return errors.New("it has no files")
	}
	return nil
}

// count returns how many data files there are in the end.
func (l *layout) count() (n uint64) {
	for _, f := range l.files {
		if !f.deleted && !f.key.redo {
			n++
		}
	}
	return n
}
