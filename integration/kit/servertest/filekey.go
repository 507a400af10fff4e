package servertest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// WithFileKey returns the directory of the plugins of the system's MariaDB, and the options by which a
// server loads file_key_management from it, with a key in dir: so that it can encrypt. The plugins are
// what scripts/install-plugins.sh installs. Where they are not it skips the test, or fails it if
// TIDEMARK_MUST_RUN=1.
func WithFileKey(tb TB, b Binaries, dir string) (plugins string, options []string) {
	tb.Helper()
	plugins, err := systemPlugins(b)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "keys"), []byte("1;"+strings.Repeat("a7c1", 16)+"\n"), 0o644)
	}
	if err != nil {
		unavailable(tb, err)
	}
	return plugins, []string{"--plugin-dir=" + plugins, "--plugin-load-add=file_key_management",
		"--file-key-management-filename=" + filepath.Join(dir, "keys")}
}

func systemPlugins(b Binaries) (string, error) {
	const plugin = "file_key_management.so"
	if b.Flavor != MariaDB || !b.System {
		return "", errors.New(plugin + " is installed for the system's MariaDB only")
	}
	version, err := exec.Command("dpkg-query", "--show", "--showformat", "${Version}", "mariadb-server-core").Output()
	if err != nil {
		return "", err
	}
	home, err := serversDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, "mariadb-plugins", string(version))
	if _, err := os.Stat(filepath.Join(dir, plugin)); err != nil {
		return "", &Missing{Program: plugin, Where: dir, By: "install-plugins.sh"}
	}
	return dir, nil
}
