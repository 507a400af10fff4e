package archive

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tidemark/integration/kit"
)

// TestFullDisk fills the spool's file system: archiving stops with a clear error in the status, and goes
// on by itself without a gap, a duplicate or a changed byte when there is space again.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	b := kit.One(t, kit.Servers(1))
	w := kit.New(t, kit.Setup{Binaries: b, Cluster: []string{"segment: {max_age: 1h}", "heartbeat: 1s"},
		SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)"}})
	state := filepath.Join(w.Dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tidemark-test", state, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for range 12 {
		w.Server.Exec("INSERT INTO d.t (b) VALUES (REPEAT('x', 700000))")
	}

	w.Start()
	said := func(s kit.Status) bool { return strings.Contains(s.Error, "no space left on device") }
	w.Await("the disk is full", said)
	if !strings.Contains(w.Daemon.Last.Hint, "Free space") {
		t.Errorf("the hint is %q", w.Daemon.Last.Hint)
	}
	tries := triesInVain(w)
	w.Await("it tries again", func(kit.Status) bool { return triesInVain(w) >= tries+2 })
	w.Await("nothing gets better of that", said)

	if err := syscall.Mount("tidemark-test", state, "tmpfs", syscall.MS_REMOUNT, "size=200m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	w.Await("it goes on", func(s kit.Status) bool { return s.State == "STATE_IDLE" })
	w.Stop()
	compare(w)
}

// triesInVain is how often the log says that the disk is full.
func triesInVain(w *kit.World) int {
	w.T.Helper()
	log, err := os.ReadFile(filepath.Join(w.Dir, "run.log"))
	if err != nil {
		w.T.Fatal(err)
	}
	return strings.Count(string(log), "stream failed, trying again")
}
