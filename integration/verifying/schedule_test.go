package verifying

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestScheduled: run checks the archive by its schedule, each time another part of the data, of an encrypted
// archive the stored bytes; a restart knows how that ended; and damage is an alarm in status and metrics.
func TestScheduled(t *testing.T) {
	b := servertest.Require(t, "mariadb-backup", "mbstream")
	w := &world{t: t, position: "SELECT @@gtid_binlog_pos", srv: servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b})}
	dir := t.TempDir()
	var err error
	w.tool, err = harness.Build(dir)
	w.must(err)
	w.srv.CreateUser(servertest.User, "secret")
	w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	said, _ := w.tidemark("keygen", "--output", filepath.Join(dir, "identity"))
	recipient := strings.TrimSpace(strings.TrimPrefix(said, "Public key: "))
	archives := []*archive{w.configure(filepath.Join(dir, "plain"), "100ms", "", ""), w.configure(filepath.Join(dir, "encrypted"), "100ms", recipient, "")}
	for _, a := range archives {
		data, err := os.ReadFile(a.config)
		w.must(err)
		text := strings.Replace(string(data), "    heartbeat: 1s\n", "    heartbeat: 1s\n    verify: {schedule: \"* * * * *\", data: 50%}\n", 1)
		text = strings.Replace(text, ", identity_file: }", "}", 1)
		w.must(os.WriteFile(a.config, []byte(text), 0o600))
	}
	daemons := make([]*harness.Daemon, 2)
	start := func() {
		for i, a := range archives {
			daemons[i], err = harness.Start(w.tool, a.config, filepath.Join(a.dir, "run.log"))
			w.must(err)
			t.Cleanup(daemons[i].Kill)
			w.must(daemons[i].Await(context.Background(), time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" }))
		}
	}
	start()
	for i := range 5 {
		w.srv.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i), "FLUSH BINARY LOGS")
	}
	what := []string{"data", "stored bytes"}
	for i, d := range daemons {
		v := awaitVerification(t, d, func(v verification) bool { return v.Finished != "" })
		if v.Error != "" || v.Damage != "" && v.Damage != "0" || v.What != what[i]+" 1/2" {
			t.Errorf("the first check: %+v", v)
		}
		w.must(d.Stop())
	}

	lost := make([]string, 2)
	for i, a := range archives {
		found, err := filepath.Glob(a.path("log/00000001/*-0000000000000002.*.binlog.zst*"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		lost[i] = filepath.Base(found[0])
		w.must(os.Remove(found[0]))
	}
	start()
	for i, d := range daemons {
		if v := lastVerification(t, d); !strings.HasPrefix(v.What, what[i]) {
			t.Errorf("after a restart: %+v", v)
		}
		v := awaitVerification(t, d, func(v verification) bool { return v.Damage == "1" })
		if v.What != what[i]+" 2/2" && v.What != what[i]+" 1/2" || !strings.Contains(v.FirstFinding, lost[i]) {
			t.Errorf("the check of the damaged archive: %+v", v)
		}
		cmd := exec.Command(w.tool, "status", "--config", archives[i].config)
		cmd.Env = append(os.Environ(), "TIDEMARK_STATUS_LISTEN="+d.Addr)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != fault.Warnings.ExitCode() || !strings.Contains(string(out), "DAMAGED") || !strings.Contains(string(out), lost[i]) {
			t.Errorf("status ends with %d:\n%s", code, out)
		}
		if m := get(t, d, "/metrics"); !strings.Contains(m, `tidemark_verify_ok{cluster="shop"} 0`) || !strings.Contains(m, `tidemark_verify_damage{cluster="shop"} 1`) {
			t.Error("the metrics do not tell")
		}
		w.must(d.Stop())
	}
}

// verification is what the status says of a check.
type verification struct{ Finished, What, Damage, FirstFinding, Error string }

func lastVerification(t *testing.T, d *harness.Daemon) verification {
	t.Helper()
	var s struct {
		Clusters []struct{ LastVerification verification }
	}
	if err := json.Unmarshal([]byte(get(t, d, "/status")), &s); err != nil {
		t.Fatal(err)
	}
	return s.Clusters[0].LastVerification
}

func awaitVerification(t *testing.T, d *harness.Daemon, ok func(verification) bool) verification {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		v := lastVerification(t, d)
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing after three minutes: %+v\n%s", v, d.Tail())
		}
	}
}

func get(t *testing.T, d *harness.Daemon, path string) string {
	t.Helper()
	r, err := http.Get("http://" + d.Addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
