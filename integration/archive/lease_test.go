package archive

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestTakeOver has two `tidemark run` archive one primary into one archive, under load. The second stands by; the
// first is stopped in its tracks until the second has taken over, and goes on; then that one is killed, and is
// followed when its lease expires; and in the end one is shut down and is followed at once. Every byte of the
// server's binlogs is in the archive once. N= sets how often (make campaign RUN=TestTakeOver N=5).
func TestTakeOver(t *testing.T) {
	kit.OnSystem(t, kit.Servers(2), takeOver)
}

func takeOver(t *testing.T, b servertest.Binaries) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	cluster := []string{"segment: {max_age: 200ms, max_size: 1MiB}", "heartbeat: 1s", "lease: {ttl: 2s}"}
	first := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=4M"}, Cluster: cluster})
	second := kit.New(t, kit.Setup{Server: first.Server, Archive: "file://" + first.Dir + "/archive", Cluster: cluster})
	load := first.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 100 << 10})

	begin(first)
	first.AwaitBase()
	load.Begin(2)
	first.Await("it archives", archives())
	begin(second)
	second.Await("the second one stands by", standsBy)
	notReady(t, second.Daemon)

	for range kit.Count(t, 1) {
		first.Daemon.Pause()
		second.Await("the first one is stopped, and the second archives", archives())
		first.Daemon.Resume()
		first.Await("the first one goes on, and stands by", standsBy)
		second.Await("the second one archives on", archives())

		second.Daemon.Kill()
		first.Await("the second one is killed, and the first archives", archives())
		begin(second)
		second.Await("the second one stands by again", standsBy)
	}
	// As if the first one had stalled just before a put, and the lease told it nothing: manifests do.
	own := first.Daemon.Last.Lease.Writer
	first.Daemon.Pause()
	second.Await("the first one is stopped, and the second archives", archives())
	second.Daemon.Kill()
	forgetLeases(t, filepath.Join(first.Dir, "archive"), own)
	first.Daemon.Resume()
	first.Await("the first one goes on behind what the second has archived", archives())
	said, err := os.ReadFile(filepath.Join(first.Dir, "run.log"))
	if err != nil || !strings.Contains(string(said), "another writer archives this cluster") {
		t.Errorf("the log does not say that a segment was taken, %v", err)
	}
	begin(second)
	second.Await("the second one stands by again", standsBy)

	first.Stop()
	second.Await("the first one is shut down, and the second archives", archives())

	load.End()
	second.Server.Rotate()
	second.SettleFiles()
	second.Stop()
	compare(first)
	second.RunTo([]int{0}, "verify", "shop", "--data")
}

// begin archives; what becomes of base backups when archivers are stopped is not what is tested.
func begin(w *kit.World) {
	w.T.Helper()
	w.Start()
	w.Daemon.BackupsMayFail = true
}

func standsBy(s kit.Status) bool {
	return s.State == "STATE_STANDING_BY" && !s.Lease.Ours && s.Lease.Host != ""
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
func notReady(t *testing.T, d *kit.Daemon) {
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
func archives() func(kit.Status) bool {
	var from kit.Point
	return func(s kit.Status) bool {
		if !s.Lease.Ours || s.Archived.File == "" || s.State == "STATE_STANDING_BY" {
			return false
		}
		if from.File == "" {
			from = s.Archived
		}
		return s.Archived != from
	}
}
