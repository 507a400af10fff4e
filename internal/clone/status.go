package clone

import (
	"fmt"
	"path/filepath"
	"time"

	"tidemark/internal/durable"
)

// statusDir is where a server that clones leaves word for its next start.
const statusDir = "#clone"

// writeStatus leaves in a data directory what a server finds in one that it cloned itself. At its
// start it then makes what the copy lacks, the directories of schemas and the tables of other engines,
// which are empty, and shows in performance_schema.clone_status where the copy stands in the binlog.
func writeStatus(fsys durable.FS, dir string, started, ended time.Time) error {
	status := filepath.Join(dir, statusDir)
	if err := durable.MkdirAll(fsys, status); err != nil {
		return err
	}
	// An ID, the state (in progress: the start completes it), begin and end, where from, an error's
	// number and text, and the position in the binlog, which the start fills in.
	view := fmt.Sprintf("2 1\n%d %d\nstream\n0\n\n\n0\n\n", started.UnixMicro(), ended.UnixMicro())
	for _, f := range []struct{ name, text string }{{"#status_fix", ""}, {"#replace_files", ""}, {"#view_status", view}} {
		if err := durable.WriteFileAtomic(fsys, filepath.Join(status, f.name), []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}
