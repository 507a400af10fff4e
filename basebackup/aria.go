package basebackup

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tidemark/internal/fault"
)

// mariadb-backup copies tables of Aria while they are written to, and applies Aria's log to the copy when it
// is prepared. With a table that was truncated, or created anew in another way, after it had been copied, that
// goes wrong: rows of before come back, the number of rows is wrong, or the index is corrupt. The tool says
// nothing, and CHECK TABLE not always.
//
// Such a table is seen in the head of its index file: that tells the place of Aria's log at which the table was
// created, in the copy another one than on the server in the end.

// Of the head of an index file, by storage/maria/ma_open.c of MariaDB: 24 bytes of header, two numbers of two
// bytes, and the place in the log, of seven bytes.
const (
	ariaIndex    = ".MAI"
	ariaMagic    = "\xfe\xfe\x09" // and a version
	ariaCreated  = 28
	ariaHeadSize = ariaCreated + 7
)

// ariaHead says of how many of a file's first bytes outdated must know.
func ariaHead(path string) int {
	if strings.HasSuffix(path, ariaIndex) {
		return ariaHeadSize
	}
	return 0
}

// outdated returns the copied files, given by their heads, whose tables have been created anew in the data directory.
// A table that is no longer there is none: the log says what became of it.
func outdated(datadir string, heads map[string][]byte) []string {
	var names []string
	for path, copied := range heads {
		now, err := headOf(filepath.Join(datadir, path))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		// What cannot be told is not known to be right.
		if err != nil || len(copied) < ariaHeadSize || !bytes.HasPrefix(copied, []byte(ariaMagic)) || !bytes.Equal(copied[ariaCreated:], now[ariaCreated:]) {
			names = append(names, path)
		}
	}
	return names
}

func headOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, ariaHeadSize)
	_, err = io.ReadFull(f, head)
	return head, err
}

// outdated is the error of a copy with tables of Aria that the log cannot be applied to.
func (m *MariaDB) outdated(j *job, files []string) error {
	return fault.New(fault.Integrity, "copy the server with", j.tool, errors.New("the log of Aria does not fit the copy of "+some(files, ariaIndex))).
		WithHint("mariadb-backup copies tables of Aria wrongly that are truncated, altered or created anew meanwhile. " +
			"Take the backup again, at a time when that is not done, or make them tables of InnoDB.")
}

// ariaInside refuses a server with tables of Aria whose files lie outside of its data directory, which the tool cannot copy: it fails
// where DATA DIRECTORY has put them, and leaves out a table without a word where INDEX DIRECTORY has.
func ariaInside(datadir string) error {
	linked, err := ariaLinks(datadir)
	if err != nil || len(linked) == 0 {
		return err
	}
	why := errors.New("tables of Aria have files elsewhere, which mariadb-backup does not copy: " + some(linked, ""))
	return fault.New(fault.Primary, "copy", datadir, why).WithHint("DATA DIRECTORY or INDEX DIRECTORY has put them there. " +
		"Bring them back: CREATE TABLE new LIKE old, copy the rows, drop the old one and rename the new.")
}

// ariaLinks returns the tables of Aria of which a file is a link.
func ariaLinks(datadir string) (tables []string, err error) {
	dirs, err := os.ReadDir(datadir)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		files, err := os.ReadDir(filepath.Join(datadir, dir.Name()))
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // no database, or none that can be copied either
		}
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			ext := filepath.Ext(file.Name())
			table := filepath.Join(dir.Name(), strings.TrimSuffix(file.Name(), ext))
			if file.Type()&fs.ModeSymlink != 0 && ofAria(ext) && !slices.Contains(tables, table) {
				tables = append(tables, table)
			}
		}
	}
	return tables, nil
}
