package failover

import (
	"slices"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestFilters: a primary that leaves databases out of its binlog is refused, by run and by check, until the configuration accepts
// that by name; then it is said what is not archived. Where it comes about later, archiving goes on, and there is an alarm.
func TestFilters(t *testing.T) { kit.Each(t, "", kit.Servers(1), filters) }

func filters(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 1)
	s := archive(t, c)
	s.insert("before", 2)
	s.archived()

	s.Server.Restart("--binlog-ignore-db=scratch")
	s.Await("the alarm", func(is kit.Status) bool {
		return is.MissingUnaccepted && strings.Contains(is.Error, "its binlog lacks changes of the databases scratch") && strings.HasPrefix(is.State, "STATE_IDLE")
	})
	s.Server.Exec("CREATE DATABASE scratch")
	s.insert("later", 2)
	s.archived()
	s.Stop()

	key := "clusters.shop.accept_missing: [binlog_ignore_db]"
	for _, command := range []string{"run", "check"} {
		if said := s.Refused(fault.Primary.ExitCode(), command); !strings.Contains(said, "scratch") || !strings.Contains(said, key) {
			t.Errorf("%s: %s", command, said)
		}
	}
	s.Configure(func(setup *kit.Setup) {
		setup.Cluster = append(slices.Clone(kit.Brisk), "fork_grace: 1s", "accept_missing: [binlog_ignore_db]")
	})
	s.Start()
	s.insert("accepted", 2)
	s.archived()
	if is := s.Daemon.Last; is.MissingUnaccepted || len(is.Missing) != 1 || is.Missing[0].Setting != "binlog_ignore_db" || is.Error != "" {
		t.Errorf("%+v", is)
	}
	if said := s.RunTo([]int{0, 3}, "check"); !strings.Contains(said, "changes of the databases scratch") {
		t.Errorf("check: %s", said)
	}
	want := content(s.Server)
	s.Stop()
	if got := s.restored(); got != want {
		t.Errorf("restored: %s\nthe primary: %s", got, want)
	}
}

// TestUnloggedReplica: a replica that does not log what it replicates is refused, until that is accepted.
func TestUnloggedReplica(t *testing.T) { kit.Each(t, "", kit.Servers(2), unloggedReplica) }

func unloggedReplica(t *testing.T, b servertest.Binaries) {
	c := kit.StartCluster(t, b, 2)
	c.Servers[1].Restart("--log-slave-updates=OFF")
	c.Replicate(1, 0)
	c.CatchUp()
	setup := c.Setup(append(slices.Clone(kit.Brisk), "follow: any")...)
	setup.Server, setup.Addr = c.Servers[1], c.Servers[1].Addr
	w := kit.New(t, setup)
	for _, command := range []string{"run", "check"} {
		said := w.Refused(fault.Primary.ExitCode(), command)
		if !strings.Contains(said, "what it replicates from another server") || !strings.Contains(said, "accept_missing: [log_slave_updates]") {
			t.Errorf("%s: %s", command, said)
		}
	}
}
