// Package outside tests that a restore touches nothing outside of its target, whatever the primary's files,
// definitions and log name.
package outside

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// world is a primary whose data lies in several directories.
type world struct {
	*kit.World
	far    string // one of them, outside of its data directory
	target string // of restores
}

// newWorld archives a primary that may keep tables in a directory far from its own, which options name FAR.
func newWorld(t *testing.T, b servertest.Binaries, options ...string) *world {
	t.Helper()
	w := &world{far: filepath.Join(t.TempDir(), "far")}
	must(t, os.Mkdir(w.far, 0o755))
	for i, o := range options {
		options[i] = strings.ReplaceAll(o, "FAR", w.far)
	}
	w.archive(t, servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: options}), "CREATE DATABASE d")
	return w
}

// archive makes a server that was started the primary of the world, and takes a base backup of it.
func (w *world) archive(t *testing.T, srv *servertest.Server, sql ...string) {
	t.Helper()
	if srv.Binaries.Flavor == servertest.MySQL {
		srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	srv.CreateUser(servertest.User, kit.Password)
	w.World = kit.Archived(t, kit.Setup{Server: srv, SQL: sql})
	w.target = filepath.Join(w.Dir, "restored")
}

// restored restores, and starts a server on the result, in another place than it was restored to: what it needs is there.
func (w *world) restored(args ...string) *servertest.Server {
	w.T.Helper()
	return w.restoredAs(nil, args...)
}

// restoredAs is restored for a server that must be told how its data is laid out.
func (w *world) restoredAs(layout []string, args ...string) *servertest.Server {
	w.T.Helper()
	w.Run(append([]string{"restore", "--target-dir", w.target}, args...)...)
	moved := filepath.Join(w.T.TempDir(), "moved")
	must(w.T, os.Rename(w.target, moved))
	return servertest.Start(w.T, servertest.Options{ServerID: 99, Binaries: w.Server.Binaries, Datadir: moved, Layout: layout})
}

// equal compares what queries find on two servers.
func equal(t *testing.T, a, b *servertest.Server, queries ...string) {
	t.Helper()
	for _, sql := range queries {
		if got, want := fmt.Sprint(a.Query(sql)), fmt.Sprint(b.Query(sql)); got != want {
			t.Errorf("%s: restored %s, not %s", sql, got, want)
		}
	}
}

// content is what the files below a directory hold.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	}))
	return files
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
