package archiver

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/failpoint"
	"tidemark/internal/fault"
)

// state is what the archiver knows of itself and of how far the archive reached.
type state struct {
	Writer   string         // UUID of this archiver; the primary sees it as the replica's
	Timeline uint32         // that Archived and Chain belong to
	Archived uint64         // number of the last archived segment
	Chain    catalog.Digest // chain digest after it
	Head     uint64         // sequence number of the last head of Timeline that was put
	Barrier  *Barrier       // the newest in what was archived
}

type stateFile struct {
	Version  int    `json:"version"`
	Writer   string `json:"writer"`
	Timeline uint32 `json:"timeline"`
	Archived uint64 `json:"archived"`
	Chain    string `json:"chain"`
	Head     uint64 `json:"head"` // absent in what earlier versions wrote

	Barrier *Barrier `json:"barrier,omitempty"`
}

const stateName = "state.json"

// loadState reads the state of the spool in dir, or begins one under a new UUID.
func loadState(fsys durable.FS, dir string) (*state, error) {
	s, err := readState(fsys, dir)
	if isNotExist(err) {
		s = &state{Writer: uuid.NewString()}
		return s, s.save(fsys, dir)
	}
	return s, err
}

func readState(fsys durable.FS, dir string) (*state, error) {
	f, err := fsys.Open(filepath.Join(dir, stateName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	var file stateFile
	var chain []byte
	if err = json.Unmarshal(data, &file); err == nil {
		chain, err = hex.DecodeString(file.Chain)
	}
	if err == nil && (file.Version != 1 || len(chain) != len(catalog.Digest{})) {
		err = fmt.Errorf("version %d, digest of %d bytes", file.Version, len(chain))
	}
	if err != nil {
		return nil, fault.New(fault.Integrity, "read", f.Name(), err).
			WithHint("The file is written whole or not at all, so it was damaged from outside: restore it, or remove the spool when its segments are archived.")
	}
	return &state{Writer: file.Writer, Timeline: file.Timeline, Archived: file.Archived, Chain: catalog.Digest(chain), Head: file.Head, Barrier: file.Barrier}, nil
}

func (s *state) save(fsys durable.FS, dir string) error {
	data, err := json.MarshalIndent(stateFile{Version: 1, Writer: s.Writer, Timeline: s.Timeline, Archived: s.Archived,
		Chain: hex.EncodeToString(s.Chain[:]), Head: s.Head, Barrier: s.Barrier}, "", " ")
	if err != nil {
		return err
	}
	failpoint.Before(failpoint.SaveState)
	err = durable.WriteFileAtomic(fsys, filepath.Join(dir, stateName), append(data, '\n'))
	failpoint.After(failpoint.SaveState)
	return err
}

func isNotExist(err error) bool  { return errors.Is(err, fs.ErrNotExist) }
func isForbidden(err error) bool { return errors.Is(err, fs.ErrPermission) }
