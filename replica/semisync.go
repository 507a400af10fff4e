package replica

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// SemiSync is how a primary stands with semi-synchronous replication.
type SemiSync struct {
	Present  bool          // the server has it; on MySQL it is a plugin
	Enabled  bool          // it is switched on
	On       bool          // commits wait for an acknowledgement now: not so after one came too late
	Replicas int           // connected that acknowledge
	Waits    int           // for how many acknowledgements a commit waits
	Point    string        // AFTER_SYNC or AFTER_COMMIT
	Timeout  time.Duration // after which commits go on without
	Yes, No  uint64        // commits that were acknowledged, and that were not
}

// ProbeSemiSync asks a primary. MariaDB and MySQL name the same things differently, and MySQL has had
// two sets of names.
func ProbeSemiSync(conn *client.Conn) (*SemiSync, error) {
	s := &SemiSync{Waits: 1}
	ask := func(statement string, set func(name, value string)) error {
		r, err := conn.Execute(statement)
		if err != nil {
			return queryError("ask for semi-synchronous replication", err, 0)
		}
		for i := range r.RowNumber() {
			name, _ := r.GetString(i, 0)
			value, _ := r.GetString(i, 1)
			name = strings.ToLower(name)
			for _, prefix := range []string{"rpl_semi_sync_master_", "rpl_semi_sync_source_"} {
				if rest, ok := strings.CutPrefix(name, prefix); ok {
					set(rest, value)
				}
			}
		}
		return nil
	}
	number := func(text string) uint64 {
		n, _ := strconv.ParseUint(text, 10, 64)
		return n
	}
	err := ask("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'", func(name, value string) {
		switch name {
		case "enabled":
			s.Present, s.Enabled = true, value == "ON"
		case "timeout":
			// An operator who wants commits to wait for ever writes the largest number there is.
			s.Timeout = time.Duration(min(number(value), uint64(1<<63-1)/uint64(time.Millisecond))) * time.Millisecond
		case "wait_point":
			s.Point = value
		case "wait_for_slave_count", "wait_for_replica_count":
			s.Waits = int(number(value))
		}
	})
	if err != nil || !s.Present {
		return s, err
	}
	return s, ask("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_%'", func(name, value string) {
		switch name {
		case "status":
			s.On = value == "ON"
		case "clients":
			s.Replicas = int(number(value))
		case "yes_tx":
			s.Yes = number(value)
		case "no_tx":
			s.No = number(value)
		}
	})
}
