package failover

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestSpoolFull takes the storage away while commits wait for the spool, until that is full. With on_full: release the
// primary is let go: it waits no longer than its own timeout, and then for nobody. With hold its commits wait until there
// is room again. In both all is archived when the storage is back, and the primary waits again.
func TestSpoolFull(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		t.Run("release", func(t *testing.T) {
			kit.Parallel(t, kit.Servers(1))
			newFull(t, b, "release", 1000).release()
		})
		t.Run("hold", func(t *testing.T) {
			kit.Parallel(t, kit.Servers(1))
			newFull(t, b, "hold", forever).hold()
		})
	})
}

// full is a primary whose commits wait for a small spool.
type full struct {
	*kit.World
	rows atomic.Int64 // committed
}

const fullSpool = 256 << 10

// newFull starts one whose commits wait for so many milliseconds.
func newFull(t *testing.T, b servertest.Binaries, onFull string, timeout uint64) *full {
	c := kit.StartSemiSync(t, b, 1)
	c.SetSemiSync("timeout", 300)
	c.Server().Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, v MEDIUMTEXT)")
	f := &full{World: kit.Archived(t, c.Setup("segment: {max_age: 300ms, max_size: 64KiB}", "heartbeat: 500ms", "ack: spool",
		"spool: {max_size: 256KiB, on_full: "+onFull+"}"))}
	f.Await("acknowledgements", func(s kit.Status) bool { return s.SemiSync.Kept })
	c.SetSemiSync("timeout", timeout)
	return f
}

// write commits rows of 20 KB, and says when the last one was.
func (f *full) write(n int) <-chan error {
	conn, ended := f.Server.Conn(), make(chan error, 1)
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

// wrote waits until the last row is committed.
func (f *full) wrote(ended <-chan error) {
	f.T.Helper()
	select {
	case err := <-ended:
		if err != nil {
			f.T.Fatal(err)
		}
	case <-time.After(time.Minute):
		f.T.Fatal("commits still wait after a minute")
	}
}

// without runs what happens while the storage is away: a file is where its directory was.
func (f *full) without(happens func()) {
	f.T.Helper()
	archive := filepath.Join(f.Dir, "archive")
	steps := func(steps ...error) {
		f.T.Helper()
		for _, err := range steps {
			if err != nil {
				f.T.Fatal(err)
			}
		}
	}
	steps(os.Rename(archive, archive+".away"), os.WriteFile(archive, nil, 0o600))
	happens()
	steps(os.Remove(archive), os.Rename(archive+".away", archive))
}

// bounded checks the size of the spool: its bound, and the transaction that went over it.
func (f *full) bounded() {
	f.T.Helper()
	var size int64
	err := filepath.WalkDir(filepath.Join(f.Dir, "state", "shop", "spool"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, ierr := e.Info(); ierr == nil {
				size += info.Size()
			}
		}
		return err
	})
	if err != nil || size < fullSpool/2 || size > fullSpool+fullSpool/2 {
		f.T.Errorf("the spool has %d bytes, %v", size, err)
	}
}

func (f *full) done(rows int64) {
	f.T.Helper()
	f.Await("all is archived, and the primary waits again", func(s kit.Status) bool { return s.SemiSync.Kept && s.Archived == s.Primary })
	if n := f.rows.Load(); n != rows {
		f.T.Errorf("%d rows were committed, not %d", n, rows)
	}
	f.Stop()
}

func (f *full) release() {
	f.without(func() {
		began := time.Now()
		ended := f.write(60)
		f.Await("the primary is let go", func(s kit.Status) bool { return s.State == "STATE_WAITING" && !s.SemiSync.Kept })
		f.wrote(ended)
		if took := time.Since(began); took > 30*time.Second {
			f.T.Errorf("commits took %s while the spool was full", took)
		}
		f.bounded()
	})
	f.done(60)
}

func (f *full) hold() {
	before := f.Daemon.Last.SemiSync.Unacknowledged
	var ended <-chan error
	f.without(func() {
		ended = f.write(60)
		f.Await("the spool is full", func(s kit.Status) bool { return s.State == "STATE_STALLED" })
		n := f.rows.Load()
		watched(f.T, f.Server) // for more than two heartbeats: nothing takes it for dead
		if again := f.rows.Load(); again != n || n == 0 || n == 60 {
			f.T.Errorf("%d rows were committed when the spool was full, and %d a little later", n, again)
		}
		if dumps := f.Server.Value("SELECT COUNT(*) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"); dumps != "1" {
			f.T.Errorf("%s connections for the log", dumps)
		}
		f.bounded()
	})
	f.wrote(ended)
	f.done(60)
	if n := f.Daemon.Last.SemiSync.Unacknowledged; n != before {
		f.T.Errorf("%d commits were not acknowledged", n-before)
	}
}
