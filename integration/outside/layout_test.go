package outside

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestForeignDataFile restores beside a primary that was killed and whose system tablespace lies outside of its data
// directory, where its configuration names it by its whole path. It is not touched, and the primary starts again.
func TestForeignDataFile(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := &world{far: filepath.Join(t.TempDir(), "far")}
		must(t, os.Mkdir(w.far, 0o755))
		srv := moved(t, b, w.far, "--innodb-data-home-dir=", "--innodb-data-file-path="+w.far+"/ibdata1:12M:autoextend")
		w.archive(t, srv, "CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT)")
		for range 20 {
			srv.Exec("INSERT INTO d.t (v) VALUES (REPEAT('x', 60000))")
		}
		w.End()
		srv.Kill()
		before := content(t, w.far)
		again := w.restored()
		if after := content(t, w.far); !maps.Equal(before, after) {
			t.Error("the restore has written to the primary's system tablespace")
		}
		srv.Restart()
		equal(t, again, srv, "CHECKSUM TABLE d.t")
	})
}

// TestOtherDirectories restores beside a primary that was killed and keeps each kind of InnoDB's and Aria's files outside of its data
// directory, by the primary's own option file: somebody takes it, as it names what the server needs.
func TestOtherDirectories(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) { // MySQL cannot be cloned so
		far := filepath.Join(t.TempDir(), "far")
		must(t, os.Mkdir(far, 0o755))
		directories := []string{"innodb-undo-directory=" + far, "innodb-log-group-home-dir=" + far, "aria-log-dir-path=" + far}
		var layout []string
		for _, d := range directories {
			layout = append(layout, "--"+d)
		}
		w := &world{far: far}
		w.archive(t, servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Layout: layout}),
			"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "CREATE TABLE d.m (id INT PRIMARY KEY)")
		w.Server.Exec("INSERT INTO d.t VALUES (1), (2)", "INSERT INTO d.m VALUES (3)")
		w.End()
		w.Server.Kill()
		options := filepath.Join(w.Dir, "my.cnf")
		lines := "[mysqld]\ndatadir=" + w.Server.Datadir + "\nsocket=" + w.Server.Socket + "\ninnodb_data_home_dir=" + far +
			"\ninnodb_data_file_path=ibdata1:12M:autoextend\n" + strings.Join(directories, "\n") + "\n"
		must(t, os.WriteFile(options, []byte(lines), 0o644))
		before, data := content(t, far), content(t, w.Server.Datadir)
		again := w.restored("--defaults-extra-file", options)
		if !maps.Equal(before, content(t, far)) || !maps.Equal(data, content(t, w.Server.Datadir)) {
			t.Error("the restore has written to the primary's files")
		}
		w.Server.Restart()
		equal(t, again, w.Server, "CHECKSUM TABLE d.t, d.m")
	})
}

// TestDataFileBelow restores a server whose system tablespace lies in a directory of its own in the data directory.
func TestDataFileBelow(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := new(world)
		w.archive(t, moved(t, b, "below", "--innodb-data-file-path=below/ibdata1:12M:autoextend"), "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
		w.Server.Exec("INSERT INTO d.t VALUES (1)")
		w.End()
		equal(t, w.restored(), w.Server, "CHECKSUM TABLE d.t")
	})
}

// moved is a server whose system tablespace was moved into another directory, which may be relative to its data.
func moved(t *testing.T, b servertest.Binaries, dir string, options ...string) *servertest.Server {
	t.Helper()
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b})
	srv.Stop()
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(srv.Datadir, dir)
		must(t, os.Mkdir(dir, 0o700))
	}
	must(t, os.Rename(filepath.Join(srv.Datadir, "ibdata1"), filepath.Join(dir, "ibdata1")))
	srv.Restart(options...)
	return srv
}

// TestLayouts restores servers whose InnoDB is laid out in another way than by default.
func TestLayouts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		layout []string
	}{
		{"small pages", []string{"--innodb-page-size=8k"}},
		{"large pages", []string{"--innodb-page-size=64k"}},
		{"several files", []string{"--innodb-data-file-path=one:12M;two:10M;three:8M:autoextend:max:900M"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
				w := new(world)
				w.archive(t, servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Layout: tt.layout}),
					"CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v TEXT)", "INSERT INTO d.t (v) VALUES ('before')")
				w.Server.Exec("INSERT INTO d.t (v) VALUES (REPEAT('after', 1000))")
				w.End()
				equal(t, w.restoredAs(tt.layout), w.Server, "CHECKSUM TABLE d.t", "SELECT @@innodb_page_size")
			})
		})
	}
}
