package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/zap"

	"tidemark/archiver"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/lease"
	"tidemark/restore/archivetest"
	"tidemark/storage/file"
)

// once is a primary that sends one file.
type once struct{ *binlog.Scanner }

func (once) ServerUUID() string                  { return "" }
func (once) CaughtUp() (binlog.Point, time.Time) { return binlog.Point{}, time.Time{} }
func (once) AckWanted() bool                     { return false }
func (once) Ack(binlog.Point) error              { return nil }

// TestLeaseLost: what is received by an archiver that has lost its lease is not archived, also when nobody else
// has archived it yet.
func TestLeaseLost(t *testing.T) {
	ctx, now := t.Context(), time.Now()
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Create(ctx, store, "shop", "test", gtid.MariaDB, now)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Cluster{Name: "shop"}
	cfg.Segment.MaxAge, cfg.Segment.MaxSize, cfg.Spool.MaxSize, cfg.Lease.TTL = time.Hour, 1<<20, 1<<24, 300*time.Millisecond
	c := newCluster(Options{Config: &config.Config{StateDir: t.TempDir()}, Log: zap.NewNop(), Clock: clock.System{}, FS: durable.OS{}}, cfg, store)
	c.cat = cat
	if err := errors.Join(c.turn(ctx, cat), c.open(ctx)); err != nil {
		t.Fatal(err)
	}
	next := &catalog.Lease{Epoch: c.lease.View().Lease.Epoch + 1, Writer: "another", Run: "another", Host: "another", Taken: now, Renewed: now, Expires: now.Add(time.Hour)}
	if err := cat.PutLease(ctx, next); err != nil {
		t.Fatal(err)
	}
	if err := c.lease.Keep(ctx); !errors.Is(err, lease.ErrLost) {
		t.Fatalf("the lease that another has: %v", err)
	}

	log := archivetest.NewLog(1, now)
	log.List(now)
	log.Change(gtid.GTID{Server: 1, Seq: 1}, now, "d", "t")
	scan, err := binlog.NewFileScanner(bytes.NewReader(log.Bytes()), binlog.DefaultBuffer, uint64(len(binlog.Magic)),
		binlog.Point{File: "binlog.000001", Offset: uint64(len(binlog.Magic))})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.arch.Stream(ctx, once{scan}, archiver.Resume{Fresh: true}); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	closing, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	if err := c.arch.Close(closing); !errors.Is(err, lease.ErrLost) {
		t.Errorf("archiving without the lease ends with %v", err)
	}
	if last, err := cat.Last(ctx, 1); err != nil {
		t.Error(err)
	} else if last != nil {
		t.Errorf("segment %s was archived", last.Name())
	}
}
