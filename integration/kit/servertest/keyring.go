package servertest

import (
	"fmt"
	"os"
	"path/filepath"
)

// WithKeyring returns the programs of a MySQL in a prefix as ones whose server has a keyring, in a file,
// so that it can encrypt. The server looks for what to load beside its program: they are reached through
// links in dir, which must exist and be empty. Where that cannot be it skips the test, or fails it if
// TIDEMARK_MUST_RUN=1.
func WithKeyring(tb TB, b Binaries, dir string) Binaries {
	tb.Helper()
	with, err := b.withKeyring(dir)
	if err != nil {
		unavailable(tb, err)
	}
	return with
}

func (b Binaries) withKeyring(dir string) (Binaries, error) {
	if b.Flavor != MySQL || b.System {
		return b, fmt.Errorf("a keyring for %s: only a MySQL in a prefix can be given one", b.Mysqld)
	}
	prefix := filepath.Dir(filepath.Dir(b.Mysqld))
	const component = "component_keyring_file"
	plugins := "usr/lib/mysql/plugin"
	if _, err := os.Stat(filepath.Join(prefix, plugins, component+".so")); err != nil {
		return b, &Missing{Program: component, Where: filepath.Join(prefix, plugins), By: b.by}
	}
	// What is real in dir: the way to the two files that are added, and the scripts, which find the rest by theirs.
	if err := mirror(prefix, dir, "", "usr", "usr/sbin", "usr/lib", "usr/lib/mysql", plugins); err != nil {
		return b, err
	}
	if err := os.Remove(filepath.Join(dir, "bin")); err != nil {
		return b, err
	}
	if err := os.CopyFS(filepath.Join(dir, "bin"), os.DirFS(filepath.Join(prefix, "bin"))); err != nil {
		return b, err
	}
	for path, text := range map[string]string{
		"usr/sbin/mysqld.my":               `{"components": "file://` + component + `"}`,
		plugins + "/" + component + ".cnf": fmt.Sprintf(`{"path": %q, "read_only": false}`, filepath.Join(dir, "keyring")),
	} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			return b, err
		}
	}
	return Find(dir)
}

// mirror makes these directories of prefix in dir, and links all else that is in them.
func mirror(prefix, dir string, ours ...string) error {
	made := map[string]bool{}
	for _, name := range ours {
		made[name] = true
	}
	for _, name := range ours {
		if name != "" {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				return err
			}
		}
		entries, err := os.ReadDir(filepath.Join(prefix, name))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if path := filepath.Join(name, e.Name()); !made[path] {
				if err := os.Symlink(filepath.Join(prefix, path), filepath.Join(dir, path)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
