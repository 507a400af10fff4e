package daemon

import (
	"hash/fnv"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// identity is under which name we are a replica, where it is not the usual one.
type identity struct {
	uuid  string // taken for this run, because another replica has ours; "" if none has
	clash uint32 // the server ID that the other one has
}

// giveWay takes another name among the primary's replicas, for as long as this process runs: a server ends
// a replica's connection when another comes under the same name, and the two would end each other's for ever.
func (c *cluster) giveWay(err error) {
	clash := c.serverID()
	c.mu.Lock()
	c.view.identity = identity{uuid: uuid.NewString(), clash: clash}
	c.mu.Unlock()
	c.log.Error("another replica uses our server_id: going on under another one", zap.Uint32("server_id", clash),
		zap.Uint32("instead", c.serverID()), zap.Error(err))
}

// replicaUUID is ours among the primary's replicas; MySQL tells them apart by it.
func (c *cluster) replicaUUID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view.identity.uuid != "" {
		return c.view.identity.uuid
	}
	return c.arch.UUID()
}

// serverID is ours among the primary's replicas: the configured one, or one that follows from our
// UUID and so stays the same.
func (c *cluster) serverID() uint32 {
	c.mu.Lock()
	own := c.view.identity.uuid != ""
	c.mu.Unlock()
	if c.cfg.ServerID != 0 && !own {
		return c.cfg.ServerID
	}
	h := fnv.New32a()
	h.Write([]byte(c.replicaUUID()))
	return 4200000000 + h.Sum32()%90000000
}
