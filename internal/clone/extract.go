package clone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

const (
	// scratch is where files lie while they are written. Each has its number for a name there.
	scratch = "#tidemark"
	// redoDir holds the redo logs.
	redoDir = "#innodb_redo"
)

// Extract makes a data directory of a stream: MySQL starts on it as on one that it has cloned itself,
// and finds the GTIDs of the copy in it. dir is made if it is missing. It must
// be empty but for names that begin with a dot, which are the caller's, and lost+found. With a nil error
// all is durable; otherwise what is in dir is of no use.
//
// An error of the stream itself is of kind Integrity. One of in's is passed on.
func Extract(ctx context.Context, in io.Reader, dir string, fsys durable.FS) (Totals, error) {
	if err := empty(fsys, dir); err != nil {
		return Totals{}, err
	}
	src := &source{ctx: ctx, r: in}
	e := &extractor{fs: fsys, dir: dir, layout: newLayout()}
	e.open = newOpenFiles(fsys, filepath.Join(dir, scratch))
	err := e.extract(src)
	e.open.abandon()
	switch {
	case err == nil:
		return Totals{Files: e.layout.count(), Bytes: e.layout.bytes}, nil
	case src.err != nil: // the stream is not to blame
		return Totals{}, src.err
	case e.local != nil:
		return Totals{}, fmt.Errorf("extract the base backup into %s: %w", dir, e.local)
	}
	return Totals{}, fault.New(fault.Integrity, "extract the base backup into", dir, err).
		WithHint("`tidemark verify` says whether the archive is damaged; an older base backup may be whole.")
}

func empty(fsys durable.FS, dir string) error {
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	entries, err := fsys.ReadDir(dir, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" })
	if err != nil {
		return fmt.Errorf("look into the data directory: %w", err)
	}
	if len(entries) > 0 {
		return fault.New(fault.TargetNotEmpty, "extract the base backup into", dir, fmt.Errorf("it holds %s", entries[0].Name()))
	}
	return nil
}

// source ends with the context, and remembers how it failed.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.ctx.Err()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// extractor makes a data directory.
type extractor struct {
	fs     durable.FS
	dir    string
	layout *layout
	open   *openFiles
	local  error // of our own file system
}

func (e *extractor) extract(in io.Reader) error {
	r, err := newReader(in)
	if err != nil {
		return err
	}
	if err := e.fs.Mkdir(filepath.Join(e.dir, scratch)); err != nil {
		return e.ours(err)
	}
	for {
		kind, p, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if kind == recDesc {
			if _, err = e.layout.descriptor(p); err != nil {
				return r.wrong("%w", err)
			}
			continue
		}
		f, at, err := e.layout.data(len(p))
		if err != nil {
			return r.wrong("%w", err)
		}
		if f.deleted {
			continue
		}
		if err := e.open.writeAt(f.key, p, at); err != nil {
			return e.ours(err)
		}
	}
	if err := e.layout.finished(); err != nil {
		return err
	}
	return e.ours(e.finish(r))
}

// finish gives every file its size and name, and syncs.
func (e *extractor) finish(r *reader) error {
	dirs := map[string]bool{".": true}
	if err := e.mkdir(dirs, redoDir, "mysql"); err != nil {
		return err
	}
	for key, f := range e.layout.files {
		if f.deleted {
			if err := e.open.discard(key); err != nil {
				return err
			}
			continue
		}
		if err := e.begin(f); err != nil {
			return err
		}
		temp, err := e.open.finish(key, int64(f.size))
		if err != nil {
			return err
		}
		if err := e.mkdir(dirs, filepath.Dir(f.name)); err != nil {
			return err
		}
		if err := e.fs.Rename(temp, filepath.Join(e.dir, f.name)); err != nil {
			return err
		}
	}
	if err := e.fs.Remove(filepath.Join(e.dir, scratch)); err != nil {
		return err
	}
	for dir := range dirs {
		if err := e.fs.SyncDir(filepath.Join(e.dir, dir)); err != nil {
			return err
		}
	}
	// Last: without it the directory does not pass for one that was cloned.
	return writeStatus(e.fs, e.dir, r.started, r.ended)
}

// begin gives a tablespace that came without its first page one.
func (e *extractor) begin(f *file) error {
	if f.key.redo || f.begun || f.space == noSpace {
		return nil
	}
	page, err := firstPage(f.space, f.flags)
	if err != nil {
		return err
	}
	return e.open.writeAt(f.key, page, 0)
}

// mkdir makes directories below the data directory, with the parents they lack.
func (e *extractor) mkdir(made map[string]bool, names ...string) error {
	for _, name := range names {
		path := ""
		for part := range strings.SplitSeq(filepath.ToSlash(name), "/") {
			if path = filepath.Join(path, part); made[path] {
				continue
			}
			if err := e.fs.Mkdir(filepath.Join(e.dir, path)); err != nil {
				return err
			}
			made[path] = true
		}
	}
	return nil
}

// ours remembers that an error is not the stream's.
func (e *extractor) ours(err error) error {
	if err != nil {
		e.local = err
	}
	return err
}
