package archive

import (
	"context"
	"io"
	"net/http"
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

// TestTakeOver has two `tidemark run` archive one primary into one archive, under load. The second stands by; the
// first is stopped in its tracks until the second has taken over, and goes on; then that one is killed, and is
// followed when its lease expires; and in the end one is shut down and is followed at once. Every byte of the
// server's binlogs is in the archive once. N= sets how often (make campaign RUN=TestTakeOver N=5).
func TestTakeOver(t *testing.T) {
	onSystem(t, takeOver)
}

// onSystem runs a scenario on the system's server, or on those that TIDEMARK_TEST_SERVERS names: it takes its time, and
// the servers have little part in it.
func onSystem(t *testing.T, scenario func(*testing.T, servertest.Binaries)) {
	t.Helper()
	if os.Getenv("TIDEMARK_TEST_SERVERS") == "" {
		t.Setenv("TIDEMARK_TEST_SERVERS", "mariadb-10.11")
	}
	servertest.Each(t, "", scenario)
}

func takeOver(t *testing.T, b servertest.Binaries) {
	harness.Use(t, b)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=4M"}})
	srv.CreateUser(servertest.User, "secret")
	status, without := "SHOW MASTER STATUS", []workload.Group{workload.Recreated}
	if b.Flavor == servertest.MySQL {
		srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
		status, without = "SHOW BINARY LOG STATUS", append(without, workload.NonTransactional)
	}
	dir := t.TempDir()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) *harness.Daemon {
		t.Helper()
		own := filepath.Join(dir, name)
		if err := os.MkdirAll(own, 0o700); err != nil {
			t.Fatal(err)
		}
		cfg, err := harness.Config{Dir: own, Archive: "file://" + dir + "/archive", Primary: srv.Addr, User: servertest.User, Password: "secret",
			More: "    segment: {max_age: 200ms, max_size: 1MiB}\n    heartbeat: 1s\n    lease: {ttl: 3s}\n"}.Write()
		if err != nil {
			t.Fatal(err)
		}
		d, err := harness.Start(tool, cfg, own+"/run.log")
		if err != nil {
			t.Fatal(err)
		}
		d.BackupsMayFail = true
		t.Cleanup(func() {
			if d.Addr != "" {
				d.Kill()
			}
		})
		return d
	}
	await := func(d *harness.Daemon, what string, ok func(harness.Status) bool) {
		t.Helper()
		began := time.Now()
		if err := d.Await(context.Background(), time.Minute, ok); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond))
	}
	standsBy := func(s harness.Status) bool {
		return s.State == "STATE_STANDING_BY" && !s.Lease.Ours && s.Lease.Host != ""
	}
	w := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 100 << 10, Without: without})
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}

	a := start("a")
	await(a, "the first one has a base backup", func(s harness.Status) bool { return s.LastBackup.ID != "" })
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- w.Run(ctx, func() (*client.Conn, error) { return srv.Process.Conn() }, 2, 0) }()
	await(a, "it archives", archives())
	second := start("b")
	await(second, "the second one stands by", standsBy)
	notReady(t, second)

	for range harness.Count(t, 1) {
		a.Pause()
		await(second, "the first one is stopped, and the second archives", archives())
		a.Resume()
		await(a, "the first one goes on, and stands by", standsBy)
		await(second, "the second one archives on", archives())

		second.Kill()
		await(a, "the second one is killed, and the first archives", archives())
		second = start("b")
		await(second, "the second one stands by again", standsBy)
	}
	// As if the first one had stalled just before a put, and the lease told it nothing: manifests do.
	own := a.Last.Lease.Writer
	a.Pause()
	await(second, "the first one is stopped, and the second archives", archives())
	second.Kill()
	forgetLeases(t, filepath.Join(dir, "archive"), own)
	a.Resume()
	await(a, "the first one goes on behind what the second has archived", archives())
	if said, err := os.ReadFile(filepath.Join(dir, "a", "run.log")); err != nil || !strings.Contains(string(said), "another writer archives this cluster") {
		t.Errorf("the log does not say that a segment was taken, %v", err)
	}
	second = start("b")
	await(second, "the second one stands by again", standsBy)

	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	await(second, "the first one is shut down, and the second archives", archives())

	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	srv.Exec("FLUSH BINARY LOGS")
	end := srv.Query(status)[0][0]
	await(second, "all is archived", func(c harness.Status) bool {
		return c.Primary.File == end && c.Archived.File == end && c.Archived.Offset == c.Primary.Offset
	})
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	compare(t, srv, filepath.Join(dir, "archive"))
	if out, err := exec.Command(tool, "verify", "shop", "--data", "--config", dir+"/b/tidemark.yaml").CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// forgetLeases removes the leases of all archivers but one.
func forgetLeases(t *testing.T, archive, but string) {
	t.Helper()
	leases, err := filepath.Glob(filepath.Join(archive, "shop", "lease", "*.json"))
	if err != nil || len(leases) == 0 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	for _, path := range leases {
		if data, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		} else if strings.Contains(string(data), but) {
			continue
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// notReady fails unless a daemon that stands by says so.
func notReady(t *testing.T, d *harness.Daemon) {
	t.Helper()
	if r, err := http.Get("http://" + d.Addr + "/readyz"); err != nil {
		t.Error(err)
	} else {
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "holds the lease") {
			t.Errorf("/readyz of who stands by: %s %s", r.Status, body)
		}
	}
}

// archives reports whether a daemon holds the lease, and has archived something since it was first asked.
func archives() func(harness.Status) bool {
	var from harness.Point
	return func(s harness.Status) bool {
		if !s.Lease.Ours || s.Archived.File == "" || s.State == "STATE_STANDING_BY" {
			return false
		}
		if from.File == "" {
			from = s.Archived
		}
		return s.Archived != from
	}
}
