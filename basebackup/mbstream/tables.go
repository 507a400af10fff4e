package mbstream

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// tables follows which tables the stream leaves with a tablespace but without their definition.
//
// mariadb-backup loses definitions: when a table of MyISAM, Aria, or another engine that keeps its
// files to itself is dropped while it copies, it removes the definition file of that name in the end,
// even if the name is that of an InnoDB table by then. It says that everything went well. A server on
// such a copy does not know the table, and applying the log to it fails at best.
//
// For tablespaces there is a file of instructions to the one who prepares the copy: t.new replaces
// t.ibd, t.del removes it, t.ren holds the name it is to have. The definition is t.frm. Names are
// hashed where there can be a million of them.
type tables struct {
	id      func(string) uint64
	spaces  map[uint64]bool // tables with a tablespace
	created map[uint64]bool // tables whose tablespace will be there in any case
	gone    map[uint64]bool // tables whose copied tablespace is removed or renamed
	lost    map[string]bool // tables whose definition was removed and has not come again
}

func newTables(id func(string) uint64) tables {
	return tables{id: id, spaces: map[uint64]bool{}, created: map[uint64]bool{}, gone: map[uint64]bool{}, lost: map[string]bool{}}
}

// ended notes that a file is complete; content is that of a t.ren file.
func (t *tables) ended(file string, content []byte) {
	ext := path.Ext(file)
	name := strings.TrimSuffix(file, ext)
	table, _, part := strings.Cut(name, "#P#")
	switch ext {
	case ".frm":
		delete(t.lost, table)
	case ".ibd":
		t.spaces[t.id(table)] = true
	case ".new":
		t.created[t.id(table)] = true
	case ".ren":
		to := strings.TrimPrefix(strings.TrimRight(string(content), "\x00\n"), "./")
		to, _, _ = strings.Cut(strings.TrimSuffix(to, ".ibd"), "#P#")
		t.created[t.id(to)] = true
		fallthrough
	case ".del":
		if !part { // of a partitioned table others may stay
			t.gone[t.id(table)] = true
		}
	}
}

// removed notes that a file is removed from the copy again.
func (t *tables) removed(file string) {
	if table, ok := strings.CutSuffix(file, ".frm"); ok {
		t.lost[table] = true
	}
}

// withoutDefinition returns the tables, as database/table in file names, that the copy has lost.
func (t *tables) withoutDefinition() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(t.lost)) {
		id := t.id(name)
		if t.created[id] || t.spaces[id] && !t.gone[id] {
			names = append(names, name)
		}
	}
	return names
}
