package daemon

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/basebackup"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
	pb "tidemark/proto/status"
)

// backupView is what the status says of base backups.
type backupView struct {
	newest  *catalog.Base // that a restore of the timeline can begin with
	last    backupResult
	running time.Time // since when; zero: none runs
	bytes   int64     // of the running one
	failed  error     // of the newest attempt
	again   time.Time // when the next one is due after a failed one
	wait    time.Duration
}

type backupResult struct {
	id                string
	started, finished time.Time
	plain, stored     int64
}

func (b *backupView) fill(m *pb.Cluster) {
	if b.last.id != "" || b.failed != nil {
		m.LastBackup = &pb.Backup{Id: b.last.id, Bytes: uint64(b.last.plain), StoredBytes: uint64(b.last.stored)}
		if b.last.id != "" {
			m.LastBackup.Started, m.LastBackup.Finished = timestamppb.New(b.last.started), timestamppb.New(b.last.finished)
		}
		if b.failed != nil {
			m.LastBackup.Error = b.failed.Error()
		}
	}
	if !b.running.IsZero() {
		m.RunningBackup = &pb.Backup{Started: timestamppb.New(b.running), Bytes: uint64(b.bytes)}
	}
}

// How long after a failed base backup the next one is tried: longer each time. Without any there is
// nothing to restore, so the first time is soon; and each puts load on the primary.
const (
	firstRetry = 15 * time.Second
	lastRetry  = 15 * time.Minute
)

// backups takes a base backup when the archive has none, and then by the schedule. A backup that
// fails leaves nothing behind, is said in the status, and is tried again.
func (c *cluster) backups(ctx context.Context) error {
	if c.o.Engine == nil {
		return nil
	}
	for {
		now := c.o.Clock.Now()
		due, err := c.nextBackup(ctx, now)
		if err != nil {
			c.log.Warn("cannot tell when a base backup is due", zap.Error(err))
			due = now.Add(time.Minute)
		} else if !due.After(now) {
			if !c.firstWords(ctx) {
				return nil
			}
			if err := c.backup(ctx); err != nil && ctx.Err() == nil {
				c.mu.Lock()
				wait := c.view.backup.wait
				c.mu.Unlock()
				c.log.Error("base backup failed", zap.Error(err), zap.String("hint", fault.HintOf(err)), zap.Duration("next try in", wait))
			}
			continue
		}
		if !c.rest(ctx, min(due.Sub(now), time.Minute)) {
			return nil
		}
	}
}

// nextBackup is when the next base backup is due: now when there is none, else by the schedule
// after the newest one and the newest attempt.
func (c *cluster) nextBackup(ctx context.Context, now time.Time) (time.Time, error) {
	bases, err := c.cat.Bases(ctx)
	if err != nil {
		return time.Time{}, err
	}
	serves, err := c.serves(ctx)
	if err != nil {
		return time.Time{}, err
	}
	bases = slices.DeleteFunc(bases, func(b *catalog.Base) bool { return !serves(b) })
	c.mu.Lock()
	if c.view.backup.newest = nil; len(bases) > 0 {
		c.view.backup.newest = bases[len(bases)-1]
	}
	again := c.view.backup.again
	c.mu.Unlock()
	switch {
	case !again.IsZero():
		return again, nil
	case len(bases) == 0, c.unheld() != nil, c.upgraded(bases[len(bases)-1]):
		return now, nil
	}
	if c.cfg.Base.Schedule.Never() {
		return now.Add(time.Hour), nil
	}
	return c.cfg.Base.Schedule.Next(bases[len(bases)-1].Started), nil
}

// upgraded reports whether the server that is streamed from is of another series than the one that the newest base backup was
// taken of. Who restores that needs the old series, and it need not know all that the new one writes.
func (c *cluster) upgraded(newest *catalog.Base) bool {
	now, err := mysqld.ParseVersion(c.serverVersion())
	before, berr := mysqld.ParseVersion(newest.ServerVersion)
	return err == nil && berr == nil && now.Flavor == before.Flavor && now.Series() != before.Series()
}

// serverVersion is that of the server that is streamed from; "" before the first connection.
func (c *cluster) serverVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view.server == nil {
		return ""
	}
	return c.view.server.Version
}

// serves tells which base backups a restore of this timeline can begin with: its own, and those that
// were taken in its own past.
func (c *cluster) serves(ctx context.Context) (func(*catalog.Base) bool, error) {
	lineage, err := c.cat.Lineage(ctx, c.timeline.Number)
	if err != nil {
		return nil, err
	}
	return func(b *catalog.Base) bool {
		for _, t := range lineage {
			switch {
			case b.Timeline == t.Number:
				return true
			case !t.Continues():
				return false
			case b.Timeline == t.Parent && b.Segment >= t.ParentSegment: // it may hold more than what is common
				return false
			}
		}
		return false
	}, nil
}

// firstWords waits until the stream has brought something: before, no log could cover a backup.
func (c *cluster) firstWords(ctx context.Context) bool {
	for {
		_, streamed := c.streamed()
		if streamed && c.arch.Stats().Received.File != "" {
			break
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.o.Clock.After(100 * time.Millisecond):
		}
	}
	return ctx.Err() == nil
}

// backup takes one base backup.
func (c *cluster) backup(ctx context.Context) error {
	host, _ := c.streamed()
	engine, err := c.o.Engine(c.cfg, host, c.cat.Cluster.Flavor)
	if err != nil {
		return c.backedUp(nil, err)
	}
	c.mu.Lock()
	c.view.backup.running, c.view.backup.bytes = c.o.Clock.Now(), 0
	c.mu.Unlock()
	c.log.Info("base backup begins")
	base, err := basebackup.Take(ctx, basebackup.Options{Catalog: c.cat, Engine: engine, Clock: c.o.Clock, Timeline: c.timeline.Number,
		PartSize: int64(c.cfg.Base.PartSize), Threads: c.cfg.Base.Threads, Recipients: c.o.Recipients, Writer: c.arch.UUID(), Version: c.o.Version,
		Progress: func(p basebackup.Progress) {
			c.mu.Lock()
			c.view.backup.bytes = p.Plain
			c.mu.Unlock()
		}})
	if err != nil && ctx.Err() != nil { // given up, not failed
		c.mu.Lock()
		c.view.backup.running = time.Time{}
		c.mu.Unlock()
		return ctx.Err()
	}
	return c.backedUp(base, err)
}

// backedUp records how a backup ended.
func (c *cluster) backedUp(base *catalog.Base, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &c.view.backup
	b.running, b.failed = time.Time{}, err
	if err != nil {
		b.wait = min(max(2*b.wait, firstRetry), lastRetry)
		b.again = c.o.Clock.Now().Add(b.wait)
		return err
	}
	b.again, b.wait, b.newest = time.Time{}, 0, base
	b.last = backupResult{id: base.ID, started: base.Started, finished: base.Finished, plain: base.PlainBytes, stored: base.StoredBytes()}
	if c.view.earliest.IsZero() {
		c.view.earliest = base.Consistent
	}
	c.log.Info("base backup done", zap.String("id", base.ID), zap.Int64("bytes", base.PlainBytes), zap.Int64("stored", base.StoredBytes()))
	return nil
}
