// Package mysqld runs the programs of a database server for a private purpose: a server on a data
// directory that nobody else uses, reachable through a socket of its own only.
//
//	tools, err := mysqld.Tools{}.Find(gtid.MariaDB)
//	version, err := mysqld.ProgramVersion(ctx, tools.Mysqld)
//	srv, err := mysqld.Start(ctx, mysqld.Options{Tools: tools, Datadir: dir, RunDir: run, ServerID: 7})
//	conn, err := srv.Connect(ctx)
//	info, err := mysqld.Probe(conn)
//	err = srv.Stop(ctx) // cleanly; srv.Close() kills what still runs
//
// A server ends with the context it was started with, and with this process.
package mysqld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Tools are the paths of a server's programs; "" means: to be found.
type Tools struct {
	Mysqld   string // mariadbd
	Backup   string // mariadb-backup or xtrabackup
	Mbstream string // mbstream
}

// tool is a program to find.
type tool struct {
	path  *string
	names []string
	hint  string
}

// Find returns the tools of a flavor with those that are "" looked up in PATH and where distributions
// keep servers. The error names the first one that is missing. MySQL needs its server only.
func (t Tools) Find(f gtid.Flavor) (Tools, error) {
	wanted := []tool{{&t.Mysqld, []string{"mysqld"}, "Install MySQL's server of the version that was backed up."}}
	if f == gtid.MariaDB {
		wanted = []tool{
			{&t.Mysqld, []string{"mariadbd", "mysqld"}, "Install the server package (mariadb-server) of the version that was backed up."},
			{&t.Backup, []string{"mariadb-backup", "mariabackup"}, "Install the package mariadb-backup of the version that was backed up."},
			{&t.Mbstream, []string{"mbstream"}, "Install the package mariadb-backup of the version that was backed up."},
		}
	}
	err := find(wanted...)
	return t, err
}

// FindXtraBackup returns the tools with that which prepares a copy that xtrabackup made.
func (t Tools) FindXtraBackup() (Tools, error) {
	err := find(tool{&t.Backup, []string{"xtrabackup"}, "Install Percona XtraBackup of the series that was backed up."})
	return t, err
}

// find looks up the tools whose path is "".
func find(wanted ...tool) error {
	for _, tool := range wanted {
		if *tool.path != "" {
			continue
		}
		if *tool.path = look(tool.names); *tool.path == "" {
			return fault.New(fault.Other, "look for", tool.names[0], errors.New("it is in neither PATH nor /usr/sbin")).WithHint(tool.hint)
		}
	}
	return nil
}

// look returns the first of the names that is a program.
func look(names []string) string {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/usr/libexec")
	for _, name := range names {
		for _, dir := range dirs {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
				return path
			}
		}
	}
	return ""
}

// Version is what a server or tool says it is.
type Version struct {
	Flavor gtid.Flavor
	Number string // "10.11.19"
	Text   string // all of it, "10.11.19-MariaDB-log"
}

// Series is the part of the number within which data directories are exchangeable: "10.11".
func (v Version) Series() string {
	parts := strings.SplitN(v.Number, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// String returns the flavor and the number.
func (v Version) String() string { return v.Flavor.String() + " " + v.Number }

var versionNumber = regexp.MustCompile(`\d+\.\d+\.\d+`)

// ParseVersion reads a version as servers and tools print it. Of several numbers the first counts,
// but for the 5.5.5 that MariaDB puts before its own to please old clients.
func ParseVersion(text string) (Version, error) {
	text = strings.TrimSpace(text)
	number := versionNumber.FindString(strings.Replace(text, "5.5.5-", "", 1))
	if number == "" {
		return Version{}, fmt.Errorf("%q holds no version number", text)
	}
	v := Version{Flavor: gtid.MySQL, Number: number, Text: text}
	if strings.Contains(strings.ToLower(text), "mariadb") {
		v.Flavor = gtid.MariaDB
	}
	return v, nil
}

// ProgramVersion asks a program for its version.
func ProgramVersion(ctx context.Context, path string) (Version, error) {
	cmd := exec.CommandContext(ctx, path, "--no-defaults", "--version")
	out, err := cmd.CombinedOutput() // mariadb-backup answers on stderr
	if err != nil {
		return Version{}, fmt.Errorf("ask %s for its version: %w: %s", path, err, out)
	}
	// The program's own path may hold a number too.
	v, err := ParseVersion(strings.TrimPrefix(string(out), path))
	if err != nil {
		return v, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return v, nil
}

// PluginDir asks a server's program in which directory it looks for plugins.
func PluginDir(ctx context.Context, mysqld string) (string, error) {
	out, err := exec.CommandContext(ctx, mysqld, "--no-defaults", "--verbose", "--help").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its plugin directory: %w", mysqld, err)
	}
	for line := range strings.Lines(string(out)) {
		if name, dir, found := strings.Cut(strings.TrimSpace(line), " "); found && name == "plugin-dir" {
			return strings.TrimSpace(dir), nil
		}
	}
	return "", fmt.Errorf("ask %s for its plugin directory: it names none", mysqld)
}
