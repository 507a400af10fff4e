package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/storage/emulatortest"
	"tidemark/storage/storagetest"
)

// TestClouds archives and restores a real server on each kind of object storage, whose services run on this
// machine: it takes a base backup, archives what is written after it over a network that loses every seventh
// reply to a write, verifies every byte, restores, and compares the tables.
func TestClouds(t *testing.T) {
	t.Parallel()
	for _, scheme := range emulatortest.Schemes() {
		t.Run(scheme, func(t *testing.T) {
			archiveAndRestore(t, kit.One(t, kit.Servers(2), "mariadb-backup", "mbstream"), scheme)
		})
	}
}

func archiveAndRestore(t *testing.T, b servertest.Binaries, scheme string) {
	service := emulatortest.Run(t, scheme)
	archive := service.Archive(t)
	var lost, asked atomic.Int64
	seen := service.Seen(t, func(r *http.Request) storagetest.Fault {
		write := r.Method == http.MethodPut || r.Method == http.MethodPost && !r.URL.Query().Has("upload_id")
		if write && asked.Add(1)%7 == 3 {
			lost.Add(1)
			return storagetest.Lost
		}
		return storagetest.Pass
	})
	w := kit.New(t, kit.Setup{Binaries: b, Archive: archive.String(), Storage: seen.Settings,
		Cluster: append(kit.Brisk, "base: {part_size: 20MiB}"),
		SQL:     []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARBINARY(4000))"}})
	w.Tool = w.Tool.With(seen.Env...)
	fill := func() {
		for range 20 {
			w.Server.Exec("INSERT INTO d.t (v) VALUES (RANDOM_BYTES(1000)), (RANDOM_BYTES(1000))")
		}
	}
	fill()
	if out := w.RunTo([]int{3}, "check"); !strings.Contains(out, "put if absent, read, list and remove work") { // no schedule; sync_binlog
		t.Errorf("check says\n%s", out)
	}
	w.Start()
	w.AwaitBase()
	for range 5 {
		fill()
		w.Server.Exec("FLUSH BINARY LOGS")
	}
	truth := w.Truth("the end")
	w.Settle()
	metrics(t, w.Daemon.Addr)
	w.Stop()

	var report struct {
		Clusters []struct {
			Segments, Transactions int
			Findings               []struct{ Severity, Kind, Object, Problem string }
		}
	}
	w.JSON(&report, "verify", "--data", "--quiet")
	c := report.Clusters[0]
	if c.Transactions < 100 {
		t.Errorf("verify: %+v", c)
	}
	for _, f := range c.Findings {
		// What was stored when its reply was lost, and the daemon stopped before it asked again, is
		// stored once more at its end.
		if f.Kind != "orphan" || f.Severity != "note" {
			t.Errorf("verify: %+v", f)
		}
	}
	target := filepath.Join(w.Dir, "restored")
	w.RunTo([]int{0}, "restore", "shop", "--target-dir", target, "--quiet")
	w.TargetEquals(target, truth)
	if lost.Load() == 0 {
		t.Error("no reply was lost")
	}
	t.Logf("%d transactions; %d of %d replies to writes lost", c.Transactions, lost.Load(), asked.Load())

	// What is wrong with the storage is said with its exit code and the next step.
	w.Configure(func(s *kit.Setup) { s.Archive = scheme + "://no-such-bucket/p" })
	for _, verb := range []string{"list", "check"} {
		if out := w.Refused(16, verb); !strings.Contains(out, "Create the bucket") {
			t.Errorf("%s of a bucket that is not there:\n%s", verb, out)
		}
	}
}

// metrics: what is done to the storage is counted.
func metrics(t *testing.T, addr string) {
	r, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		`tidemark_storage_operations_total{operation="put",result="ok"} `,
		`tidemark_storage_operations_total{operation="upload",result="ok"} `,
		`tidemark_storage_bytes_total{operation="upload"} `,
		`tidemark_storage_operation_duration_seconds_count{operation="list"} `,
	} {
		if _, value, ok := strings.Cut(string(text), name); !ok || strings.HasPrefix(value, "0\n") {
			t.Errorf("no %s among the metrics", name)
		}
	}
}
