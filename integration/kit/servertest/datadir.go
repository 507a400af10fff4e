package servertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// newDatadir makes a data directory at path, which must not exist, with an account root that
// has no password and is let in from localhost only.
// Layout are further options on which its files depend.
func newDatadir(b Binaries, layout []string, path string) error {
	template, err := template(b, layout)
	if err != nil {
		return fmt.Errorf("make a data directory for %s %s: %w", b.Flavor, b.Version, err)
	}
	return copyTree(path, template)
}

// template returns a data directory to copy, made when it is first asked for. Its name tells
// all that went into it, so a change of the recipe makes another one.
func template(b Binaries, layout []string) (string, error) {
	args, stdin, err := bootstrap(b, layout)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	home := filepath.Join(cache, "tidemark", "datadirs")
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return "", err
	}
	if err := privateDir(home); err != nil {
		return "", err
	}
	recipe := sha256.Sum256(append([]byte(strings.Join(args, "\x00")+"\x00"), stdin...))
	dir := filepath.Join(home, fmt.Sprintf("%s-%s-%x", b.Flavor, b.Version, recipe[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}

	fresh, err := os.MkdirTemp(home, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	// Of its own: a MariaDB server that starts removes the temporary tables of others that use the same directory.
	tmp, err := os.MkdirTemp("", "tidemark-bootstrap-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.Mysqld, append(args, "--datadir="+fresh, "--tmpdir="+tmp)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := startBound(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%w: %s", err, &said)
	}
	// A MySQL server's identity must not be shared by its copies.
	if err := os.RemoveAll(filepath.Join(fresh, "auto.cnf")); err != nil {
		return "", err
	}
	// Renaming makes it whole at once; losing the race to another process is as good.
	if err := os.Rename(fresh, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", err
		}
	}
	return dir, nil
}

// bootstrap returns the arguments and the input that make the system tables.
func bootstrap(b Binaries, layout []string) (args []string, stdin []byte, err error) {
	args = append(append([]string{"--no-defaults"}, storageArgs(b)...), layout...)
	if b.Flavor == MySQL {
		return append(args, "--initialize-insecure"), nil, nil
	}
	args = append(args, "--bootstrap", "--skip-log-bin", "--enforce-storage-engine=",
		"--max-allowed-packet=8M", "--net-buffer-length=16K")

	// Every statement must end where its line ends: that is how a bootstrapping server reads.
	var in bytes.Buffer
	in.WriteString("create database if not exists mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n")
	for _, name := range []string{"system_tables.sql", "performance_tables.sql", "system_tables_data.sql",
		"fill_help_tables.sql", "maria_add_gis_sp_bootstrap.sql", "sys_schema.sql"} {
		sql, err := systemSQL(b.Share, name)
		if err != nil {
			return nil, nil, err
		}
		in.Write(sql)
		in.WriteByte('\n')
	}
	in.WriteString("delete from global_priv where User<>'mariadb.sys' and not (User='root' and Host='localhost');\n" +
		"delete from proxies_priv where Host<>'localhost';\n")
	return args, in.Bytes(), nil
}

// systemSQL reads a file of system tables, whose name has a prefix that differs by version.
func systemSQL(share, name string) ([]byte, error) {
	for _, prefix := range []string{"", "mariadb_", "mysql_"} {
		sql, err := os.ReadFile(filepath.Join(share, prefix+name))
		if err == nil || !os.IsNotExist(err) {
			return sql, err
		}
	}
	return nil, fmt.Errorf("no %s in %s", name, share)
}

// storageArgs are the options on which the files of a data directory depend. The files are
// small because they are copied for every server; --user lets root run a server at all.
func storageArgs(b Binaries) []string {
	args := []string{"--user=root", "--innodb-buffer-pool-size=64M"}
	if os.Getuid() != 0 {
		args = args[1:]
	}
	if b.Flavor == MySQL {
		return append(args, "--innodb-redo-log-capacity=64M", "--mysqlx=OFF", "--secure-file-priv=")
	}
	return append(args, "--innodb-log-file-size=32M")
}

// privateDir makes sure that dir is a directory of ours that nobody else can write.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ok || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a directory that only this user can enter: remove it", dir)
	}
	return nil
}
