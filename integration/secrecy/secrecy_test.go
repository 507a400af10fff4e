// Package secrecy tests that an encrypted archive keeps its secrets: the rows, the password and the
// identity appear nowhere where somebody who has no right to them can look.
package secrecy

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// TestSecrets archives rows, takes base backups and restores them, with everything that can go wrong
// with keys on the way, and then looks for the rows, passwords and identities in every stored object,
// in all that was printed, logged and served, and in what the processes' command lines were.
func TestSecrets(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) { newWorld(t, b).secrets() })
}

func (w *world) secrets() {
	w.insert(20)
	w.start()
	w.AwaitBase()
	w.insert(20)
	w.Settle()
	w.listen()
	w.run(fault.None, "status")
	w.run(fault.None, "status", "--json")
	w.run(fault.None, "backup", "--json")
	w.Stop()
	w.run(fault.Warnings, "check")

	// Without a key: what needs none goes on, what needs one says which.
	w.run(fault.None, "list", "--segments")
	w.run(fault.None, "verify")
	w.run(fault.None, "verify", "--stored")
	target := w.file("restored")
	needKey := [][]string{{"verify", "--data"}, {"restore", "--target-dir", target}, {"restore", "--dry-run"}, {"cat", "--output", w.file("cat")}}
	fingerprint := keys.Fingerprint(w.first.recipient)
	for _, args := range needKey {
		if said := w.run(fault.WrongKey, args...); !strings.Contains(said, fingerprint) || !strings.Contains(said, "--identity") {
			w.T.Errorf("%s says %s", args[0], said)
		}
		if said := w.run(fault.WrongKey, append(args, "--identity", w.other.file)...); !strings.Contains(said, fingerprint) ||
			!strings.Contains(said, keys.Fingerprint(w.other.recipient)) || !strings.Contains(said, w.other.file) {
			w.T.Errorf("%s with another identity says %s", args[0], said)
		}
	}
	absent(w.T, target)
	absent(w.T, w.file("cat"))
	w.badKeys()

	// With it.
	w.run(fault.None, "verify", "--data", "--identity", w.first.file)
	w.run(fault.None, "verify", "--data", "--identity", w.spare.file)
	w.run(fault.None, "restore", "--dry-run", "--identity", w.first.file)
	w.run(fault.None, "cat", "--output", w.file("cat"), "--identity", w.first.file)
	w.readByTools(w.first)
	w.restored(target, w.first.file, 40)

	// Other recipients, from now on: the old objects stay as they are.
	w.encrypt(w.second.recipient)
	w.start()
	w.insert(20)
	w.End()
	both := w.file("both")
	w.write(both, w.first.identity+"\n"+w.second.identity+"\n")
	for _, one := range []pair{w.first, w.second} {
		w.run(fault.WrongKey, "restore", "--target-dir", w.file("again"), "--identity", one.file)
		w.run(fault.WrongKey, "verify", "--data", "--identity", one.file)
	}
	w.run(fault.None, "verify", "--data", "--identity", both)
	w.restored(w.file("again"), both, 60)

	w.inspect()
}

// badKeys gives what is no key, in the ways that people do.
func (w *world) badKeys() {
	half := w.file("half")
	w.write(half, w.first.identity[:len(w.first.identity)-5]+"\n")
	w.run(fault.WrongKey, "verify", "--data", "--identity", half)
	locked := w.file("locked")
	w.write(locked, "-----BEGIN AGE ENCRYPTED FILE-----\n")
	if said := w.run(fault.WrongKey, "verify", "--data", "--identity", locked); !strings.Contains(said, "passphrase") {
		w.T.Error(said)
	}
	w.run(fault.Config, "verify", "--data", "--identity", w.file("not-there"))
	open := w.file("open")
	w.write(open, w.first.identity+"\n")
	if err := os.Chmod(open, 0o644); err != nil {
		w.T.Fatal(err)
	}
	w.run(fault.Config, "verify", "--data", "--identity", open)

	// An identity where a recipient belongs, or the path of its file.
	config := w.Config
	defer func() { w.Config = config }()
	for _, section := range []string{"recipients: [" + w.first.identity + "]", "identity_file: " + w.first.identity} {
		w.Config = w.file("wrong.yaml")
		w.write(w.Config, "archive: file:///nowhere\nencryption: {"+section+"}\n")
		w.run(fault.Config, "verify")
		w.run(fault.Config, "config")
	}
}

// restored restores into a directory, and looks for the rows in what comes out.
func (w *world) restored(target, identity string, rows int) {
	w.T.Helper()
	w.run(fault.None, "restore", "--target-dir", target, "--identity", identity)
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: w.Server.Binaries})
	if err != nil {
		w.T.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			w.T.Error(err)
		}
	}()
	got, err := again.Value("SELECT COUNT(*) FROM d.t WHERE v LIKE '" + w.row + "%'")
	if err != nil || got != fmt.Sprint(rows) {
		w.T.Errorf("%s rows are restored, %d were written; %v", got, rows, err)
	}
}

func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s was made", path)
	}
}
