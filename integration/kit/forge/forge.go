// Package forge makes archives of real servers' logs and base backups, without an archiver.
package forge

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"tidemark/integration/kit/servertest"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/restore/archivetest"
	"tidemark/storage/file"
)

// Archive is an archive whose objects are files in Dir.
type Archive struct {
	*archivetest.Archive
	Dir string
}

// Backup is a base backup in a file.
type Backup struct {
	Path       string // an mbstream
	At         binlog.Point
	GTID       string
	Consistent time.Time
	ServerID   uint32
	Variables  map[string]string
}

var backupPosition = regexp.MustCompile(`binlog position: filename '([^']+)', position '(\d+)'(?:, GTID of the last change '([^']*)')?`)

// TakeBackup copies a running server with mariadb-backup.
func TakeBackup(tb testing.TB, srv *servertest.Server) Backup {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "base.mbs")
	out, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	var said bytes.Buffer
	cmd := exec.Command(srv.Binaries.Backup, "--no-defaults", "--backup", "--stream=mbstream", "--target-dir="+tb.TempDir(),
		"--datadir="+srv.Datadir, "--user=root", "--socket="+srv.Socket)
	cmd.Stdout, cmd.Stderr = out, &said
	if err := cmd.Run(); err != nil {
		tb.Fatalf("mariadb-backup: %v\n%s", err, said.Bytes())
	}
	m := backupPosition.FindStringSubmatch(said.String())
	if m == nil {
		tb.Fatalf("mariadb-backup names no position:\n%s", said.Bytes())
	}
	offset, err := strconv.ParseUint(m[2], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	b := Backup{Path: path, At: binlog.Point{File: m[1], Offset: offset}, GTID: m[3], Consistent: time.Now(), ServerID: srv.ServerID,
		Variables: map[string]string{}}
	for _, name := range []string{"innodb_page_size", "innodb_data_file_path", "innodb_undo_tablespaces", "lower_case_table_names", "sql_mode",
		"character_set_server", "collation_server", "system_time_zone"} {
		b.Variables[name] = srv.Value("SELECT @@" + name)
	}
	return b
}

// Files returns the paths of a server's binlog files, in order.
func Files(tb testing.TB, srv *servertest.Server) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(srv.Datadir, "binlog.0*[0-9]"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("the server has no binlog files: %v", err)
	}
	slices.Sort(files)
	return files
}

// Make archives all binlog files of a server that has been stopped, cut as given, with the backups as
// b1, b2 and so on, and a head that covers the time up to now.
func Make(tb testing.TB, srv *servertest.Server, cut archivetest.Cut, backups ...Backup) *Archive {
	tb.Helper()
	dir := tb.TempDir()
	store, err := file.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	a := &Archive{Archive: archivetest.New(tb, store), Dir: filepath.Join(dir, "default")}
	for _, path := range Files(tb, srv) {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		a.Append(filepath.Base(path), data, cut)
	}
	for i, b := range backups {
		f, err := os.Open(b.Path)
		if err != nil {
			tb.Fatal(err)
		}
		a.AddBase(catalog.Base{ID: "b" + strconv.Itoa(i+1), Consistent: b.Consistent, ServerID: b.ServerID, Variables: b.Variables,
			ServerVersion: srv.Binaries.Version + "-MariaDB-log"}, b.At, b.GTID, f, 4<<20)
		f.Close()
	}
	a.Head(time.Now())
	return a
}
