package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// TestFullDisk fills the spool's file system: archiving stops with a clear error in the status, and goes
// on by itself without a gap, a duplicate or a changed byte when there is space again.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	srv := servertest.Start(t, servertest.Options{ServerID: 7})
	srv.CreateUser(servertest.User, "secret")
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
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
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 1h}\n    heartbeat: 1s\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)")
	for range 12 {
		srv.Exec("INSERT INTO d.t (b) VALUES (REPEAT('x', 700000))")
	}

	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	said := func(c harness.Status) bool { return strings.Contains(c.Error, "no space left on device") }
	if err := d.Await(context.Background(), time.Minute, said); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(d.Last.Hint, "Free space") {
		t.Errorf("the hint is %q", d.Last.Hint)
	}
	time.Sleep(3 * time.Second) // it tries again, and nothing gets better of that
	if err := d.Await(context.Background(), time.Minute, said); err != nil {
		t.Fatal(err)
	}

	if err := syscall.Mount("tidemark-test", state, "tmpfs", syscall.MS_REMOUNT, "size=200m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	if err := d.Await(context.Background(), time.Minute, func(c harness.Status) bool { return c.State == "STATE_IDLE" }); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(fmt.Errorf("stop: %w", err))
	}
	compare(t, srv, filepath.Join(dir, "archive"))
}
