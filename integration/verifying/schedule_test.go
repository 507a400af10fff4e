package verifying

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/internal/fault"
)

func TestMain(m *testing.M) { kit.Main(m) }

// TestScheduled: run checks the archive by its schedule, each time another part of the data, of an encrypted
// archive the stored bytes; a restart knows how that ended; and damage is an alarm in status and metrics.
func TestScheduled(t *testing.T) {
	b := kit.One(t, kit.Servers(1), "mariadb-backup", "mbstream")
	setup := kit.Setup{Binaries: b, SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)"},
		Cluster: []string{"segment: {max_age: 100ms}", "heartbeat: 1s", "lease: {ttl: 1h}", "compaction: {size: 0}",
			`verify: {schedule: "* * * * *", data: 50%}`}}
	plain := kit.New(t, setup)
	setup.Server, setup.SQL, setup.Encrypted = plain.Server, nil, true
	worlds, what := []*kit.World{plain, kit.New(t, setup)}, []string{"data", "stored bytes"}
	for i, w := range worlds {
		w.StartAhead()
		w.AwaitBase()
		for n := range 5 {
			w.Server.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", 5*i+n), "FLUSH BINARY LOGS")
		}
		v := checked(w, func(s kit.Status) bool { return !s.LastVerification.Finished.IsZero() })
		if v.Error != "" || v.Damage > 0 || v.What != what[i]+" 1/2" {
			t.Errorf("the first check: %+v", v)
		}
		w.Stop()
	}
	for i, w := range worlds {
		found, err := filepath.Glob(filepath.Join(w.Dir, "archive/shop/log/00000001/*-0000000000000002.*.binlog.zst*"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		lost := filepath.Base(found[0])
		if err := os.Remove(found[0]); err != nil {
			t.Fatal(err)
		}
		w.StartAhead()
		w.Await("a check is due", due)
		if v := w.Daemon.Last.LastVerification; !strings.HasPrefix(v.What, what[i]) {
			t.Errorf("after a restart: %+v", v)
		}
		v := checked(w, func(s kit.Status) bool { return s.LastVerification.Damage == 1 })
		if v.What != what[i]+" 2/2" && v.What != what[i]+" 1/2" || !strings.Contains(v.FirstFinding, lost) {
			t.Errorf("the check of the damaged archive: %+v", v)
		}
		w.Tool = w.Tool.With("TIDEMARK_STATUS_LISTEN=" + w.Daemon.Addr)
		if said := w.Refused(fault.Warnings.ExitCode(), "status"); !strings.Contains(said, "DAMAGED") || !strings.Contains(said, lost) {
			t.Errorf("status says:\n%s", said)
		}
		metrics := get(t, w.Daemon, "/metrics")
		if !strings.Contains(metrics, `tidemark_verify_ok{cluster="shop"} 0`) ||
			!strings.Contains(metrics, `tidemark_verify_damage{cluster="shop"} 1`) {
			t.Error("the metrics do not tell")
		}
		w.Stop()
	}
}

func due(s kit.Status) bool { return !s.NextVerification.IsZero() }

// checked lets the next check come, if that has to be, and returns how the last one ended, as wished.
func checked(w *kit.World, ok func(kit.Status) bool) kit.Verification {
	w.T.Helper()
	w.Await("a check is due", due)
	if !ok(w.Daemon.Last) {
		w.JumpClock()
	}
	w.Await("a check", ok)
	return w.Daemon.Last.LastVerification
}

func get(t *testing.T, d *kit.Daemon, path string) string {
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
