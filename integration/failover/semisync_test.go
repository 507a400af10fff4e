package failover

import (
	"context"
	"fmt"
	"math/rand/v2"
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

// forever is a semi-sync timeout that never comes.
const forever = 1<<63/1_000_000 - 1

// TestNothingLost kills the primary and deletes its data under load: every commit that a client saw
// succeed is in the archive, while commits wait for the spool, or for the archive, when the spool is
// lost as well. N= sets how often.
func TestNothingLost(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		n := harness.CountOn(t, b, 2, 1)
		tool, err := harness.Build(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, ack := range []string{"spool", "archive"} {
			for i := range n {
				t.Run(fmt.Sprintf("%s %d", ack, i+1), func(t *testing.T) { nothingLost(t, b, tool, ack) })
			}
		}
	})
}

func nothingLost(t *testing.T, b servertest.Binaries, tool, ack string) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 4))
	c := start(t, b, 1, true)
	p := c.server()
	timeout := "rpl_semi_sync_master_timeout"
	without := []workload.Group{workload.Recreated}
	if c.mysql {
		timeout, without = "rpl_semi_sync_source_timeout", append(without, workload.NonTransactional)
	}
	p.Exec(fmt.Sprintf("SET GLOBAL %s=%d", timeout, uint64(forever)))
	dir := t.TempDir()
	cfg, err := harness.Config{Dir: dir, Primary: p.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 500ms}\n    heartbeat: 1s\n    ack: " + ack + "\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Await(context.Background(), 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" && s.SemiSync.Kept }); err != nil {
		t.Fatal(err)
	}
	before := d.Last.SemiSync
	w := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 64 << 10, Without: without})
	if err := w.Setup(p.Conn()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, func() (*client.Conn, error) { return p.Process.Conn() }, 4, 0) }()
	time.Sleep(time.Duration(500+r.IntN(1500)) * time.Millisecond)
	s, err := d.Status()
	if err != nil || !s.SemiSync.Kept {
		t.Fatalf("seed %d: under load: %+v, %v", seed, s.SemiSync, err)
	}
	// MariaDB counts a commit, about one in a hundred thousand here, as one without an acknowledgement though it never
	// stopped waiting: by its source (commit_trx in semisync_master.cc), one whose session is killed while it waits.
	if n := s.SemiSync.Unacknowledged; n != 0 && (c.mysql || p.Value("SELECT variable_value FROM information_schema.global_status WHERE variable_name='Rpl_semi_sync_master_no_times'") != "0") {
		t.Fatalf("seed %d: under load: %+v; before it %+v; the primary says %v", seed, s.SemiSync, before, p.Query("SHOW STATUS LIKE 'Rpl_semi_sync%'"))
	} else if n != 0 {
		t.Logf("seed %d: the primary counts %d commits without an acknowledgement, and has never stopped waiting", seed, n)
	}
	if r.IntN(2) == 0 { // before the primary, between a sync and its acknowledgement perhaps
		d.Kill()
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
	}
	p.Kill()
	<-ended // with the error that the server has gone
	if err := os.RemoveAll(p.Datadir); err != nil {
		t.Fatal(err)
	}
	acked := w.Acknowledged()
	d.Kill()
	if ack == "archive" {
		if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
			t.Fatal(err)
		}
	} else { // what is in the spool gets into the archive without a primary
		d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Await(context.Background(), time.Minute, func(s harness.Status) bool { return s.State == "STATE_WAITING" }); err != nil {
			t.Fatal(err)
		}
		if err := d.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(dir, "restored")
	out, err := exec.Command(tool, "restore", "shop", "--config", cfg, "--target-dir", target).CombinedOutput()
	if err != nil && harness.ExitCode(err) != 3 {
		t.Fatalf("seed %d: restore: %v\n%s", seed, err, out)
	}
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
	conn := again.Conn()
	if err := w.CheckInvariants(conn); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	have, err := w.Transfers(conn)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	var sum int64
	for worker, n := range acked {
		if sum += n; have[worker] < n {
			t.Errorf("seed %d: worker %d saw %d transfers succeed, and %d are restored", seed, worker, n, have[worker])
		}
	}
	if sum == 0 {
		t.Errorf("seed %d: no transfer was acknowledged", seed)
	}
	t.Logf("seed %d: %d transfers acknowledged, %v restored", seed, sum, have)
}

// TestFallback: when acknowledgements come too late the primary goes on without them; that is said at
// once, and so is when it waits again.
func TestFallback(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		c := start(t, b, 1, true)
		p := c.server()
		timeout, enabled := "rpl_semi_sync_master_timeout", "rpl_semi_sync_master_enabled"
		if c.mysql {
			timeout, enabled = "rpl_semi_sync_source_timeout", "rpl_semi_sync_source_enabled"
		}
		p.Exec("SET GLOBAL "+timeout+"=300", "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY)")
		dir := t.TempDir()
		tool, err := harness.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := harness.Config{Dir: dir, Primary: p.Addr, User: servertest.User, Password: "secret", More: "    heartbeat: 1s\n    ack: spool\n"}.Write()
		if err != nil {
			t.Fatal(err)
		}
		d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
		if err != nil {
			t.Fatal(err)
		}
		kept := func(want bool) {
			t.Helper()
			if err := d.Await(context.Background(), 20*time.Second, func(s harness.Status) bool { return s.SemiSync.Kept == want }); err != nil {
				t.Fatalf("kept %v: %v", want, err)
			}
		}
		// A base backup stops commits for a moment, and for as long as the one who takes it is paused.
		if err := d.Await(context.Background(), time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" }); err != nil {
			t.Fatal(err)
		}
		kept(true)
		before := d.Last.SemiSync.Unacknowledged
		d.Pause() // alive, and silent: the primary waits, and goes on
		p.Exec("INSERT INTO shop.t VALUES ()", "INSERT INTO shop.t VALUES ()")
		d.Resume()
		if err := d.Await(context.Background(), 20*time.Second, func(s harness.Status) bool { return s.SemiSync.Unacknowledged > before }); err != nil {
			t.Fatal(err)
		}
		within(t, 10*time.Second, "the log says so", func() bool { return strings.Contains(d.Tail(), "went on without our acknowledgement") })
		kept(true) // having caught up
		p.Exec("SET GLOBAL " + enabled + "=OFF")
		kept(false)
		if !strings.Contains(d.Last.SemiSync.Reason, "is off on the primary") {
			t.Error(d.Last.SemiSync.Reason)
		}
		p.Exec("SET GLOBAL " + enabled + "=ON")
		within(t, 20*time.Second, "the primary waits again", func() bool {
			p.Exec("INSERT INTO shop.t VALUES ()")
			s, err := d.Status()
			return err == nil && s.SemiSync.Kept
		})
		if err := d.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}
