package archiver

import (
	"path/filepath"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
)

// Anchor is how far this archiver knows that the archive reached. The archive holds that already.
func (a *Archiver) Anchor() *catalog.Anchor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.anchor(a.o.Dir)
}

// ReadAnchor is Anchor for an archiver that need not run, or of another process: it reads the spool in
// dir. It returns nil where there is none, or where it may not be read.
func ReadAnchor(fsys durable.FS, dir string) (*catalog.Anchor, error) {
	s, err := readState(fsys, dir)
	if isNotExist(err) || isForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.anchor(dir), nil
}

func (s *state) anchor(dir string) *catalog.Anchor {
	return &catalog.Anchor{Timeline: s.Timeline, Segment: s.Archived, Chain: s.Chain, Head: s.Head, From: filepath.Join(dir, stateName)}
}
