package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tidemark/internal/fault"
	"tidemark/internal/xbstream"
)

// mariadb-backup copies what it knows: the tablespaces of InnoDB that it has found, and files of other tables by the ends of
// their names. What it passes over, it passes over without a word: the tablespace of a table after ALTER TABLE … IMPORT
// TABLESPACE, which it takes for one that was dropped, and the files of engines that it does not know, as CONNECT.
// So the files of all databases, as they are when definitions are blocked, are compared with the names in its stream.

// copiedFiles are the ends of the names of files that the tool copies.
var copiedFiles = append([]string{tablespace, definition, ".par", ".opt", ".TRG", ".TRN"}, otherFiles...)

const (
	tablespace = ".ibd"
	link       = ".isl" // names a tablespace outside of the data directory, and stands where that would be
)

// passingFiles are the ends of the names of files that are no table's, or not for long: what FLUSH TABLES … FOR EXPORT leaves,
// and what a repair does.
var passingFiles = []string{".cfg", ".cfp", ".TMD", ".OLD", ".BAK"}

// Variables that name directories of the server, and files, which may lie in its data directory and are no database's.
var (
	directoryVariables = []string{"innodb_undo_directory", "innodb_log_group_home_dir", "innodb_data_home_dir", "innodb_tmpdir", "tmpdir",
		"slave_load_tmpdir", "aria_log_dir_path", "plugin_dir", "secure_file_priv"}
	fileVariables = []string{"log_bin_basename", "relay_log_basename", "general_log_file", "slow_query_log_file", "log_error", "socket", "pid_file"}
)

// otherDirectories are the names of directories in the data directory that are no databases.
func (s *server) otherDirectories() []string {
	var paths []string
	for _, name := range directoryVariables {
		paths = append(paths, strings.Split(s.variables[name], ":")...)
	}
	for _, name := range fileVariables {
		paths = append(paths, filepath.Dir(s.variables[name]))
	}
	var names []string
	for _, path := range paths {
		if filepath.IsAbs(path) {
			path, _ = filepath.Rel(s.datadir, path)
		}
		first, _, _ := strings.Cut(filepath.Clean(path), "/")
		if first != "." && first != ".." {
			names = append(names, first)
		}
	}
	return names
}

// databaseFiles lists the files of the databases in a data directory, as "database/file". What stands for a file elsewhere is listed as that. Directories of the names given are no databases.
func databaseFiles(datadir string, except []string) ([]string, error) {
	entries, err := os.ReadDir(datadir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, "#") || strings.HasPrefix(name, ".") || slices.Contains(except, name) {
			continue
		}
		files, err := os.ReadDir(filepath.Join(datadir, name))
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // no database, or none that can be copied either, as lost+found
		}
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			path := filepath.Join(name, file.Name())
			if file.IsDir() || strings.HasPrefix(file.Name(), "#sql") || slices.Contains(passingFiles, filepath.Ext(path)) {
				continue
			}
			if base, isLink := strings.CutSuffix(path, link); isLink {
				path = base + tablespace
			}
			all = append(all, path)
		}
	}
	return all, nil
}

// isCopied says whether the tool copies files of such a name.
func isCopied(path string) bool { return slices.Contains(copiedFiles, filepath.Ext(path)) }

// What became of tablespaces while they were copied is in the stream under their name with another end, and carried out when the
// copy is prepared: a new file to take the place of one, that one is removed, and the name that one has since.
const (
	created = ".new"
	removed = ".del"
	renamed = ".ren"
)

// renames are the tablespaces that were renamed while they were copied: their names by those that they have since, without the
// ends.
type renames map[string]string

// content notes the content of a file of the stream.
func (r renames) content(path string, p []byte) {
	if from, ok := strings.CutSuffix(path, renamed); ok {
		r[string(p)] = from
	}
}

// has reports whether the prepared copy will have a file.
func (r renames) has(path string, stream *xbstream.Inspector) bool {
	in := func(path string) bool { there, _ := stream.Has(path); return there }
	name, ok := strings.CutSuffix(path, tablespace)
	if !ok {
		return in(path)
	}
	stays := func(name string) bool { return in(name+tablespace) && !in(name+removed) }
	from, ok := r[name]
	return in(name+created) || ok && stays(from) || stays(name) && !in(name+renamed)
}

// absent returns which of these files a copy will lack: those that the tool should have copied, and those that it copies never.
func (r renames) absent(files []string, stream *xbstream.Inspector) (lost, uncopied []string) {
	for _, path := range files {
		switch {
		case r.has(path, stream):
		case isCopied(path):
			lost = append(lost, path)
		default:
			uncopied = append(uncopied, path)
		}
	}
	return lost, uncopied
}

// stray takes the tablespaces out of what a copy lacks that lie there and are no table's: InnoDB does not list them.
func (m *MariaDB) stray(ctx context.Context, j *job, lost []string) (rest, stray []string, err error) {
	if !slices.ContainsFunc(lost, isTablespace) {
		return lost, nil, nil
	}
	conn, err := m.Primary.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer hangUp(conn)
	rows, err := query(conn, "SELECT NAME FROM information_schema.INNODB_SYS_TABLESPACES")
	if err != nil {
		return nil, nil, err
	}
	known := make(map[string]bool, len(rows))
	for _, row := range rows {
		known[row[0]+tablespace] = true
	}
	for _, path := range lost {
		// One that is gone by now may have been a table's when the copy was made.
		if _, err := os.Lstat(filepath.Join(j.datadir, path)); err == nil && isTablespace(path) && !known[path] {
			stray = append(stray, path)
		} else {
			rest = append(rest, path)
		}
	}
	return rest, stray, nil
}

func isTablespace(path string) bool { return filepath.Ext(path) == tablespace }

// Uncopied lists the files of the server's databases that no base backup will hold, as no engine copies them.
func (m *MariaDB) Uncopied(ctx context.Context) ([]string, error) {
	j, err := m.prepare(ctx)
	if err != nil {
		return nil, err
	}
	files, err := databaseFiles(j.datadir, j.server.otherDirectories())
	if err != nil {
		return nil, err
	}
	return shown(slices.DeleteFunc(files, isCopied)), nil
}

// mostUncopied bounds how many files a manifest names.
const mostUncopied = 1000

// shown are names of files for a manifest, which holds UTF-8 only.
func shown(files []string) []string {
	slices.Sort(files)
	var names []string
	for _, file := range files[:min(mostUncopied, len(files))] {
		names = append(names, strings.ToValidUTF8(file, "?"))
	}
	if n := len(files) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	return names
}

// lostTablespace is the error of a copy that lacks the files of tables of InnoDB.
func (m *MariaDB) lostTablespace(j *job, files []string) error {
	db, table, _ := strings.Cut(strings.TrimSuffix(files[0], tablespace), "/")
	table, _, _ = strings.Cut(table, "#P#")
	return fault.New(fault.Integrity, "copy the server with", j.tool, errors.New("the copy has lost "+some(files, tablespace))).
		WithHint(fmt.Sprintf("mariadb-backup leaves out a table after ALTER TABLE … IMPORT TABLESPACE until it is built anew, or the server starts again: "+
			"if %s was imported, run ALTER TABLE `%s`.`%s` FORCE. Then take the backup again.", some(files[:1], tablespace), db, table))
}
