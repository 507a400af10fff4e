// Package cli tests the command line against a real server, in this process.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/integration/servertest"
	"tidemark/internal/cli"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/storage"
	"tidemark/storage/file"
)

// buffer may be read while it is written to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func run(ctx context.Context, stdout, stderr *buffer, args ...string) int {
	return cli.Main(ctx, cli.Program{Version: "test", Args: args, Stdout: stdout, Stderr: stderr, Clock: clock.System{},
		Drivers: []cli.Driver{{Scheme: "file", Open: func(_ context.Context, u *url.URL, _ config.Storage) (storage.Store, error) { return file.Open(u.Path) }}}})
}

// tidemark runs a command that must end with the exit code, and returns what it printed.
func tidemark(t *testing.T, exit int, args ...string) string {
	t.Helper()
	var stdout, stderr buffer
	if got := run(context.Background(), &stdout, &stderr, args...); got != exit {
		t.Fatalf("tidemark %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, exit, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
}

func TestCommands(t *testing.T) {
	server := servertest.Start(t, servertest.Options{ServerID: 7})
	server.CreateUser(servertest.User, "s3cret")
	server.Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100))")

	dir := t.TempDir()
	port := freePort(t)
	password := filepath.Join(dir, "password")
	must(t, os.WriteFile(password, []byte("s3cret\n"), 0o600))
	config := filepath.Join(dir, "tidemark.yaml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `archive: file://%[1]s/archive
state_dir: %[1]s/state
status: {listen: "127.0.0.1:%[2]d"}
clusters:
  shop:
    hosts: ["%[3]s"]
    user: %[4]s
    password_file: %[5]s
    segment: {max_age: 200ms}
    spool: {max_size: 256MiB}
`, dir, port, server.Addr, servertest.User, password), 0o600))
	conf := []string{"--config", config}
	with := func(args ...string) []string { return append(args, conf...) }

	t.Log(tidemark(t, 3, with("check")...)) // no schedule; sync_binlog
	tidemark(t, 10, with("list")...)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var log buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, new(buffer), &log, with("run")...) }()
	await(t, &log, with("status", "--json"))
	for i := range 3 {
		for range 20 {
			server.Exec("INSERT INTO shop.t (v) VALUES (REPEAT('x', 50))")
		}
		if i < 2 {
			server.Exec("FLUSH BINARY LOGS")
		}
	}
	await(t, &log, with("status", "--json"))
	t.Log(tidemark(t, 0, with("status")...))
	if server.Binaries.Has("mariadb-backup") == nil {
		var b struct {
			ID          string `json:"id"`
			StoredBytes int64  `json:"stored_bytes"`
		}
		parse(t, tidemark(t, 0, with("backup", "--json")...), &b)
		if b.ID == "" || b.StoredBytes == 0 {
			t.Errorf("backup: %+v", b)
		}
	}
	await(t, &log, with("status", "--json"))
	stop()
	if exit := <-ended; exit != 0 {
		t.Fatalf("run ended with %d:\n%s", exit, log.String())
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Error("the log tells the password")
	}

	t.Log(tidemark(t, 0, with("list", "--segments")...))
	t.Log(tidemark(t, 0, with("verify", "--data")...))
	var report struct {
		Clusters []struct {
			Transactions uint64            `json:"transactions"`
			Findings     []json.RawMessage `json:"findings"`
		} `json:"clusters"`
	}
	parse(t, tidemark(t, 0, with("verify", "--data", "--json")...), &report)
	if c := report.Clusters[0]; c.Transactions < 62 || len(c.Findings) > 0 {
		t.Errorf("verify: %+v", c)
	}

	rebuilt(t, server, dir, conf)
	tidemark(t, 1, with("status")...)
	restored(t, server, dir, conf)
}

// rebuilt checks that cat gives back the server's own files.
func rebuilt(t *testing.T, server *servertest.Server, dir string, conf []string) {
	with := func(args ...string) []string { return append(args, conf...) }
	out := filepath.Join(dir, "out")
	t.Log(tidemark(t, 0, with("cat", "--output", out)...))
	files, err := filepath.Glob(filepath.Join(out, "*"))
	must(t, err)
	if len(files) < 3 {
		t.Fatalf("cat wrote %v", files)
	}
	for _, f := range files {
		ours, err := os.ReadFile(f)
		must(t, err)
		theirs, err := os.ReadFile(filepath.Join(server.Datadir, filepath.Base(f)))
		must(t, err)
		theirs = theirs[:min(len(theirs), len(ours))] // the server may have gone on
		theirs[4+17] &^= 1                            // the flag that says that the file is in use
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s is not what the server has", filepath.Base(f))
		}
	}
	tidemark(t, 18, with("cat", "--output", out)...)
	one := filepath.Base(files[0])
	if piped := tidemark(t, 0, with("cat", "--from", one, "--to", one)...); piped != read(t, files[0]) {
		t.Errorf("%s through a pipe is not %s in a directory", one, one)
	}
	// A segment from the middle of a file is a binlog file too.
	middle := filepath.Join(dir, "middle")
	must(t, os.WriteFile(middle, []byte(tidemark(t, 0, with("cat", "--from", "2", "--to", "2")...)), 0o600))
	if server.Binaries.Has("mariadb-binlog") == nil {
		out, err := exec.Command(server.Binaries.Binlog, "--verify-binlog-checksum", middle).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("GTID 0-7-")) {
			t.Errorf("mariadb-binlog: %v\n%s", err, out)
		}
	}
}

// restored checks that a restore ends where the server is.
func restored(t *testing.T, server *servertest.Server, dir string, conf []string) {
	with := func(args ...string) []string { return append(args, conf...) }
	if server.Binaries.Has("mariadb-backup", "mbstream") != nil {
		return
	}
	target := filepath.Join(dir, "restored")
	t.Log(tidemark(t, 0, with("restore", "--dry-run")...))
	var r struct {
		Done bool   `json:"done"`
		GTID string `json:"gtid"`
	}
	parse(t, tidemark(t, 0, with("restore", "--target-dir", target, "--json")...), &r)
	if want := server.Value("SELECT @@gtid_binlog_pos"); !r.Done || r.GTID != want {
		t.Errorf("restored to %+v, the server is at %s", r, want)
	}
	tidemark(t, 18, with("restore", "--target-dir", target)...)
}

// await waits until all that was committed is archived.
func await(t *testing.T, log *buffer, args []string) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var stdout, stderr buffer
		exit := run(context.Background(), &stdout, &stderr, args...)
		last = stdout.String() + stderr.String()
		var s struct {
			Clusters []struct {
				State             string
				Archived, Primary struct{ File, Offset string }
			}
		}
		if exit != 0 || json.Unmarshal([]byte(stdout.String()), &s) != nil {
			continue
		}
		if c := s.Clusters[0]; c.State == "STATE_IDLE" && c.Archived == c.Primary {
			return
		}
	}
	t.Fatalf("it is not archived:\n%s\n%s", last, log.String())
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
