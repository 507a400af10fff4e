package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/replica"
)

// How often the primary is asked where its binlog ends, and how often where more depends on it.
const (
	watchEvery   = 5 * time.Second
	watchClosely = time.Second
)

// primaryPoint is where the primary's binlog ended when it was last asked.
type primaryPoint struct {
	binlog.Point
	gtid string
	at   time.Time // by our clock; zero before the first answer
}

// watch asks the primary for its position over a second connection, so that idle and stalled can be
// told apart; whether it still is the primary; and whether it waits for acknowledgements. It keeps the
// recovery window too. What fails is tried again; the stream reports failures.
func (c *cluster) watch(ctx context.Context) error {
	c.readWindow(ctx)
	for {
		if host, ok := c.streamed(); ok {
			c.follow(ctx, host)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.o.Clock.After(c.watchEvery()):
		}
	}
}

func (c *cluster) watchEvery() time.Duration {
	if c.cfg.Ack != config.AckNone || len(c.cfg.Hosts) > 1 {
		return watchClosely
	}
	return watchEvery
}

// streamed returns the host that is streamed from.
func (c *cluster) streamed() (config.Address, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.host, c.leave != nil
}

// follow asks a host until the connection fails, or another one is streamed from.
func (c *cluster) follow(ctx context.Context, host config.Address) {
	o, err := Connection(c.cfg, host)
	if err != nil {
		return
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		p, pos, err := replica.Position(conn, c.cat.Cluster.Flavor)
		if err != nil {
			return
		}
		if now, ok := c.streamed(); ok && now != host {
			return
		}
		c.mu.Lock()
		c.view.primary = primaryPoint{Point: p, gtid: pos, at: c.o.Clock.Now()}
		c.mu.Unlock()
		if c.observe(conn) != nil || c.askSemiSync(conn) != nil || c.moved(ctx, conn, host) != nil {
			return
		}
		c.acknowledgeAgain(c.o.Clock.Now())
		select {
		case <-ctx.Done():
			return
		case <-c.o.Clock.After(c.watchEvery()):
		}
	}
}

// moved ends the stream when its host takes no writes any more and another one does, which has all
// that was received.
func (c *cluster) moved(ctx context.Context, conn *client.Conn, host config.Address) error {
	if len(c.cfg.Hosts) == 1 || c.cfg.Follow != config.FollowPrimary {
		return nil
	}
	server, err := replica.Probe(conn, c.o.Clock.Now)
	if err != nil || !server.ReadOnly {
		return err
	}
	c.mu.Lock()
	behind := c.view.elsewhere && c.arch.Stats().Received.Point != c.view.primary.Point
	c.mu.Unlock()
	if behind { // the primary does not have what is still to come here
		return nil
	}
	other, _, err := Choose(ctx, c.cfg, replica.Choice{Reached: c.arch.Reached()}, config.Address{}, c.o.Clock)
	if err != nil || other == host { // none takes writes now: this one goes on being archived
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leave != nil && c.view.host == host {
		c.leave(errMoved)
	}
	return nil
}

// readWindow finds the earliest point that can be restored: the oldest base backup's of those that the log
// still follows.
func (c *cluster) readWindow(ctx context.Context) {
	bases, err := c.cat.Bases(ctx)
	if err != nil {
		return
	}
	expiry, err := c.cat.Expiry(ctx)
	if err != nil {
		return
	}
	bases = slices.DeleteFunc(bases, func(b *catalog.Base) bool { return b.Segment <= expiry.Log(b.Timeline).Through })
	if len(bases) == 0 {
		return
	}
	c.mu.Lock()
	c.view.earliest = bases[0].Consistent
	last := bases[len(bases)-1]
	c.view.backup.last = backupResult{id: last.ID, started: last.Started, finished: last.Finished,
		plain: last.PlainBytes, stored: last.StoredBytes()}
	c.mu.Unlock()
}
