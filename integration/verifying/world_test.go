package verifying

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// world is a server whose log and base backups are in a plain and an encrypted archive.
type world struct {
	t        *testing.T
	srv      *servertest.Server
	tool     string
	load     *workload.Workload
	position string // asks for the GTID position
	archives []*archive
	truth    workload.Checkpoint
}

func newWorld(t *testing.T, b servertest.Binaries, seed uint64) *world {
	t.Helper()
	harness.Use(t, b)
	dir := t.TempDir()
	w := &world{t: t, position: "SELECT @@gtid_binlog_pos",
		srv: servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b})}
	var err error
	w.tool, err = harness.Build(dir)
	w.must(err)
	w.srv.CreateUser(servertest.User, "secret")
	without := []workload.Group{workload.Recreated, workload.Rotation} // base backups have to succeed
	if b.Flavor == servertest.MySQL {
		w.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
		w.position, without = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')", append(without, workload.NonTransactional)
	}
	w.load = workload.New(int64(seed>>1), workload.Options{MaxBlob: 4 << 10, Without: without})
	w.must(w.load.Setup(w.srv.Conn()))

	identity := filepath.Join(dir, "identity")
	said, _ := w.tidemark("keygen", "--output", identity)
	recipient := strings.TrimSpace(strings.TrimPrefix(said, "Public key: "))
	plain, sealed := filepath.Join(dir, "plain"), filepath.Join(dir, "encrypted")
	w.archives = []*archive{w.configure(plain, "100ms", "", ""), w.configure(sealed, "100ms", recipient, identity)}
	w.archiving(w.archives, func() { w.write(10) })
	// From here on there is another history of the archive, as after a restart from a copy of all: its
	// segments are cut elsewhere.
	for _, dir := range []string{plain, sealed} {
		w.must(os.CopyFS(dir+".older", os.DirFS(dir)))
		w.must(os.Remove(dir + ".older/password")) // readable by everyone now
	}
	w.archiving(w.archives, func() {
		for _, a := range w.archives {
			if out, code := w.tidemark("backup", "--config", a.config); code != 0 {
				t.Fatal(out)
			}
		}
		w.write(10)
	})
	w.truth, err = w.load.Checkpoint(w.srv.Conn(), "the end")
	w.must(err)
	older := []*archive{w.configure(plain+".older", "2s", "", ""), w.configure(sealed+".older", "2s", recipient, identity)}
	w.archiving(older, func() {})
	for i, a := range w.archives {
		a.read(w.srv.Value(w.position))
		older[i].read(a.end)
		a.older = older[i]
	}
	return w
}

// configure writes the configuration of an archive in a directory.
func (w *world) configure(dir, age, recipient, identity string) *archive {
	w.t.Helper()
	w.must(os.MkdirAll(dir, 0o700))
	path, err := harness.Config{Dir: dir, Primary: w.srv.Addr, User: servertest.User, Password: "secret",
		More: fmt.Sprintf("    segment: {max_age: %s}\n    heartbeat: 1s\n    base: {part_size: 4MiB}\n", age)}.Write()
	w.must(err)
	if recipient != "" {
		data, err := os.ReadFile(path)
		w.must(err)
		w.must(os.WriteFile(path, fmt.Appendf(data, "encryption: {recipients: [%s], identity_file: %s}\n", recipient, identity), 0o600))
	}
	return &archive{t: w.t, dir: dir, config: path, identity: identity}
}

// archiving runs tidemark on each archive while f does something, and until all is archived.
func (w *world) archiving(archives []*archive, f func()) {
	w.t.Helper()
	var daemons []*harness.Daemon
	for _, a := range archives {
		d, err := harness.Start(w.tool, a.config, filepath.Join(a.dir, "run.log"))
		w.must(err)
		daemons = append(daemons, d)
		w.t.Cleanup(d.Kill)
		w.must(d.Await(context.Background(), 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" }))
	}
	f()
	end := w.srv.Value(w.position)
	for _, d := range daemons {
		w.must(d.Await(context.Background(), time.Minute, func(s harness.Status) bool { return s.Archived.GTID == end }))
		w.must(d.Stop())
	}
}

// write writes some transactions for each of n segments, with a new binlog file now and then.
func (w *world) write(n int) {
	w.t.Helper()
	for i := range n {
		w.must(w.load.Run(context.Background(), func() (*client.Conn, error) { return w.srv.Process.Conn() }, 1, 6))
		time.Sleep(150 * time.Millisecond)
		if i%4 == 3 {
			w.srv.Exec("FLUSH BINARY LOGS")
		}
	}
}

// tidemark runs the program and returns what it said and its exit code.
func (w *world) tidemark(args ...string) (string, int) {
	w.t.Helper()
	out, err := exec.Command(w.tool, args...).CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	} else if err != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
