package refusals

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestRefusedTools: a restore without the server that it needs, with one of another version or flavor, or without the space, is
// refused before anything is there.
func TestRefusedTools(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		others := map[string]servertest.Binaries{}
		for _, v := range servertest.Versions() {
			if o, err := v.Find(); err == nil && o.Version != b.Version {
				others[v.Name] = o
			}
		}
		harness.Use(t, b)
		w := newWorld(t, b)
		target := filepath.Join(w.dir, "space", "restored")
		if err := os.Mkdir(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		refused := func(t *testing.T, words string) {
			t.Helper()
			w.refused(t, fault.Other, words, "restore", "shop", "--config", w.config, "--target-dir", target)
			if left, err := os.ReadDir(filepath.Dir(target)); err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != filepath.Base(target)+".tidemark" {
				t.Errorf("a refused restore has left %v, %v", left, err)
			}
			if err := os.RemoveAll(target + ".tidemark"); err != nil {
				t.Error(err)
			}
		}
		absent := "it is in neither PATH"
		if _, err := os.Stat("/usr/sbin/mysqld"); err == nil && b.Flavor == servertest.MySQL {
			absent = "it is of mariadb" // which has a program of that name too, where servers are looked for beside PATH
		}
		t.Run("no server", func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			refused(t, absent)
		})
		for name, o := range others {
			t.Run("only "+name, func(t *testing.T) {
				t.Setenv("PATH", filepath.Dir(o.Mysqld)+string(os.PathListSeparator)+filepath.Dir(o.Backup))
				if o.Flavor == b.Flavor || b.Flavor == servertest.MySQL {
					refused(t, "it is of "+o.Flavor)
				} else {
					refused(t, absent)
				}
			})
		}
		t.Run("no space", func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("a small disk takes root to mount")
			}
			dir := filepath.Dir(target)
			if err := syscall.Mount("tidemark-test", dir, "tmpfs", 0, "size=16m,mode=0755"); err != nil {
				t.Skipf("a small disk cannot be mounted here: %v", err)
			}
			defer func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			}()
			refused(t, "MiB are needed")
		})
	})
}

// TestRefusedKey: a base backup with encrypted tables is not restored without the plugin, nor without the key.
func TestRefusedKey(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
		if !b.System {
			t.Skip("its plugins are installed for the system's MariaDB only")
		}
		harness.Use(t, b)
		plugins, options := servertest.WithFileKey(t, b, t.TempDir())
		w := newWorld(t, b, append(options, "--innodb-encrypt-tables=FORCE")...)
		target := filepath.Join(w.dir, "restored")
		args := []string{"restore", "shop", "--config", w.config, "--target-dir", target}
		w.refused(t, fault.Other, "prepare", args...)
		w.refused(t, fault.Other, "prepare", append(args, "--plugin-dir", plugins)...)
	})
}
