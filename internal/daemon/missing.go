package daemon

import (
	"slices"

	"github.com/go-mysql-org/go-mysql/client"
	"go.uber.org/zap"

	"tidemark/internal/config"
	"tidemark/replica"
)

// Unaccepted are the settings, of those because of which a primary's binlog lacks changes, that a cluster's configuration does not accept.
func Unaccepted(cl *config.Cluster, list []replica.Missing) []replica.Missing {
	return slices.DeleteFunc(slices.Clone(list), func(m replica.Missing) bool {
		return slices.Contains(cl.Missing, config.Missing(m.Setting))
	})
}

// AcceptKey is the option by which they are accepted.
func AcceptKey(cl *config.Cluster) string { return "clusters." + cl.Name + ".accept_missing" }

// lookForMissing refuses a primary whose binlog lacks changes that nobody has accepted. Once something has been archived by
// this process, archiving goes on, as the rest is worth having, and the alarm stays until the server is as it was.
func (c *cluster) lookForMissing(conn *client.Conn, host string) error {
	list, err := replica.ReadMissing(conn, c.cat.Cluster.Flavor)
	if err != nil {
		return err
	}
	bad := replica.RefuseMissing(host, AcceptKey(c.cfg), Unaccepted(c.cfg, list))
	c.mu.Lock()
	known := c.view.unaccepted != nil
	c.view.missing, c.view.unaccepted = list, bad
	c.mu.Unlock()
	if bad == nil || c.arch.Stats().ReceivedBytes == 0 {
		return bad
	}
	if !known {
		c.log.Error("the primary's binlog lacks changes from now on; what it has is archived", zap.Error(bad))
	}
	return nil
}
