package failover

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// forever is a semi-sync timeout that never comes.
const forever uint64 = 1<<63/1_000_000 - 1

// TestNothingLost kills the primary and deletes its data under load: every commit that a client saw
// succeed is in the archive, while commits wait for the spool, or for the archive, when the spool is
// lost as well. N= sets how often.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		for _, ack := range []string{"spool", "archive"} {
			for i := range kit.CountOn(t, b, 2, 1) {
				t.Run(fmt.Sprintf("%s %d", ack, i+1), func(t *testing.T) {
					kit.Parallel(t, kit.Servers(1))
					nothingLost(t, b, ack)
				})
			}
		}
	})
}

func nothingLost(t *testing.T, b servertest.Binaries, ack string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	c := kit.StartSemiSync(t, b, 1)
	c.SetSemiSync("timeout", forever)
	w := kit.Archived(t, c.Setup("segment: {max_age: 500ms}", "heartbeat: 1s", "ack: "+ack))
	w.Await("acknowledgements", func(s kit.Status) bool { return s.SemiSync.Kept })
	before := w.Daemon.Last.SemiSync
	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 64 << 10})
	load.Begin(4)
	load.Wrote(100 + r.IntN(500))
	s, err := w.Daemon.Status()
	if err != nil || !s.SemiSync.Kept {
		t.Fatalf("under load: %+v, %v", s.SemiSync, err)
	}
	// MariaDB counts a commit, about one in a hundred thousand here, as one without an acknowledgement though it never
	// stopped waiting: by its source (commit_trx in semisync_master.cc), one whose session is killed while it waits.
	const stopped = "SELECT variable_value FROM information_schema.global_status WHERE variable_name='Rpl_semi_sync_master_no_times'"
	if n := s.SemiSync.Unacknowledged; n != 0 && (c.MySQL || w.Server.Value(stopped) != "0") {
		t.Fatalf("under load: %+v; before it %+v; the primary says %v", s.SemiSync, before, w.Server.Query("SHOW STATUS LIKE 'Rpl_semi_sync%'"))
	} else if n != 0 {
		t.Logf("the primary counts %d commits without an acknowledgement, and has never stopped waiting", n)
	}
	if r.IntN(2) == 0 { // before the primary, between a sync and its acknowledgement perhaps
		w.Daemon.Kill()
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
	}
	w.Server.Kill()
	load.Died()
	w.Daemon.Kill()
	lost := []string{w.Server.Datadir}
	if ack == "archive" {
		lost = append(lost, filepath.Join(w.Dir, "state"))
	}
	for _, dir := range lost {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if ack == "spool" { // what is in it gets into the archive without a primary
		w.Start()
		w.Await("the spool is archived", func(s kit.Status) bool { return s.State == "STATE_WAITING" })
		w.Stop()
	}
	conn := w.Restore().Conn()
	if err := load.CheckInvariants(conn); err != nil {
		t.Error(err)
	}
	have, err := load.Transfers(conn)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for worker, n := range load.Acknowledged() {
		if sum += n; have[worker] < n {
			t.Errorf("worker %d saw %d transfers succeed, and %d are restored", worker, n, have[worker])
		}
	}
	if sum == 0 {
		t.Error("no transfer was acknowledged")
	}
	t.Logf("%d transactions, %d transfers acknowledged, %v restored", load.Total(), sum, have)
}

// TestFallback: when acknowledgements come too late the primary goes on without them; that is said at
// once, and so is when it waits again.
func TestFallback(t *testing.T) { kit.Each(t, "", kit.Servers(1), fallback) }

func fallback(t *testing.T, b servertest.Binaries) {
	c := kit.StartSemiSync(t, b, 1)
	c.SetSemiSync("timeout", 300)
	c.Server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY)")
	// A base backup stops commits for a moment, and for as long as the one who takes it is paused.
	w := kit.Archived(t, c.Setup("heartbeat: 1s", "ack: spool"))
	kept := func(want bool) {
		t.Helper()
		w.Await(fmt.Sprintf("kept %v", want), func(s kit.Status) bool { return s.SemiSync.Kept == want })
	}
	kept(true)
	before := w.Daemon.Last.SemiSync.Unacknowledged
	w.Daemon.Pause() // alive, and silent: the primary waits, and goes on
	w.Server.Exec("INSERT INTO shop.t VALUES ()", "INSERT INTO shop.t VALUES ()")
	w.Daemon.Resume()
	w.Await("commits that were not acknowledged", func(s kit.Status) bool { return s.SemiSync.Unacknowledged > before })
	kit.Until(t, time.Minute, "the log says so", func() bool {
		return strings.Contains(w.Daemon.Tail(), "went on without our acknowledgement")
	})
	kept(true) // having caught up
	c.SetSemiSync("enabled", "OFF")
	kept(false)
	if reason := w.Daemon.Last.SemiSync.Reason; !strings.Contains(reason, "is off on the primary") {
		t.Error(reason)
	}
	c.SetSemiSync("enabled", "ON")
	kit.Until(t, time.Minute, "the primary waits again", func() bool {
		w.Server.Exec("INSERT INTO shop.t VALUES ()")
		s, err := w.Daemon.Status()
		return err == nil && s.SemiSync.Kept
	})
	w.Stop()
}
