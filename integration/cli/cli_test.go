// Package cli tests the command line against a real server, in this process.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/integration/kit"
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

// world is one whose program is this process.
type world struct{ *kit.World }

// tidemark runs a command that must end with the exit code, and returns what it printed.
func (w *world) tidemark(exit int, args ...string) string {
	w.T.Helper()
	var stdout, stderr buffer
	if got := run(context.Background(), &stdout, &stderr, append(args, "--config", w.Config)...); got != exit {
		w.T.Fatalf("tidemark %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, exit, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func TestCommands(t *testing.T) {
	b := kit.One(t, kit.Servers(2), "mariadb-backup", "mbstream", "mariadb-binlog")
	w := &world{kit.New(t, kit.Setup{Binaries: b, Cluster: append(kit.Brisk, "spool: {max_size: 256MiB}"),
		SQL: []string{"CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100))"}})}
	t.Log(w.tidemark(3, "check")) // no schedule; sync_binlog
	w.tidemark(10, "list")

	log, stop := w.archive()
	w.await()
	for i := range 3 {
		for range 20 {
			w.Server.Exec("INSERT INTO shop.t (v) VALUES (REPEAT('x', 50))")
		}
		if i < 2 {
			w.Server.Exec("FLUSH BINARY LOGS")
		}
	}
	w.await()
	t.Log(w.tidemark(0, "status"))
	var base struct {
		ID          string `json:"id"`
		StoredBytes int64  `json:"stored_bytes"`
	}
	if w.parse(&base, "backup"); base.ID == "" || base.StoredBytes == 0 {
		t.Errorf("backup: %+v", base)
	}
	w.await()
	stop()
	if strings.Contains(log.String(), kit.Password) {
		t.Error("the log tells the password")
	}

	t.Log(w.tidemark(0, "list", "--segments"))
	t.Log(w.tidemark(0, "verify", "--data"))
	var report struct {
		Clusters []struct {
			Transactions uint64            `json:"transactions"`
			Findings     []json.RawMessage `json:"findings"`
		} `json:"clusters"`
	}
	w.parse(&report, "verify", "--data")
	if c := report.Clusters[0]; c.Transactions < 62 || len(c.Findings) > 0 {
		t.Errorf("verify: %+v", c)
	}
	w.rebuilt()
	w.tidemark(1, "status")
	w.restored()
}

// parse runs a command with --json, which must have worked, and reads what it printed.
func (w *world) parse(into any, args ...string) {
	w.T.Helper()
	text := w.tidemark(0, append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.T.Fatalf("%v in:\n%s", err, text)
	}
}

var listening = regexp.MustCompile(`status port listening.*?(127\.0\.0\.1:\d+)`)

// archive lets the program archive until stop is called, and sets the configuration to the port that it took.
func (w *world) archive() (log *buffer, stop func()) {
	w.T.Helper()
	log = new(buffer)
	ctx, cancel := context.WithCancel(context.Background())
	w.T.Cleanup(func() {
		cancel()
		if w.T.Failed() {
			w.T.Log(log)
		}
	})
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, new(buffer), log, "run", "--config", w.Config) }()
	var addr []string
	kit.Until(w.T, time.Minute, "the status port listens", func() bool {
		addr = listening.FindStringSubmatch(log.String())
		return addr != nil
	})
	text := strings.Replace(w.read(w.Config), "127.0.0.1:0", addr[1], 1)
	w.must(os.WriteFile(w.Config, []byte(text), 0o600))
	return log, func() {
		w.T.Helper()
		cancel()
		if exit := <-ended; exit != 0 {
			w.T.Fatalf("run ended with %d:\n%s", exit, log)
		}
	}
}

// rebuilt checks that cat gives back the server's own files.
func (w *world) rebuilt() {
	t := w.T
	t.Helper()
	out := filepath.Join(w.Dir, "out")
	t.Log(w.tidemark(0, "cat", "--output", out))
	files, err := filepath.Glob(filepath.Join(out, "*"))
	w.must(err)
	if len(files) < 3 {
		t.Fatalf("cat wrote %v", files)
	}
	w.SameFiles(out, w.Server.Datadir)
	w.tidemark(18, "cat", "--output", out)
	one := filepath.Base(files[0])
	if piped := w.tidemark(0, "cat", "--from", one, "--to", one); piped != w.read(files[0]) {
		t.Errorf("%s through a pipe is not %s in a directory", one, one)
	}
	// A segment from the middle of a file is a binlog file too.
	middle := filepath.Join(w.Dir, "middle")
	w.must(os.WriteFile(middle, []byte(w.tidemark(0, "cat", "--from", "2", "--to", "2")), 0o600))
	said, err := exec.Command(w.Server.Binaries.Binlog, "--verify-binlog-checksum", middle).CombinedOutput()
	if err != nil || !bytes.Contains(said, []byte("GTID 0-7-")) {
		t.Errorf("mariadb-binlog: %v\n%s", err, said)
	}
}

// restored checks that a restore ends where the server is.
func (w *world) restored() {
	w.T.Helper()
	target := filepath.Join(w.Dir, "restored")
	w.T.Log(w.tidemark(0, "restore", "--dry-run"))
	var r struct {
		Done bool   `json:"done"`
		GTID string `json:"gtid"`
	}
	w.parse(&r, "restore", "--target-dir", target)
	if want := w.Server.Position(); !r.Done || r.GTID != want {
		w.T.Errorf("restored to %+v, the server is at %s", r, want)
	}
	w.tidemark(18, "restore", "--target-dir", target)
}

// await waits until all that was committed is archived.
func (w *world) await() {
	w.T.Helper()
	end := w.Server.Position()
	kit.Until(w.T, time.Minute, "all is archived", func() bool {
		var stdout, stderr buffer
		exit := run(context.Background(), &stdout, &stderr, "status", "--json", "--config", w.Config)
		var s struct {
			Clusters []struct {
				State             string
				Archived, Primary struct{ File, Offset, GTID string }
			}
		}
		if exit != 0 || json.Unmarshal([]byte(stdout.String()), &s) != nil {
			return false
		}
		c := s.Clusters[0]
		caughtUp := c.Archived.File == c.Primary.File && c.Archived.Offset == c.Primary.Offset
		return c.State == "STATE_IDLE" && caughtUp && c.Archived.GTID == end
	})
}

func (w *world) read(path string) string {
	w.T.Helper()
	data, err := os.ReadFile(path)
	w.must(err)
	return string(data)
}

func (w *world) must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}
