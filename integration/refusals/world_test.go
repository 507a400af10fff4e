// Package refusals tests what the tidemark program does with bad input and damaged archives: one clear
// line, a hint, the exit code of the table, and nothing changed.
package refusals

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// world is a primary with an archive that holds a base backup and some segments; nothing archives any more.
type world struct {
	*kit.World
	target string // directory for restores
	end    string // GTID position of the archive
}

func newWorld(t *testing.T, b servertest.Binaries, options ...string) *world {
	t.Helper()
	w := kit.New(t, kit.Setup{Binaries: b, Options: options, Cluster: cluster, SQL: []string{"CREATE DATABASE d"}})
	return archived(w, "d.t")
}

// sharedWorld is one whose primary others use too. One of MySQL is its own, as a base backup is a clone, of
// which a server makes one at a time.
func sharedWorld(t *testing.T, b servertest.Binaries) *world {
	t.Helper()
	if b.Flavor == servertest.MySQL {
		return newWorld(t, b)
	}
	w := kit.New(t, kit.Setup{Binaries: b, Shared: true, Cluster: cluster})
	return archived(w, w.DB+".t")
}

var cluster = []string{"segment: {max_age: 100ms}", "heartbeat: 1s"}

func archived(w *kit.World, table string) *world {
	w.T.Helper()
	w.Server.Exec("CREATE TABLE " + table + " (id INT PRIMARY KEY)")
	w.Start()
	w.AwaitBase()
	r := &world{World: w, target: filepath.Join(w.Dir, "restored")}
	for i := range 3 { // three segments at least
		w.Server.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%d)", table, i))
		r.end = w.Settle()
	}
	w.Stop()
	return r
}

// restore is a restore into the directory for restores, not yet started.
func (w *world) restore(args ...string) *exec.Cmd {
	return w.Command(append([]string{"restore", "shop", "--target-dir", w.target}, args...)...)
}

// objects returns the files of the archive that match, in order.
func (w *world) objects(pattern string) []string {
	w.T.Helper()
	found, err := filepath.Glob(filepath.Join(w.Dir, "archive/shop", pattern))
	if err != nil || len(found) == 0 {
		w.T.Fatalf("nothing matches %s: %v", pattern, err)
	}
	return found
}

// refused runs tidemark and expects a refusal: its kind's exit code, one line that holds the words,
// and a hint.
func refused(t *testing.T, kind fault.Kind, words string, cmd *exec.Cmd) {
	t.Helper()
	command := strings.Join(cmd.Args[1:], " ")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	if err := cmd.Wait(); kit.ExitCode(err) != kind.ExitCode() {
		t.Errorf("tidemark %s: %v, exit code %d expected\n%s", command, err, kind.ExitCode(), stderr.String())
		return
	}
	var said, hint string
	for line := range strings.SplitSeq(stderr.String(), "\n") {
		if rest, ok := strings.CutPrefix(line, "tidemark: "); ok {
			said = rest
		}
		if rest, ok := strings.CutPrefix(line, "hint: "); ok {
			hint = rest
		}
	}
	if !strings.Contains(said, words) || hint == "" {
		t.Errorf("tidemark %s says %q with hint %q, expected to hold %q", command, said, hint, words)
	}
	if strings.Contains(stderr.String(), kit.Password) {
		t.Errorf("the password is shown: %s", stderr.String())
	}
	t.Logf("exit %d: %s | hint: %s", kind.ExitCode(), said, hint)
}

// none finds no file that matches.
func none(t *testing.T, what, pattern string) {
	t.Helper()
	t.Helper()
	if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
		t.Errorf("%s: %v, %v", what, left, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overwrite changes a file of the archive.
func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
}
