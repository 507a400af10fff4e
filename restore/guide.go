package restore

import (
	"fmt"

	"tidemark/internal/gtid"
)

// Guide says how the restored server is made part of something: by statements on it, in their order. Words in
// capitals stand for what only the reader knows: HOST, PORT, USER, PASSWORD.
type Guide struct {
	For        string   `json:"for"` // "replica", "primary" or "archive"
	Text       string   `json:"text"`
	Statements []string `json:"statements,omitempty"`
	Commands   []string `json:"commands,omitempty"` // in a shell, after the statements
}

// What guides are for.
const (
	forReplica = "replica"
	forPrimary = "primary"
	forArchive = "archive"
)

// guides are those for a server restored by a plan.
func guides(p *Plan) []Guide {
	mysql := p.base.Flavor == gtid.MySQL
	join := []string{"SET GLOBAL read_only=ON",
		"CHANGE MASTER TO master_host='HOST', master_port=PORT, master_user='USER', master_password='PASSWORD', master_use_gtid=slave_pos",
		"START SLAVE"}
	promote := []string{"STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=OFF"}
	if mysql {
		join = []string{"SET GLOBAL super_read_only=ON",
			"CHANGE REPLICATION SOURCE TO source_host='HOST', source_port=PORT, source_user='USER', source_password='PASSWORD', source_auto_position=1, get_source_public_key=1",
			"START REPLICA"}
		promote = []string{"STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF"}
	}
	all := []Guide{
		{For: forPrimary, Text: "To be the primary: let nothing write to the old one any more, and if this server replicates from it, wait until it has caught up or the old one is lost. " +
			"Where log_bin of its configuration names files outside of its data directory, move those of the old server away before its first start, " +
			"and give it a server_id that no other has: the old binlog holds what was undone here. Then switch on the scheduled events that are to run.",
			Statements: promote},
		{For: forArchive, Text: fmt.Sprintf("To go on archiving it as cluster %s: make it the primary as above, set the cluster's hosts to this server and go on. "+
			"If it lacks transactions that are archived, a new timeline begins after fork_grace, with a base backup of its own when one is due; what was archived before can still be restored.", p.Cluster),
			Commands: []string{"tidemark run"}},
	}
	if len(p.excluded) > 0 { // it differs from the primary, though its position says otherwise
		return all
	}
	return append([]Guide{{For: forReplica, Text: fmt.Sprintf("To join the living primary as a replica, which goes on behind %s: the primary must still have its binlog from there on.", orNone(p.position.String())),
		Statements: join}}, all...)
}
