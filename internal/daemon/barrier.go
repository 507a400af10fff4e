package daemon

import (
	"context"
	"time"

	"tidemark/archiver"
)

// A barrier in the log ends what the base backups before it can restore. So it is an alarm, and a base backup begins at once,
// until one is behind it.

// unheldLocked returns a barrier if no base backup is behind it, as far as is known.
func (c *cluster) unheldLocked(b *archiver.Barrier) *archiver.Barrier {
	if b == nil || c.view.backup.newest != nil && b.HeldBy(c.view.backup.newest) {
		return nil
	}
	return b
}

func (c *cluster) unheld() *archiver.Barrier {
	newest := c.arch.Stats().Barrier
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unheldLocked(newest)
}

// lookEvery is how often a barrier is looked for between two base backups.
const lookEvery = time.Second

// rest waits for so long, or until there is a new barrier or a server of another version. It reports false when ctx has ended.
func (c *cluster) rest(ctx context.Context, long time.Duration) bool {
	before, version := c.unheld(), c.serverVersion()
	for end := c.o.Clock.Now().Add(long); ; {
		left := end.Sub(c.o.Clock.Now())
		if left <= 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.o.Clock.After(min(left, lookEvery)):
		}
		if c.serverVersion() != version {
			return true
		}
		if b := c.unheld(); b != nil && (before == nil || *before != *b) {
			return true
		}
	}
}
