package daemon

import "tidemark/internal/gtid"

// goOnAfter is the GTID position that a server is asked to go on after, when the log ends at one: what is known to be
// archived, or held by base backups, though the position of the log does not name it.
func (c *cluster) goOnAfter(reached *gtid.State, on course) string {
	after := reached.Clone()
	if on.unlogged != nil && c.cat.Cluster.Flavor == gtid.MySQL {
		after.Advance(gtid.NewSetState(on.unlogged))
	}
	return after.String()
}
