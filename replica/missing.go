package replica

import (
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Missing is a setting of a server because of which its binlog lacks some of what is changed there. No restore can have that.
type Missing struct {
	Setting string // "binlog_do_db", "binlog_ignore_db" or "log_slave_updates"
	Value   string
}

// The settings of Missing.
const (
	BinlogDoDB      = "binlog_do_db"
	BinlogIgnoreDB  = "binlog_ignore_db"
	LogSlaveUpdates = "log_slave_updates"
)

// String is the setting with its value.
func (m Missing) String() string { return m.Setting + "=" + m.Value }

// Lacks says what the binlog does not hold.
func (m Missing) Lacks() string {
	switch m.Setting {
	case BinlogDoDB:
		return "changes of other databases than " + m.Value
	case BinlogIgnoreDB:
		return "changes of the databases " + m.Value
	}
	return "what it replicates from another server"
}

// ReadMissing asks a server for the settings because of which its binlog lacks something.
func ReadMissing(conn *client.Conn, flavor gtid.Flavor) ([]Missing, error) {
	status, err := logStatus(conn, flavor)
	if err != nil {
		return nil, err
	}
	var list []Missing
	const fileAndOffset = 2 // columns before the filters
	for i, setting := range []string{BinlogDoDB, BinlogIgnoreDB} {
		if v, err := status.GetString(0, fileAndOffset+i); err == nil && v != "" {
			list = append(list, Missing{setting, v})
		}
	}
	replicates, err := Replicates(conn, flavor)
	if err != nil || !replicates {
		return list, err
	}
	r, err := conn.Execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_slave_updates', 'log_replica_updates')")
	if err != nil {
		return nil, queryError("ask whether what is replicated is logged", err, flavor)
	}
	for i := range r.RowNumber() {
		if v, _ := r.GetString(i, 1); strings.EqualFold(v, "OFF") || v == "0" {
			return append(list, Missing{LogSlaveUpdates, "OFF"}), nil
		}
	}
	return list, nil
}

// RefuseMissing is the error of a server whose binlog lacks something, on a host, unless the list is empty. key names the option of the
// configuration by which it is accepted.
func RefuseMissing(host, key string, list []Missing) error {
	if len(list) == 0 {
		return nil
	}
	var lacks, names []string
	for _, m := range list {
		lacks = append(lacks, fmt.Sprintf("%s (%s)", m.Lacks(), m))
		names = append(names, m.Setting)
	}
	return fault.New(fault.Primary, "archive", host, refused("its binlog lacks "+strings.Join(lacks, ", and "))).
		WithHint(fmt.Sprintf("No restore can have that. Change the server's configuration and restart it, or accept it: %s: [%s].", key, strings.Join(names, ", ")))
}
