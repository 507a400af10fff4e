// Package copying tests copies of an archive end to end: a real server, the tidemark program, and
// restores from the copies.
package copying

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// world is a server with a table of rows, and an archive of it in many small pieces.
type world struct {
	*kit.World
	rows int
}

// lines are those of the cluster's section.
var lines = append(slices.Clip(kit.Brisk), "base: {part_size: 1MiB}")

func newWorld(t *testing.T, b servertest.Binaries) *world {
	t.Helper()
	return &world{World: kit.New(t, kit.Setup{Binaries: b, Cluster: lines,
		SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))"}})}
}

// TestCopies copies an archive that is written to: as it is, killed again and again and encrypted for
// others, and from its second base backup on. All copies verify, at every moment, and restore to what
// the server holds; and archiving goes on in a copy as if it had always been the archive.
func TestCopies(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) { newWorld(t, b).copies() })
}

func (w *world) copies() {
	seed := uint64(time.Now().UnixNano())
	w.T.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w.Start()
	w.AwaitBase()
	w.write(40)
	same, anew, part := w.url("same"), w.url("anew"), w.url("part")
	w.run(fault.None, "copy", "--to", same) // while it is archived
	w.whole(same)
	w.backupMeanwhile()
	w.write(40)
	w.Settle()

	// Killed, wherever it is, and begun again.
	keyFile := filepath.Join(w.Dir, "anew.key")
	key, err := w.Tool.Command("keygen", "--output", keyFile).Output()
	if err != nil {
		w.T.Fatal(err)
	}
	recipient := strings.TrimSpace(strings.TrimPrefix(string(key), "Public key: "))
	kills := 0
	for limit := kit.Count(w.T, 15); kills < limit; {
		if !w.killed(time.Duration(rng.IntN(150*(kills+1)))*time.Millisecond/4, "copy", "--to", anew, "--recipient", recipient) {
			break
		}
		kills++
		w.whole(anew)
	}
	w.T.Logf("killed %d times", kills)
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
	if w.JSON(&list, "list"); len(list.Clusters[0].Bases) != 2 {
		w.T.Fatalf("%+v", list)
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
	w.Stop()
	w.run(fault.None, "copy", "--to", same)
	w.run(fault.None, "verify", "--data", "--archive", same)
	w.restored(same)
	w.run(fault.None, "copy", "--to", part, "--from-base", second.ID)
	w.Configure(func(s *kit.Setup) { s.Archive = part })
	w.Start()
	w.write(10)
	w.End()
	w.run(fault.None, "verify", "--data", "--archive", part)
	w.restored(part)
}

func (w *world) url(name string) string { return "file://" + filepath.Join(w.Dir, name) }

// run runs the program, which must end as the kind says, and returns all that it said.
func (w *world) run(kind fault.Kind, args ...string) string {
	w.T.Helper()
	return w.Refused(kind.ExitCode(), args...)
}

// whole checks that an archive is whole, or not begun.
func (w *world) whole(url string) {
	w.T.Helper()
	out, err := w.Command("verify", "--stored", "--archive", url).CombinedOutput()
	if err != nil && (kit.ExitCode(err) != fault.NoArchive.ExitCode() || strings.Contains(string(out), "damage")) {
		w.T.Fatalf("verify %s: %v\n%s", url, err, out)
	}
}

// restored restores the end of an archive and compares it with the server.
func (w *world) restored(url string, args ...string) {
	w.T.Helper()
	w.restoredTo(w.Server.Value(sums), append([]string{"--archive", url}, args...)...)
}

const sums = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(v)), ' ', MAX(id)) FROM d.t"

// restoredTo restores to a point at which the server had what is wanted, without a warning.
func (w *world) restoredTo(want string, args ...string) {
	w.T.Helper()
	target := filepath.Join(w.T.TempDir(), "restored")
	w.run(fault.None, append([]string{"restore", "--target-dir", target}, args...)...)
	again := servertest.Start(w.T, servertest.Options{ServerID: 99, Datadir: target, Binaries: w.Server.Binaries,
		Extra: []string{"--performance-schema=OFF"}}) // it costs MySQL a third of its start
	if got := again.Value(sums); got != want {
		w.T.Errorf("restored with %v: %s, the server had %s", args, got, want)
	}
	again.Kill()
}

// write writes rows, with a new binlog file now and then, so that there are many segments.
func (w *world) write(n int) {
	w.T.Helper()
	for range n {
		w.rows++
		w.Server.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES (REPEAT('%d', 20))", w.rows), "FLUSH BINARY LOGS")
	}
}

// backupMeanwhile takes a base backup while rows are written and archived: the bounds of a clone lie some segments apart then.
func (w *world) backupMeanwhile() {
	w.T.Helper()
	cmd, out := w.begun("backup")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		w.write(1)
		select {
		case err := <-ended:
			if err != nil {
				w.T.Fatalf("backup: %v\n%s", err, out)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// killed runs tidemark and kills it after a while; it returns false when that was done already.
func (w *world) killed(after time.Duration, args ...string) bool {
	w.T.Helper()
	cmd, out := w.begun(args...)
	time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if err != nil && cmd.ProcessState.Exited() {
		w.T.Fatalf("tidemark %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return err != nil
}

// begun is the program, started, and what it says, once it has ended.
func (w *world) begun(args ...string) (*exec.Cmd, *bytes.Buffer) {
	w.T.Helper()
	var out bytes.Buffer
	cmd := w.Command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.T.Fatal(err)
	}
	return cmd, &out
}
