package basebackup

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// watch follows what the tool says of its locks. At the end of a copy it blocks all commits for a
// moment. If what it writes meanwhile is not taken, because the archive is slow, that moment lasts:
// then the tool is killed, which ends the block.
type watch struct {
	begin func() // commits are blocked from here on
	stop  func() // and no longer
}

func (m *MariaDB) watch(kill func(error)) *watch {
	limit := m.BlockLimit
	if limit <= 0 {
		limit = 30 * time.Second
	}
	over := make(chan struct{})
	return &watch{
		begin: sync.OnceFunc(func() {
			expired := m.Clock.After(limit)
			go func() {
				select {
				case <-over:
				case <-expired:
					kill(fmt.Errorf("commits on the server were blocked for %s because the archive did not take the copy; it was given up to let them go on", limit))
				}
			}()
		}),
		stop: sync.OnceFunc(func() { close(over) }),
	}
}

// line looks at a line of the tool's log.
func (w *watch) line(s string) {
	switch {
	case strings.HasSuffix(s, "Starting BACKUP STAGE BLOCK_COMMIT"):
		w.begin()
	case strings.HasSuffix(s, "All tables unlocked"):
		w.stop()
	}
}
