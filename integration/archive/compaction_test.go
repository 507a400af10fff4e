package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// TestCompaction lets the daemon compact an encrypted archive under load, without a key that opens it, and kills it
// meanwhile. What list, verify, cat and a restore say of a past moment is the same before the segments there are
// compacted, beside their members, and when these are gone; and in the end every byte of the server's binlogs is in
// the archive once.
func TestCompaction(t *testing.T) {
	onSystem(t, compaction)
}

func compaction(t *testing.T, b servertest.Binaries) {
	harness.Use(t, b)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=8M"}})
	srv.CreateUser(servertest.User, "secret")
	without := []workload.Group{workload.Recreated}
	if b.Flavor == servertest.MySQL {
		srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
		without = append(without, workload.NonTransactional)
	}
	c := &compacting{t: t, srv: srv, dir: t.TempDir()}
	var err error
	if c.tool, err = harness.Build(c.dir); err != nil {
		t.Fatal(err)
	}
	if c.cfg, err = (harness.Config{Dir: c.dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 100ms}\n    heartbeat: 1s\n    compaction: {size: 8MiB, age: 4s, grace: 6s}\n"}).Write(); err != nil {
		t.Fatal(err)
	}
	c.identity = filepath.Join(c.dir, "identity")
	recipient := strings.TrimSpace(strings.TrimPrefix(c.run("keygen", "--output", c.identity), "Public key: "))
	data, err := os.ReadFile(c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.cfg, fmt.Appendf(data, "encryption: {recipients: [%s]}\n", recipient), 0o600); err != nil {
		t.Fatal(err)
	}
	w := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 50 << 10, Without: without})
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}

	c.start()
	c.await("a base backup", func(s harness.Status) bool { return s.LastBackup.ID != "" })
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- w.Run(ctx, func() (*client.Conn, error) { return srv.Process.Conn() }, 2, 0) }()
	time.Sleep(time.Second)
	if c.past, err = w.Checkpoint(srv.Conn(), "past"); err != nil {
		t.Fatal(err)
	}
	srv.Exec("FLUSH BINARY LOGS")
	c.await("the past is archived", func(s harness.Status) bool { return s.Archived.File > c.past.File })
	before := c.cat()
	c.look("before", before)

	for range 3 {
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		c.d.Kill()
		c.start()
	}
	c.await("segments are compacted", func(s harness.Status) bool { return s.Compaction.Into > 0 && s.Archived.File != "" })
	c.look("beside the members", before)
	c.await("members are removed", func(s harness.Status) bool {
		return s.Compaction.RemovedObjects > 0 && s.Compaction.Error == ""
	})
	c.look("without the members", before)

	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	srv.Exec("FLUSH BINARY LOGS")
	c.await("all is archived", func(s harness.Status) bool {
		return s.Primary.File != "" && s.Archived.File == s.Primary.File && s.Archived.Offset == s.Primary.Offset
	})
	t.Logf("compacted %d segments into %d, removed %d objects, %d bytes kept", c.d.Last.Compaction.Segments, c.d.Last.Compaction.Into,
		c.d.Last.Compaction.RemovedObjects, c.d.Last.Compaction.KeptBytes)
	if err := c.d.Stop(); err != nil {
		t.Fatal(err)
	}
	c.run("verify", "shop", "--data", "--identity", c.identity)
	out := filepath.Join(c.dir, "all")
	c.run("cat", "shop", "--output", out, "--identity", c.identity)
	for _, row := range srv.Query("SHOW BINARY LOGS") {
		own, err := os.ReadFile(filepath.Join(srv.Datadir, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(out, row[0]))
		own[4+17] &^= 1 // the in-use flag of the file still open
		if err != nil || len(got) > len(own) || !bytes.Equal(got, own[:len(got)]) || len(got) == 0 {
			t.Errorf("%s: %d bytes archived, %d on the server, %v", row[0], len(got), len(own), err)
		}
	}
}

// compacting is a server, an archive of it, and a moment in its past.
type compacting struct {
	t                        *testing.T
	srv                      *servertest.Server
	dir, tool, cfg, identity string
	d                        *harness.Daemon
	past                     workload.Checkpoint
}

func (c *compacting) start() {
	c.t.Helper()
	var err error
	if c.d, err = harness.Start(c.tool, c.cfg, filepath.Join(c.dir, "run.log")); err != nil {
		c.t.Fatal(err)
	}
	d := c.d
	c.t.Cleanup(func() {
		if d.Addr != "" {
			d.Kill()
		}
	})
}

func (c *compacting) await(what string, ok func(harness.Status) bool) {
	c.t.Helper()
	began := time.Now()
	if err := c.d.Await(context.Background(), time.Minute, ok); err != nil {
		c.t.Fatalf("%s: %v; compaction %+v", what, err, c.d.Last.Compaction)
	}
	c.t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond))
}

func (c *compacting) run(args ...string) string {
	c.t.Helper()
	cmd := exec.Command(c.tool, append(args, "--config", c.cfg)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && args[0] == "restore" { // with warnings, of events that are left off
		err = nil
	}
	if err != nil {
		c.t.Fatalf("tidemark %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// cat is the digest of each of the past's files.
func (c *compacting) cat() string {
	c.t.Helper()
	dir := filepath.Join(c.dir, "cat")
	c.run("cat", "shop", "--to", c.past.File, "--output", dir, "--identity", c.identity)
	defer os.RemoveAll(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	var sums strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%s %d %x\n", e.Name(), len(data), sha256.Sum256(data))
	}
	return sums.String()
}

// look reads the archive in all ways while it is written to, and compares what it says of the past.
func (c *compacting) look(when, want string) {
	c.t.Helper()
	if got := c.cat(); got != want {
		c.t.Errorf("%s: cat gives\n%s\nand gave\n%s", when, got, want)
	}
	c.run("list", "shop", "--segments")
	c.run("verify", "shop", "--data", "--identity", c.identity)
	target := filepath.Join(c.dir, "restored")
	defer os.RemoveAll(target)
	c.run("restore", "shop", "--target-dir", target, "--to-gtid", c.past.GTIDPos, "--identity", c.identity)
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: c.srv.Binaries})
	if err != nil {
		c.t.Fatal(err)
	}
	defer again.Close()
	conn, err := again.Conn()
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	if err := workload.Compare(conn, c.past); err != nil {
		c.t.Errorf("%s: %v", when, err)
	}
}
