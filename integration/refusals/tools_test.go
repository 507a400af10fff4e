package refusals

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestRefusedTools: a restore without the server that it needs, with one of another version or flavor, or without the space, is
// refused before anything is there.
func TestRefusedTools(t *testing.T) { kit.Each(t, "", kit.Servers(1), tools) }

func tools(t *testing.T, b servertest.Binaries) {
	w := sharedWorld(t, b)
	space := filepath.Join(w.Dir, "space")
	w.target = filepath.Join(space, "restored")
	must(t, os.Mkdir(space, 0o755))
	refused := func(t *testing.T, words, path string) {
		t.Helper()
		cmd := w.restore()
		if path != "" {
			cmd.Env = append(cmd.Env, "PATH="+path)
		}
		refused(t, fault.Other, words, cmd)
		if left, err := os.ReadDir(space); err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != "restored.tidemark" {
			t.Errorf("a refused restore has left %v, %v", left, err)
		}
		must(t, os.RemoveAll(w.target+".tidemark"))
	}
	absent := "it is in neither PATH"
	if _, err := os.Stat("/usr/sbin/mysqld"); err == nil && b.Flavor == servertest.MySQL {
		absent = "it is of mariadb" // which has a program of that name too, where servers are looked for beside PATH
	}
	t.Run("no server", func(t *testing.T) { refused(t, absent, t.TempDir()) })
	for _, v := range servertest.Versions() {
		o, err := v.Find()
		if err != nil || o.Version == b.Version {
			continue
		}
		t.Run("only "+v.Name, func(t *testing.T) {
			words := absent
			if o.Flavor == b.Flavor || b.Flavor == servertest.MySQL {
				words = "it is of " + o.Flavor
			}
			refused(t, words, filepath.Dir(o.Mysqld)+string(os.PathListSeparator)+filepath.Dir(o.Backup))
		})
	}
	t.Run("no space", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("a small disk takes root to mount")
		}
		if err := syscall.Mount("tidemark-test", space, "tmpfs", 0, "size=16m,mode=0755"); err != nil {
			t.Skipf("a small disk cannot be mounted here: %v", err)
		}
		defer func() {
			if err := syscall.Unmount(space, 0); err != nil {
				t.Error(err)
			}
		}()
		refused(t, "MiB are needed", "")
	})
}

// TestRefusedKey: a base backup with encrypted tables is not restored without the plugin, nor without the key.
func TestRefusedKey(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		if !b.System {
			t.Skip("its plugins are installed for the system's MariaDB only")
		}
		plugins, options := servertest.WithFileKey(t, b, t.TempDir())
		w := newWorld(t, b, append(options, "--innodb-encrypt-tables=FORCE")...)
		refused(t, fault.Other, "prepare", w.restore())
		refused(t, fault.Other, "prepare", w.restore("--plugin-dir", plugins))
	})
}
