// Package clouds archives and restores a real server on each kind of object storage, whose services run
// on this machine.
package clouds

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/storage/emulatortest"
	"tidemark/storage/storagetest"
)

// TestClouds takes a base backup, archives what is written after it over a network that loses every
// seventh reply to a write, verifies every byte, restores, and compares the tables.
func TestClouds(t *testing.T) {
	servertest.Require(t, "mariadb-backup", "mbstream")
	dir := t.TempDir()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range emulatortest.Schemes() {
		t.Run(scheme, func(t *testing.T) { archiveAndRestore(t, tool, scheme) })
	}
}

func archiveAndRestore(t *testing.T, tool, scheme string) {
	service := emulatortest.Start(t, scheme)
	archive := service.Archive(t)
	var lost, asked atomic.Int64
	seen := service.Behind(t, func(r *http.Request) storagetest.Fault {
		write := r.Method == http.MethodPut || r.Method == http.MethodPost && !r.URL.Query().Has("upload_id")
		if write && asked.Add(1)%7 == 3 {
			lost.Add(1)
			return storagetest.Lost
		}
		return storagetest.Pass
	})

	srv := servertest.Start(t, servertest.Options{ServerID: 7})
	srv.CreateUser(servertest.User, "secret")
	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARBINARY(4000))")
	fill := func(rows int) {
		for range rows {
			srv.Exec("INSERT INTO d.t (v) VALUES (RANDOM_BYTES(1000)), (RANDOM_BYTES(1000))")
		}
	}
	fill(20)
	dir := t.TempDir()
	cfg, err := harness.Config{Dir: dir, Archive: archive.String(), Storage: seen.Settings, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 300ms}\n    heartbeat: 1s\n    base: {part_size: 20MiB}\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.Command(tool, append(args, "--config", cfg)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("tidemark %s: %v, want exit %d\n%s", strings.Join(args, " "), err, want, out)
		}
		return string(out)
	}
	if out := run(3, "check"); !strings.Contains(out, "put if absent, read, list and remove work") { // no schedule; sync_binlog
		t.Errorf("check says\n%s", out)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	ctx := context.Background()
	if err := d.Await(ctx, 2*time.Minute, func(c harness.Status) bool { return c.LastBackup.ID != "" }); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		fill(20)
		srv.Exec("FLUSH BINARY LOGS")
	}
	end, sum := srv.Value("SELECT @@gtid_binlog_pos"), srv.Query("CHECKSUM TABLE d.t")[0][1]
	if err := d.Await(ctx, time.Minute, func(c harness.Status) bool { return c.Archived.GTID == end }); err != nil {
		t.Fatal(err)
	}
	metrics(t, d.Addr)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}

	var report struct {
		Clusters []struct {
			Segments, Transactions int
			Findings               []struct{ Severity, Kind, Object, Problem string }
		}
	}
	out := run(0, "verify", "--data", "--json", "--quiet")
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
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
	target := filepath.Join(dir, "restored")
	run(0, "restore", "shop", "--target-dir", target, "--quiet")
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if rows, err := again.Query("CHECKSUM TABLE d.t"); err != nil || rows[0][1] != sum {
		t.Errorf("restored %v, %v; the primary has %s", rows, err, sum)
	}
	if lost.Load() == 0 {
		t.Error("no reply was lost")
	}
	t.Logf("%d transactions; %d of %d replies to writes lost", c.Transactions, lost.Load(), asked.Load())
	noBucket(t, tool, harness.Config{Dir: dir, Archive: scheme + "://no-such-bucket/p", Storage: seen.Settings, Primary: srv.Addr, User: servertest.User, Password: "secret"})
}

// noBucket: what is wrong with the storage is said with its exit code and the next step.
func noBucket(t *testing.T, tool string, c harness.Config) {
	cfg, err := c.Write()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"list", "check"} {
		cmd := exec.Command(tool, verb, "--config", cfg)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 16 || !strings.Contains(string(out), "Create the bucket") {
			t.Errorf("%s of a bucket that is not there: exit %d\n%s", verb, cmd.ProcessState.ExitCode(), out)
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
