package daemon

import (
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/archiver"
	"tidemark/internal/catalog"
	"tidemark/internal/lease"
	pb "tidemark/proto/status"
)

// turn waits until it is ours to archive the cluster. Before it asks for the lease it locks the state directory,
// which proves that a process of it that held the lease is dead.
func (c *cluster) turn(ctx context.Context, cat *catalog.Catalog) error {
	if c.spool == nil {
		spool, err := archiver.HoldSpool(c.o.FS, c.dir("spool"))
		if err != nil {
			return err
		}
		host, err := os.Hostname()
		if err != nil {
			spool.Release()
			return err
		}
		l := lease.New(lease.Options{Catalog: cat, Writer: spool.UUID(), Host: host, TTL: c.cfg.Lease.TTL, Clock: c.o.Clock, Waits: c.standBy,
			Fails: func(err error) { c.log.Warn("the lease cannot be asked for or renewed, trying again", zap.Error(err)) }})
		c.mu.Lock()
		c.spool, c.lease = spool, l
		c.mu.Unlock()
	}
	if err := c.lease.Take(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	waited := c.view.state == standingBy
	c.view.state = connecting
	c.mu.Unlock()
	if waited {
		c.log.Info("the lease is ours: archiving begins", zap.Uint64("epoch", c.lease.View().Lease.Epoch))
	}
	return nil
}

// standBy says whom we wait for.
func (c *cluster) standBy(held *catalog.Lease) {
	c.mu.Lock()
	c.view.err, c.view.state = nil, standingBy
	c.mu.Unlock()
	c.log.Info("another archiver holds the lease of the cluster: standing by", zap.String("host", held.Host), zap.String("writer", held.Writer),
		zap.Time("since", held.Taken), zap.Time("until", held.Expires))
}

// keepLease renews the lease until the returned function is called. When it is lost, lost is called.
func (c *cluster) keepLease(ctx context.Context, lost context.CancelCauseFunc) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.lease.Keep(ctx); err != nil {
			lost(err)
		}
	}()
	return func() { cancel(); <-done }
}

// releaseWithin bounds how long the end of the program waits for the storage to take the lease back.
const releaseWithin = 5 * time.Second

// release lets another archiver, or another process of this one, take over at once.
func (c *cluster) release() {
	if c.spool == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	if err := c.lease.Release(ctx); err != nil {
		c.log.Warn("the lease is not given back; it expires", zap.Error(err))
	}
	c.spool.Release()
}

// stepsBack reports whether a session ended because another archiver has taken over, or has archived what we
// were about to; the next session waits for the lease, if it is not ours, and goes on from the archive.
func (c *cluster) stepsBack(err error) bool {
	if !errors.Is(err, lease.ErrLost) {
		return false
	}
	c.log.Warn("stepping back", zap.Error(err))
	return true
}

func leaseStatus(l *lease.Lease) *pb.Lease {
	if l == nil {
		return nil
	}
	v := l.View()
	m := &pb.Lease{Ours: v.Ours}
	if n := v.Lease; n != nil {
		m.Host, m.Writer, m.Epoch = n.Host, n.Writer, n.Epoch
		if !n.Taken.IsZero() {
			m.Taken, m.Expires = timestamppb.New(n.Taken), timestamppb.New(n.Expires)
		}
	}
	if v.Err != nil {
		m.Error = v.Err.Error()
	}
	return m
}
