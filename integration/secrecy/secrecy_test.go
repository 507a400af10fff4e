// Package secrecy tests that an encrypted archive keeps its secrets: the rows, the password and the
// identity appear nowhere where somebody who has no right to them can look.
package secrecy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// TestSecrets archives rows, takes base backups and restores them, with everything that can go wrong
// with keys on the way, and then looks for the rows, passwords and identities in every stored object,
// in all that was printed, logged and served, and in what the processes' command lines were.
func TestSecrets(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		newWorld(t, b).secrets()
	})
}

func (w *world) secrets() {
	w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))")
	w.insert(20)
	d := w.start()
	w.await(d, func(c harness.Status) bool { return c.LastBackup.ID != "" })
	w.insert(20)
	w.settled(d)
	w.listen(d)
	w.run(fault.None, "status")
	w.run(fault.None, "status", "--json")
	w.run(fault.None, "backup", "--json")
	w.stop(d)
	w.run(fault.Warnings, "check")

	// Without a key: what needs none goes on, what needs one says which.
	w.run(fault.None, "list", "--segments")
	w.run(fault.None, "verify")
	w.run(fault.None, "verify", "--stored")
	target := filepath.Join(w.dir, "restored")
	for _, args := range [][]string{{"verify", "--data"}, {"restore", "--target-dir", target}, {"restore", "--dry-run"}, {"cat", "--output", filepath.Join(w.dir, "cat")}} {
		if said := w.run(fault.WrongKey, args...); !strings.Contains(said, keys.Fingerprint(w.first.recipient)) || !strings.Contains(said, "--identity") {
			w.t.Errorf("%s says %s", args[0], said)
		}
		if said := w.run(fault.WrongKey, append(args, "--identity", w.other.file)...); !strings.Contains(said, keys.Fingerprint(w.first.recipient)) ||
			!strings.Contains(said, keys.Fingerprint(w.other.recipient)) || !strings.Contains(said, w.other.file) {
			w.t.Errorf("%s with another identity says %s", args[0], said)
		}
	}
	absent(w.t, target)
	absent(w.t, filepath.Join(w.dir, "cat"))
	w.badKeys()

	// With it.
	w.run(fault.None, "verify", "--data", "--identity", w.first.file)
	w.run(fault.None, "verify", "--data", "--identity", w.spare.file)
	w.run(fault.None, "restore", "--dry-run", "--identity", w.first.file)
	w.run(fault.None, "cat", "--output", filepath.Join(w.dir, "cat"), "--identity", w.first.file)
	w.readByTools(w.first)
	w.restored(target, w.first.file, 40)

	// Other recipients, from now on: the old objects stay as they are.
	w.configure(w.second.recipient)
	d = w.start()
	w.insert(20)
	w.settled(d)
	w.stop(d)
	both := filepath.Join(w.dir, "both")
	w.write(both, w.first.identity+"\n"+w.second.identity+"\n")
	for _, one := range []pair{w.first, w.second} {
		w.run(fault.WrongKey, "restore", "--target-dir", filepath.Join(w.dir, "again"), "--identity", one.file)
		w.run(fault.WrongKey, "verify", "--data", "--identity", one.file)
	}
	w.run(fault.None, "verify", "--data", "--identity", both)
	w.restored(filepath.Join(w.dir, "again"), both, 60)

	w.inspect()
}

// badKeys gives what is no key, in the ways that people do.
func (w *world) badKeys() {
	half := filepath.Join(w.dir, "half")
	w.write(half, w.first.identity[:len(w.first.identity)-5]+"\n")
	w.run(fault.WrongKey, "verify", "--data", "--identity", half)
	locked := filepath.Join(w.dir, "locked")
	w.write(locked, "-----BEGIN AGE ENCRYPTED FILE-----\n")
	if said := w.run(fault.WrongKey, "verify", "--data", "--identity", locked); !strings.Contains(said, "passphrase") {
		w.t.Error(said)
	}
	w.run(fault.Config, "verify", "--data", "--identity", filepath.Join(w.dir, "not-there"))
	open := filepath.Join(w.dir, "open")
	w.write(open, w.first.identity+"\n")
	if err := os.Chmod(open, 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.run(fault.Config, "verify", "--data", "--identity", open)

	// An identity where a recipient belongs, or the path of its file.
	config := w.config
	defer func() { w.config = config }()
	for _, section := range []string{"recipients: [" + w.first.identity + "]", "identity_file: " + w.first.identity} {
		w.config = filepath.Join(w.dir, "wrong.yaml")
		w.write(w.config, "archive: file:///nowhere\nencryption: {"+section+"}\n")
		w.run(fault.Config, "verify")
		w.run(fault.Config, "config")
	}
}

// restored restores into a directory, and looks for the rows in what comes out.
func (w *world) restored(target, identity string, rows int) {
	w.t.Helper()
	w.run(fault.None, "restore", "--target-dir", target, "--identity", identity)
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: w.srv.Binaries})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			w.t.Error(err)
		}
	}()
	got, err := again.Value("SELECT COUNT(*) FROM d.t WHERE v LIKE '" + w.row + "%'")
	if err != nil || got != fmt.Sprint(rows) {
		w.t.Errorf("%s rows are restored, %d were written; %v", got, rows, err)
	}
}

func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s was made", path)
	}
}

// settled waits until all that was written is archived.
func (w *world) settled(d *harness.Daemon) {
	w.t.Helper()
	position := "SELECT @@gtid_binlog_pos"
	if w.srv.Binaries.Flavor == servertest.MySQL {
		position = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"
	}
	want := w.srv.Value(position)
	w.await(d, func(c harness.Status) bool { return c.Archived.GTID == want })
	time.Sleep(100 * time.Millisecond)
}
