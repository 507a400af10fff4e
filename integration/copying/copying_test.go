// Package copying tests copies of an archive end to end: a real server, the tidemark program, and
// restores from the copies.
package copying

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// world is a server and an archive of it.
type world struct {
	t      *testing.T
	srv    *servertest.Server
	dir    string
	tool   string
	config string
	rows   int
}

// TestCopies copies an archive that is written to: as it is, killed again and again and encrypted for
// others, and from its second base backup on. All copies verify, at every moment, and restore to what
// the server holds; and archiving goes on in a copy as if it had always been the archive.
func TestCopies(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		newWorld(t, b).copies()
	})
}

func newWorld(t *testing.T, b servertest.Binaries) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	var err error
	if w.tool, err = harness.Build(w.dir); err != nil {
		t.Fatal(err)
	}
	w.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b})
	if b.Flavor == servertest.MySQL {
		w.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	w.srv.CreateUser(servertest.User, "secret")
	w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))")
	w.config, err = harness.Config{Dir: w.dir, Primary: w.srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 100ms}\n    heartbeat: 1s\n    base: {part_size: 1MiB}\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) copies() {
	seed := uint64(time.Now().UnixNano())
	w.t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	d := w.start()
	w.await(d, func(c harness.Status) bool { return c.LastBackup.ID != "" })
	w.write(40)
	same, anew, part := w.url("same"), w.url("anew"), w.url("part")
	w.run(fault.None, "copy", "--to", same) // while it is archived
	w.whole(same)
	w.backupMeanwhile()
	w.write(40)
	w.settled(d)

	// Killed, wherever it is, and begun again.
	keyFile := filepath.Join(w.dir, "identity")
	recipient := strings.TrimSpace(strings.TrimPrefix(w.run(fault.None, "keygen", "--output", keyFile), "Public key: "))
	kills := 0
	for limit := harness.Count(w.t, 15); kills < limit; {
		if !w.killed(time.Duration(rng.IntN(150*(kills+1)))*time.Millisecond/4, "copy", "--to", anew, "--recipient", recipient) {
			break
		}
		kills++
		w.whole(anew)
	}
	w.t.Logf("killed %d times", kills)
	w.run(fault.None, "copy", "--to", anew, "--recipient", recipient)
	w.run(fault.WrongKey, "verify", "--data", "--archive", anew)
	w.run(fault.None, "verify", "--data", "--archive", anew, "--identity", keyFile)
	w.restored(anew, "--identity", keyFile)

	// From the second base backup on.
	var list struct {
		Clusters []struct {
			Bases []struct {
				ID         string
				Consistent time.Time
			}
		}
	}
	if err := json.Unmarshal([]byte(w.run(fault.None, "list", "--json")), &list); err != nil || len(list.Clusters[0].Bases) != 2 {
		w.t.Fatalf("%+v, %v", list, err)
	}
	second := list.Clusters[0].Bases[1]
	if first := list.Clusters[0].Bases[0]; first.Consistent.After(second.Consistent) {
		second = first
	}
	w.run(fault.None, "copy", "--to", part, "--from-base", second.ID)
	w.run(fault.None, "verify", "--data", "--archive", part)
	w.run(fault.None, "list", "--archive", part)
	w.restored(part)
	w.run(fault.TargetNotEmpty, "copy", "--to", part)

	// Archiving moves to the copy.
	if err := d.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.run(fault.None, "copy", "--to", same)
	w.run(fault.None, "verify", "--data", "--archive", same)
	w.restored(same)
	w.run(fault.None, "copy", "--to", part, "--from-base", second.ID)
	data, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	moved := bytes.Replace(data, []byte("file://"+w.dir+"/archive"), []byte(part), 1)
	if err := os.WriteFile(w.config, moved, 0o600); err != nil {
		w.t.Fatal(err)
	}
	d = w.start()
	w.write(10)
	w.settled(d)
	if err := d.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.run(fault.None, "verify", "--data", "--archive", part)
	w.restored(part)
}

func (w *world) url(name string) string { return "file://" + filepath.Join(w.dir, name) }

// whole checks that an archive is whole, or not begun.
func (w *world) whole(url string) {
	w.t.Helper()
	out, code := w.exec("verify", "--stored", "--archive", url)
	if code != 0 && (code != fault.NoArchive.ExitCode() || strings.Contains(out, "damage")) {
		w.t.Fatalf("verify %s: exit %d\n%s", url, code, out)
	}
}

// restored restores the end of an archive and compares it with the server.
func (w *world) restored(url string, args ...string) {
	w.t.Helper()
	w.restoredTo(w.srv.Value(sums), append([]string{"--archive", url}, args...)...)
}

const sums = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(v)), ' ', MAX(id)) FROM d.t"

// restoredTo restores to a point at which the server had what is wanted.
func (w *world) restoredTo(want string, args ...string) {
	w.t.Helper()
	target, err := os.MkdirTemp(w.dir, "restored-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(fault.None, append([]string{"restore", "--target-dir", target}, args...)...)
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: w.srv.Binaries})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			w.t.Error(err)
		}
	}()
	if got, err := again.Value(sums); err != nil || got != want {
		w.t.Errorf("restored with %v: %s, the server had %s; %v", args, got, want, err)
	}
}

// write writes rows, with a new binlog file now and then, so that there are many segments.
func (w *world) write(n int) {
	w.t.Helper()
	for range n {
		w.rows++
		w.srv.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES (REPEAT('%d', 20))", w.rows), "FLUSH BINARY LOGS")
	}
}

// backupMeanwhile takes a base backup while rows are written and archived: the bounds of a clone lie some segments apart then.
func (w *world) backupMeanwhile() {
	w.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(w.tool, "backup", "--config", w.config)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		w.write(1)
		select {
		case err := <-ended:
			if err != nil {
				w.t.Fatalf("backup: %v\n%s", err, &out)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *world) start() *harness.Daemon {
	w.t.Helper()
	d, err := harness.Start(w.tool, w.config, filepath.Join(w.dir, "run.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Stop() })
	return d
}

func (w *world) await(d *harness.Daemon, ok func(harness.Status) bool) {
	w.t.Helper()
	if err := d.Await(context.Background(), time.Minute, ok); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) settled(d *harness.Daemon) {
	w.t.Helper()
	want := w.position()
	w.await(d, func(c harness.Status) bool { return c.Archived.GTID == want })
}

// position is where the server is.
func (w *world) position() string {
	w.t.Helper()
	if w.srv.Binaries.Flavor == servertest.MySQL {
		return w.srv.Value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	}
	return w.srv.Value("SELECT @@gtid_binlog_pos")
}

func (w *world) command(args ...string) *exec.Cmd {
	if args[0] != "keygen" {
		args = append(args, "--config", w.config)
	}
	return exec.Command(w.tool, args...)
}

func (w *world) exec(args ...string) (string, int) {
	w.t.Helper()
	out, err := w.command(args...).CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	} else if err != nil {
		w.t.Fatal(err)
	}
	return string(out), 0
}

// run runs tidemark, which must end as the kind says.
func (w *world) run(kind fault.Kind, args ...string) string {
	w.t.Helper()
	out, code := w.exec(args...)
	if code != kind.ExitCode() {
		w.t.Fatalf("tidemark %s: exit %d, %d expected\n%s", strings.Join(args, " "), code, kind.ExitCode(), out)
	}
	return out
}

// killed runs tidemark and kills it after a while; it returns false when that was done already.
func (w *world) killed(after time.Duration, args ...string) bool {
	w.t.Helper()
	cmd := w.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if err != nil && cmd.ProcessState.Exited() {
		w.t.Fatalf("tidemark %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return err != nil
}
