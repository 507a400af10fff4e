package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestFullDisk fills the spool's file system: archiving ends with a clear error, and goes on without a
// gap, a duplicate or a changed byte when there is space again.
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

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, "run", "--config", cfg).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != fault.Other.ExitCode() {
		t.Fatalf("tidemark run on a full disk: %v\n%s", err, out)
	}
	for _, words := range []string{"no space left on device", "hint: Free space"} {
		if !strings.Contains(string(out), words) {
			t.Errorf("the error does not say %q:\n%s", words, out)
		}
	}

	if err := syscall.Mount("tidemark-test", state, "tmpfs", syscall.MS_REMOUNT, "size=200m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
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
