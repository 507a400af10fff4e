package daemon

import (
	"context"
	"time"

	"tidemark/internal/binlog"
	"tidemark/replica"
)

// watchEvery is how often the primary is asked where its binlog ends.
const watchEvery = 5 * time.Second

// primaryPoint is where the primary's binlog ended when it was last asked.
type primaryPoint struct {
	binlog.Point
	gtid string
	at   time.Time // by our clock; zero before the first answer
}

// watch asks the primary for its position over a second connection, so that idle and stalled can be
// told apart, and keeps the recovery window. What fails is tried again; the stream reports failures.
func (c *cluster) watch(ctx context.Context) error {
	c.readWindow(ctx)
	for {
		c.follow(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-c.o.Clock.After(watchEvery):
		}
	}
}

// follow asks until the connection fails.
func (c *cluster) follow(ctx context.Context) {
	o, err := c.connection()
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
		c.mu.Lock()
		c.view.primary = primaryPoint{Point: p, gtid: pos, at: c.o.Clock.Now()}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-c.o.Clock.After(watchEvery):
		}
	}
}

// readWindow finds the earliest point that can be restored: the oldest base backup's.
func (c *cluster) readWindow(ctx context.Context) {
	bases, err := c.cat.Bases(ctx)
	if err != nil || len(bases) == 0 {
		return
	}
	c.mu.Lock()
	c.view.earliest = bases[0].Consistent
	last := bases[len(bases)-1]
	c.view.backup.last = backupResult{id: last.ID, started: last.Started, finished: last.Finished,
		plain: last.PlainBytes, stored: last.StoredBytes()}
	c.mu.Unlock()
}
