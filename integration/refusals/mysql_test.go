package refusals

import (
	"fmt"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestRefusedMySQL has what a MySQL server, or a target in its notation, can be refused for.
func TestRefusedMySQL(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := newWorld(t, b)
		t.Run("targets", func(t *testing.T) { mysqlTargets(t, w) })
		t.Run("gtid_mode", func(t *testing.T) { withoutGTIDs(t, b) })
	})
}

func withoutGTIDs(t *testing.T, b servertest.Binaries) {
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"}})
	refused(t, fault.Primary, "gtid_mode is OFF", w.Command("run"))
	none(t, "an archive was begun", w.Dir+"/archive/*")
}

func mysqlTargets(t *testing.T, w *world) {
	uuid := w.Server.Value("SELECT @@server_uuid")
	var last int
	if _, err := fmt.Sscanf(w.end, uuid+":1-%d", &last); err != nil {
		t.Fatalf("%s: %v", w.end, err)
	}
	other := "11111111-1111-1111-1111-111111111111"
	for _, c := range []struct {
		name          string
		kind          fault.Kind
		words         string
		option, value string
	}{
		{"MariaDB's notation", fault.Usage, "the cluster is one of MySQL", "--to-gtid", "0-1-100"},
		{"no set", fault.Usage, "neither a tag nor a range", "--to-gtid", uuid + ":x-y"},
		{"before several", fault.Usage, "it names 2 transactions", "--before-gtid", uuid + ":1-2"},
		{"unknown transaction", fault.Unreachable, "is not in the archived log", "--to-gtid", other + ":7"},
		{"before an unknown one", fault.Unreachable, "is not in the archived log", "--before-gtid", uuid + ":99999"},
		{"beyond the archive", fault.Unreachable, "the archived log has no", "--to-gtid", fmt.Sprintf("%s:1-%d", uuid, last+1)},
		{"a hole", fault.Unreachable, "when it had all of that, it had", "--to-gtid", fmt.Sprintf("%s:1-%d:%d", uuid, last-2, last)},
		{"before the base", fault.Unreachable, "before the first point that can be restored", "--to-gtid", uuid + ":1"},
		{"no such file", fault.Unreachable, "holds no such file", "--to-position", "binlog.009999:4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, c.kind, c.words, w.restore(c.option, c.value))
			none(t, "it left", w.target+"*")
		})
	}
}
