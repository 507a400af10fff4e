package archive

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// TestKill kills `tidemark run` at random moments under load, starts it again, and in the end finds
// every byte of the server's binlogs in the archive, each once; a restore equals the server. N= sets how often
// (make test N=20).
func TestKill(t *testing.T) {
	servertest.Each(t, "", kill)
}

func kill(t *testing.T, b servertest.Binaries) {
	harness.Use(t, b) // it takes base backups too
	kills := harness.CountOn(t, b, 5, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	r := rand.New(rand.NewPCG(seed, 1))
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=4M"}})
	srv.CreateUser(servertest.User, "secret")
	status, without := "SHOW MASTER STATUS", []workload.Group{workload.Recreated} // base backups have to succeed
	if b.Flavor == servertest.MySQL {
		srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
		status, without = "SHOW BINARY LOG STATUS", append(without, workload.NonTransactional)
	}
	dir := t.TempDir()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 200ms, max_size: 1MiB}\n    heartbeat: 1s\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	w := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 1 << 20, BigTransaction: 3 << 20, Without: without})
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "run.log")
	d, err := harness.Start(tool, cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Await(context.Background(), 2*time.Minute, func(c harness.Status) bool { return c.LastBackup.ID != "" }); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	w.Rebuild()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- w.Run(ctx, func() (*client.Conn, error) { return srv.Process.Conn() }, 3, 0) }()

	for i := range kills {
		d, err := harness.Start(tool, cfg, log)
		if err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
		time.Sleep(time.Duration(100+r.IntN(1200)) * time.Millisecond)
		d.Kill()
	}
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if d, err = harness.Start(tool, cfg, log); err != nil {
		t.Fatal(err)
	}
	srv.Exec("FLUSH BINARY LOGS")
	// The server may still add a checkpoint event to the new file, so the end is what the status says.
	end := srv.Query(status)[0][0]
	if err := d.Await(context.Background(), time.Minute, func(c harness.Status) bool {
		return c.Primary.File == end && c.Archived.File == end && c.Archived.Offset == c.Primary.Offset
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	compare(t, srv, filepath.Join(dir, "archive"))
	if b.Flavor == servertest.MySQL {
		compareSets(t, srv, filepath.Join(dir, "archive"))
	}
	if out, err := exec.Command(tool, "verify", "shop", "--data", "--config", cfg).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	truth, err := workload.Take(srv.Conn(), "the end")
	if err != nil {
		t.Fatal(err)
	}
	again := harness.Restored(t, b, tool, cfg, filepath.Join(dir, "restored"))
	if err := workload.Compare(again.Conn(), truth); err != nil {
		t.Error(err)
	}
}
