package daemon

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"tidemark/internal/gtid"
	"tidemark/replica"
)

// goOnAfter is the GTID position that a server is asked to go on after, when the log ends at one: what is known to be
// archived, or held by base backups, though the position of the log does not name it.
func (c *cluster) goOnAfter(ctx context.Context, o replica.Options, reached *gtid.State, on course) (string, error) {
	after := reached.Clone()
	if c.cat.Cluster.Flavor == gtid.MySQL {
		if on.unlogged != nil {
			after.Advance(gtid.NewSetState(on.unlogged))
		}
		return after.String(), nil
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	history, err := replica.ReadHistory(conn, gtid.MariaDB)
	if err != nil || !history.HasDomainsBeside(reached) {
		return after.String(), err
	}
	// Domains that are deleted from the binlog of one server stay in those of others, which would send all of them again.
	deleted, err := c.cat.DeletedDomains(ctx, c.timeline.Number, reached)
	if err != nil {
		return "", err
	}
	deleted = slices.DeleteFunc(deleted, func(g gtid.GTID) bool { return !history.Has(g) })
	for _, g := range deleted {
		after.Add(g)
	}
	if len(deleted) > 0 {
		c.log.Info("the server has domains in its binlog that were deleted from the archived one: it is asked for what follows there",
			zap.Stringers("gtids", deleted))
	}
	return after.String(), nil
}
