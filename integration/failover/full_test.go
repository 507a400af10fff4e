package failover

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// TestSpoolFull takes the storage away while commits wait for the spool, until that is full. With on_full: release the
// primary is let go: it waits no longer than its own timeout, and then for nobody. With hold its commits wait until there
// is room again. In both all is archived when the storage is back, and the primary waits again.
func TestSpoolFull(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		tool, err := harness.Build(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Run("release", func(t *testing.T) { newFull(t, b, tool, "release", 1000).release() })
		t.Run("hold", func(t *testing.T) { newFull(t, b, tool, "hold", forever).hold() })
	})
}

// full is a primary whose commits wait for a small spool.
type full struct {
	t    *testing.T
	p    *servertest.Server
	d    *harness.Daemon
	dir  string
	rows atomic.Int64 // committed
}

const fullSpool = 256 << 10

func newFull(t *testing.T, b servertest.Binaries, tool, onFull string, timeout uint64) *full {
	c := start(t, b, 1, true)
	f := &full{t: t, p: c.server(), dir: t.TempDir()}
	name := "rpl_semi_sync_master_timeout"
	if c.mysql {
		name = "rpl_semi_sync_source_timeout"
	}
	f.p.Exec("SET GLOBAL "+name+"=300", "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, v MEDIUMTEXT)")
	cfg, err := harness.Config{Dir: f.dir, Primary: f.p.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 300ms, max_size: 64KiB}\n    heartbeat: 1s\n    ack: spool\n    spool: {max_size: 256KiB, on_full: " + onFull + "}\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	if f.d, err = harness.Start(tool, cfg, filepath.Join(f.dir, "run.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.d.Kill)
	f.await("a base backup, and acknowledgements", func(s harness.Status) bool { return s.LastBackup.ID != "" && s.SemiSync.Kept })
	f.p.Exec(fmt.Sprintf("SET GLOBAL %s=%d", name, timeout))
	return f
}

func (f *full) await(what string, ok func(harness.Status) bool) {
	f.t.Helper()
	if err := f.d.Await(context.Background(), time.Minute, ok); err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
}

// write commits rows of 20 KB, and says when the last one was.
func (f *full) write(n int) <-chan error {
	conn, ended := f.p.Conn(), make(chan error, 1)
	go func() {
		defer conn.Close()
		for range n {
			if _, err := conn.Execute("INSERT INTO shop.t (v) VALUES (REPEAT('x', 20000))"); err != nil {
				ended <- err
				return
			}
			f.rows.Add(1)
		}
		ended <- nil
	}()
	return ended
}

// without runs what happens while the storage is away: a file is where its directory was.
func (f *full) without(happens func()) {
	f.t.Helper()
	archive := filepath.Join(f.dir, "archive")
	steps := func(steps ...error) {
		f.t.Helper()
		for _, err := range steps {
			if err != nil {
				f.t.Fatal(err)
			}
		}
	}
	steps(os.Rename(archive, archive+".away"), os.WriteFile(archive, nil, 0o600))
	happens()
	steps(os.Remove(archive), os.Rename(archive+".away", archive))
}

// bounded checks the size of the spool: its bound, and the transaction that went over it.
func (f *full) bounded() {
	f.t.Helper()
	var size int64
	err := filepath.WalkDir(filepath.Join(f.dir, "state", "shop", "spool"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, ierr := e.Info(); ierr == nil {
				size += info.Size()
			}
		}
		return err
	})
	if err != nil || size < fullSpool/2 || size > fullSpool+fullSpool/2 {
		f.t.Errorf("the spool has %d bytes, %v", size, err)
	}
}

func (f *full) done(rows int64) {
	f.t.Helper()
	f.await("all is archived, and the primary waits again", func(s harness.Status) bool { return s.SemiSync.Kept && s.Archived == s.Primary })
	if n := f.rows.Load(); n != rows {
		f.t.Errorf("%d rows were committed, not %d", n, rows)
	}
	if err := f.d.Stop(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *full) release() {
	f.without(func() {
		began := time.Now()
		ended := f.write(60)
		f.await("the primary is let go", func(s harness.Status) bool { return s.State == "STATE_WAITING" && !s.SemiSync.Kept })
		if err := <-ended; err != nil {
			f.t.Fatal(err)
		}
		if took := time.Since(began); took > 30*time.Second {
			f.t.Errorf("commits took %s while the spool was full", took)
		}
		f.bounded()
	})
	f.done(60)
}

func (f *full) hold() {
	before := f.d.Last.SemiSync.Unacknowledged
	var ended <-chan error
	f.without(func() {
		ended = f.write(60)
		f.await("the spool is full", func(s harness.Status) bool { return s.State == "STATE_STALLED" })
		n := f.rows.Load()
		time.Sleep(2 * time.Second) // two heartbeats: nothing takes it for dead
		if again := f.rows.Load(); again != n || n == 0 || n == 60 {
			f.t.Errorf("%d rows were committed when the spool was full, and %d two seconds later", n, again)
		}
		if dumps := f.p.Value("SELECT COUNT(*) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"); dumps != "1" {
			f.t.Errorf("%s connections for the log", dumps)
		}
		f.bounded()
	})
	select {
	case err := <-ended:
		if err != nil {
			f.t.Fatal(err)
		}
	case <-time.After(time.Minute):
		f.t.Fatal("commits still wait a minute after there is room again")
	}
	f.done(60)
	if n := f.d.Last.SemiSync.Unacknowledged; n != before {
		f.t.Errorf("%d commits were not acknowledged", n-before)
	}
}
