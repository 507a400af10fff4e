package basebackup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// find returns the absolute path of a backup tool and its version, which must be of the server's series.
// path is where it is, or "" to look for its name in PATH; what is how people call it.
func find(ctx context.Context, path string, server mysqld.Version, name, what string) (string, mysqld.Version, error) {
	install := "Install " + what + " " + server.Series() + " on this host."
	if path == "" {
		var err error
		if path, err = exec.LookPath(name); err != nil {
			return "", mysqld.Version{}, fault.New(fault.Config, "look for", name, errors.New("it is not in PATH")).WithHint(install)
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", mysqld.Version{}, err
	}
	v, err := mysqld.ProgramVersion(ctx, path)
	if err != nil {
		return "", v, fault.New(fault.Config, "", "", err).WithHint(install)
	}
	if v.Series() != server.Series() {
		return "", v, fault.New(fault.Config, "use", path, fmt.Errorf("it is of version %s, and the server of %s", v.Number, server.Number)).
			WithHint("Copies are made and prepared with the tool of the server's own series: install " + what + " " + server.Series() + ".")
	}
	return path, v, nil
}

// readable looks whether the data directory is one, and open to us.
func readable(dir string) error {
	_, err := os.ReadDir(dir)
	if err == nil {
		var f *os.File
		if f, err = os.Open(filepath.Join(dir, "ibdata1")); err == nil || errors.Is(err, os.ErrNotExist) {
			// It may lie elsewhere by innodb_data_home_dir.
			if f != nil {
				f.Close()
			}
			return nil
		}
	}
	return fault.New(fault.Config, "read the data directory", dir, err).
		WithHint("A tool that copies files runs on the server's own host, as root or as the user mysql: run tidemark there, and set base.datadir if the directory has another path.")
}
