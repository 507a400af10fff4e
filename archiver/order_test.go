package archiver

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/gtid"
)

// TestOrder holds the order in which a segment goes through the spool into the archive, and of what a restart
// does in the spool.
func TestOrder(t *testing.T) {
	ctx := context.Background()
	p := sample(1, 3000)
	disk := durabletest.NewMem()
	spool, archive := durabletest.New(disk, nil), durabletest.New(disk, nil)
	b := benchOn(t, spool, "/tidemark")
	b.archiveOn(archive)
	if _, err := catalog.Create(ctx, b.store, "shop", "test", gtid.MariaDB, time.Now()); err != nil {
		t.Fatal(err)
	}
	step := func(fsys *durabletest.FS, name, about string, run func() error) {
		t.Helper()
		spool.Reset()
		archive.Reset()
		if err := run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		durabletest.Golden(t, name, about, fsys.Log())
	}
	var a *Archiver
	open := func() (err error) { a, err = b.open(); return err }
	stream := func(limit int) func() error {
		return func() error {
			if err := feed(a, p, 1<<20, limit); !errors.Is(err, errEnd) {
				return err
			}
			return nil
		}
	}
	seal := func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.seal()
	}

	step(spool, "spool-new", "A new spool: who archives is known before anything is.", open)
	step(spool, "spool-begin", "A segment begins: where it does, and its name, are on the disk before any byte of it. The connection ends in a transaction, which is cut off.", stream(5000))
	step(spool, "spool-sync", "A group of transactions is synced; then it is spooled. The name is on the disk already.", func() error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { _ = a.syncLoop(ctx) }()
		for a.Stats().Spooled.Point != a.Stats().Received.Point {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	step(spool, "spool-seal", "A segment with bytes since the last sync is sealed: they are synced before its record says so.", func() error {
		if err := stream(7000)(); err != nil {
			return err
		}
		spool.Reset()
		return seal()
	})
	step(archive, "archive-segment", "A segment is archived: its data, then the manifest, which commits it. What the archive holds is synced before it is listed.",
		func() error { return a.drain(ctx) })
	step(spool, "spool-archived", "An archived segment leaves the spool: that it is archived is on the disk before anything of it goes.", func() error {
		if err := errors.Join(stream(9000)(), seal()); err != nil {
			return err
		}
		spool.Reset()
		return a.drain(ctx)
	})
	step(archive, "archive-head", "A head is put into the archive.", func() error { return a.putHead(ctx) })
	run(a).kill()

	step(spool, "spool-restart", "A restart with nothing in the spool: names that an earlier process left are synced before anyone relies on them.", open)
	run(a).kill()
}

// TestOrderOfRecovery holds what a restart does with an open segment that a crash cut off, and what is done when a
// sync fails.
func TestOrderOfRecovery(t *testing.T) {
	p := sample(1, 3000)
	disk := durabletest.NewMem()
	b := benchOn(t, disk, "/tidemark")
	a := b.mustOpen()
	if err := feed(a, p, 1<<20, 5000); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	if _, err := a.open.file.Write([]byte("torn")); err != nil {
		t.Fatal(err)
	}
	run(a).kill()

	failing := false
	fsys := durabletest.New(disk, func(op, _ string) error {
		if failing && op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	b.options.FS = fsys
	a = b.mustOpen()
	durabletest.Golden(t, "spool-recover", "A restart with an open segment: it is cut back to whole transactions, and these are synced, as are the names.", fsys.Log())

	if err := feed(a, p, 1<<20, 7000); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	fsys.Reset()
	failing = true
	if err := a.syncOpen(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	durabletest.Golden(t, "spool-sync-failed", "A sync fails: what it was to bring to the disk is cut off, and the sync is not tried again.", fsys.Log())
	run(a).kill()
}
