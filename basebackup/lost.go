package basebackup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tidemark/internal/fault"
)

// mariadb-backup loses tables. While it copies, it notes which tables of MyISAM, Aria and the like are
// dropped and created, and which databases; in the end, with such statements blocked, it does to the copy
// what they did to the server. But what it removes then may be what it has copied after all of them: a
// table that was dropped and created anew, as one of InnoDB, or of the same engine if the copy came late,
// or a database. It says that everything went well. A server on such a copy does not know the table, and
// applying the log to it fails at best.
//
// What it removes is seen in its stream, so to say at once: then the server's own data directory is the
// truth, as nothing can be dropped or created there.

// definitions returns the definition files at or below a path that the data directory has. Where that
// cannot be told the path itself is returned: what is not known to be gone is missed.
func definitions(datadir, path string) []string {
	full := filepath.Join(datadir, path)
	info, err := os.Lstat(full)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return []string{path}
	case !info.IsDir():
		if strings.HasSuffix(path, definition) {
			return []string{path}
		}
		return nil
	}
	entries, err := os.ReadDir(full)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []string{path}
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), definition) {
			names = append(names, path+"/"+e.Name())
		}
	}
	return names
}

const definition = ".frm"

// lost is the error of a copy in which tables are missing.
func (m *MariaDB) lost(j *job, files []string) error {
	slices.Sort(files)
	files = slices.Compact(files)
	if !slices.ContainsFunc(files, func(path string) bool { return !isTablespace(path) }) {
		return m.lostTablespace(j, files)
	}
	return fault.New(fault.Integrity, "copy the server with", j.tool, errors.New("the copy has lost "+some(files, definition))).
		WithHint("mariadb-backup loses tables that are dropped and created anew while it copies. Take the backup again, at a time when that is not done.")
}

// some names tables by their files, not too many of them.
func some(files []string, suffix string) string {
	slices.Sort(files)
	shown := files[:min(3, len(files))]
	names := make([]string, len(shown))
	for i, f := range shown {
		names[i] = strings.TrimSuffix(f, suffix)
	}
	text := strings.Join(names, ", ")
	if n := len(files) - len(shown); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
