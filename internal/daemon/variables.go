package daemon

import (
	"context"
	"maps"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"go.uber.org/zap"

	"tidemark/internal/variables"
	"tidemark/replica"
)

// variablesEvery is how often the primary's variables are looked at beside each connection.
const variablesEvery = time.Minute

// settings is what was last seen of the variables on which the result of a log depends.
type settings struct {
	zone string    // of the machine, which stays as long as a connection does
	at   time.Time // by our clock; zero before the first look
}

// observeAnew looks at the variables of a server that is about to be streamed from. Archiving goes on where that fails: it is
// tried again while the server is watched.
func (c *cluster) observeAnew(ctx context.Context, o replica.Options) error {
	c.mu.Lock()
	c.view.settings = settings{}
	c.mu.Unlock()
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := c.lookForMissing(conn, o.Host); err != nil {
		return err
	}
	return c.observe(conn)
}

// observe looks at the variables if that is due.
func (c *cluster) observe(conn *client.Conn) error {
	now := c.o.Clock.Now()
	c.mu.Lock()
	seen := c.view.settings
	c.mu.Unlock()
	if !seen.at.IsZero() && now.Sub(seen.at) < variablesEvery {
		return nil
	}
	found, zone, err := readVariables(conn, seen.zone)
	if err != nil {
		c.log.Warn("the server's settings cannot be read: what is archived from here on is restored under those of before", zap.Error(err))
		return nil
	}
	c.mu.Lock()
	c.view.settings = settings{zone: zone, at: now}
	c.mu.Unlock()
	found = maps.Clone(found)
	found[variables.Offsets] = zone
	return c.arch.Observe(found)
}

func readVariables(conn *client.Conn, zone string) (map[string]string, string, error) {
	found, err := replica.ReadVariables(conn)
	if err == nil && zone == "" {
		zone, err = replica.ReadTimeZone(conn)
	}
	return found, zone, err
}
