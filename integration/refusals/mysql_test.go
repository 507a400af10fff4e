package refusals

import (
	"fmt"
	"path/filepath"
	"testing"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestRefusedMySQL has what a MySQL server, or a target in its notation, can be refused for.
func TestRefusedMySQL(t *testing.T) {
	servertest.Each(t, servertest.MySQL, func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		t.Run("gtid_mode", func(t *testing.T) { withoutGTIDs(t, b) })
		t.Run("targets", func(t *testing.T) { mysqlTargets(t, newWorld(t, b)) })
	})
}

func withoutGTIDs(t *testing.T, b servertest.Binaries) {
	w := &world{dir: t.TempDir()}
	var err error
	if w.tool, err = harness.Build(w.dir); err != nil {
		t.Fatal(err)
	}
	w.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"}})
	w.srv.CreateUser(servertest.User, "secret")
	cfg := w.configure(t, filepath.Join(w.dir, "off"), servertest.User, "secret", "")
	w.refused(t, fault.Primary, "gtid_mode is OFF", "run", "--config", cfg)
	if left, err := filepath.Glob(w.dir + "/off/archive/*"); err != nil || len(left) > 0 {
		t.Errorf("an archive was begun: %v, %v", left, err)
	}
}

func mysqlTargets(t *testing.T, w *world) {
	uuid := w.srv.Value("SELECT @@server_uuid")
	var last int
	if _, err := fmt.Sscanf(w.dropped, uuid+":1-%d", &last); err != nil {
		t.Fatalf("%s: %v", w.dropped, err)
	}
	other := "11111111-1111-1111-1111-111111111111"
	for _, c := range []struct {
		name  string
		kind  fault.Kind
		words string
		args  []string
	}{
		{"MariaDB's notation", fault.Usage, "the cluster is one of MySQL", []string{"--to-gtid", "0-1-100"}},
		{"no set", fault.Usage, "neither a tag nor a range", []string{"--to-gtid", uuid + ":x-y"}},
		{"before several", fault.Usage, "it names 2 transactions", []string{"--before-gtid", uuid + ":1-2"}},
		{"unknown transaction", fault.Unreachable, "is not in the archived log", []string{"--to-gtid", other + ":7"}},
		{"before an unknown one", fault.Unreachable, "is not in the archived log", []string{"--before-gtid", uuid + ":99999"}},
		{"beyond the archive", fault.Unreachable, "the archived log has no", []string{"--to-gtid", fmt.Sprintf("%s:1-%d", uuid, last+1)}},
		{"a hole", fault.Unreachable, "when it had all of that, it had", []string{"--to-gtid", fmt.Sprintf("%s:1-%d:%d", uuid, last-2, last)}},
		{"before the base", fault.Unreachable, "before the first point that can be restored", []string{"--to-gtid", uuid + ":1"}},
		{"no such file", fault.Unreachable, "holds no such file", []string{"--to-position", "binlog.009999:4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := filepath.Join(w.dir, "restored")
			w.refused(t, c.kind, c.words, append([]string{"restore", "shop", "--config", w.config, "--target-dir", target}, c.args...)...)
			if left, err := filepath.Glob(target + "*"); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}
