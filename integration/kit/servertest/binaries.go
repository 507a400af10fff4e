package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Binaries are the programs of one server version. Paths are absolute; a program that is not
// installed is "".
type Binaries struct {
	Flavor  string // MariaDB or MySQL
	Version string // as the server says it: "10.11.19"
	System  bool   // found in PATH, not in a prefix

	Mysqld   string
	Backup   string // mariadb-backup
	Mbstream string
	Binlog   string // mariadb-binlog or mysqlbinlog
	Client   string // mariadb or mysql
	Share    string // the directory of the SQL that makes the system tables; MariaDB only

	by string // the script that installs what is missing
}

// Missing says that a program is not installed.
type Missing struct {
	Program string
	Where   string // where it was looked for
	By      string // the script that installs it
}

// Error names the program and what installs it.
func (e *Missing) Error() string {
	return fmt.Sprintf("%s is not installed (looked in %s; scripts/%s installs it)", e.Program, e.Where, e.By)
}

// Find looks the programs up in prefix/bin, or if prefix is "" in PATH and where Debian keeps
// servers. A prefix may hold wrapper scripts in place of programs, if they exec. Only the
// server must be there; other programs are checked with Has by those who need them.
func Find(prefix string) (Binaries, error) {
	dirs, where := searchDirs(prefix)
	b := Binaries{System: prefix == "", by: "install-deps.sh"}
	if prefix != "" {
		b.by = "install-servers.sh"
	}
	b.Mysqld = look(dirs, "mariadbd", "mysqld")
	if b.Mysqld == "" {
		return b, &Missing{Program: "a server (mariadbd or mysqld)", Where: where, By: b.by}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.Mysqld, "--no-defaults", "--version").Output()
	if err != nil {
		return b, fmt.Errorf("ask %s for its version: %w", b.Mysqld, err)
	}
	m := regexp.MustCompile(`Ver (\d+\.\d+\.\d+)`).FindSubmatch(out)
	if m == nil {
		return b, fmt.Errorf("ask %s for its version: cannot read %q", b.Mysqld, out)
	}
	b.Version = string(m[1])
	if !strings.Contains(string(out), "MariaDB") {
		b.Flavor = MySQL
		b.Binlog, b.Client = look(dirs, "mysqlbinlog"), look(dirs, "mysql")
		return b, nil
	}
	b.Flavor = MariaDB
	b.Backup, b.Mbstream = look(dirs, "mariadb-backup"), look(dirs, "mbstream")
	b.Binlog, b.Client = look(dirs, "mariadb-binlog"), look(dirs, "mariadb")
	b.Share, err = b.shareDir()
	return b, err
}

// Has returns a *Missing error for the first of the programs that is not installed.
func (b Binaries) Has(programs ...string) error {
	paths := map[string]string{
		"mariadb-backup": b.Backup, "mbstream": b.Mbstream,
		"mariadb-binlog": b.Binlog, "mysqlbinlog": b.Binlog,
		"mariadb": b.Client, "mysql": b.Client,
	}
	for _, p := range programs {
		if path := paths[p]; path == "" || filepath.Base(path) != p {
			return &Missing{Program: p, Where: "the place of " + b.Mysqld, By: b.by}
		}
	}
	return nil
}

func searchDirs(prefix string) (dirs []string, where string) {
	if prefix != "" {
		bin := filepath.Join(prefix, "bin")
		return []string{bin}, bin
	}
	return append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin"), "PATH and /usr/sbin"
}

// look returns the first of the names that is an executable file in one of the directories.
func look(dirs []string, names ...string) string {
	for _, name := range names {
		for _, dir := range dirs {
			path, err := exec.LookPath(filepath.Join(dir, name))
			if err != nil {
				continue
			}
			if path, err = filepath.Abs(path); err == nil {
				return path
			}
		}
	}
	return ""
}

// shareDir finds the system tables' SQL relative to the server: /usr/sbin/mariadbd has it in
// /usr/share, a wrapper in prefix/bin has it in prefix/usr/share.
func (b Binaries) shareDir() (string, error) {
	root := filepath.Dir(filepath.Dir(b.Mysqld))
	for _, dir := range []string{"share/mysql", "share/mariadb", "usr/share/mysql", "usr/share/mariadb"} {
		dir = filepath.Join(root, dir)
		if _, err := os.Stat(filepath.Join(dir, "fill_help_tables.sql")); err == nil {
			return dir, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("look for the system tables of %s: %w", b.Mysqld, err)
		}
	}
	return "", &Missing{Program: "the SQL of the system tables (fill_help_tables.sql)", Where: root, By: b.by}
}
