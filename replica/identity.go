package replica

import (
	"fmt"
	"strings"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Name begins the name under which we are in a primary's list of replicas.
const Name = "tidemark"

// name is ours in the list: it tells our own connection, of which the server may not know yet that it is
// dead, from that of others.
func (r Request) name() string { return Name + "-" + r.UUID[:min(len(r.UUID), 8)] }

// ListReplicas is the statement that lists a server's replicas: their ID first, then their name.
func ListReplicas(f gtid.Flavor) string {
	if f == gtid.MySQL {
		return "SHOW REPLICAS"
	}
	return "SHOW SLAVE HOSTS"
}

// unclaimed checks that no other replica is connected under our server ID: MariaDB would end its connection
// for ours, and its replication with it. An account that may not see the list (MariaDB asks for REPLICATION
// MASTER ADMIN) learns of it only when it happens to us.
func (s *Stream) unclaimed(r Request) error {
	if s.Server.Flavor == gtid.MySQL { // tells replicas apart by their UUID
		return nil
	}
	list, err := s.conn.Execute(ListReplicas(s.Server.Flavor))
	if err != nil {
		return nil
	}
	for i := range list.RowNumber() {
		id, _ := list.GetUint(i, 0)
		name, _ := list.GetString(i, 1)
		if uint32(id) == r.ServerID && strings.TrimSpace(name) != r.name() {
			return fault.New(fault.Primary, "register as a replica", "", fmt.Errorf("%w, %d: it is %q", ErrDuplicateID, id, name)).WithHint(ownID)
		}
	}
	return nil
}

const ownID = "Give this archiver a server_id of its own (clusters.NAME.server_id): every replica of a primary needs a different one."
