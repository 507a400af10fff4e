package replica

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// Server is what a primary says of itself.
type Server struct {
	Flavor   gtid.Flavor
	Version  string
	ID       uint32
	UUID     string // MySQL
	GTIDMode string // MySQL: gtid_mode
	LogBin   bool
	Format   string        // binlog_format
	Checksum string        // binlog_checksum
	ReadOnly bool          // does not take writes
	Datadir  string        // as the server sees it
	ClockGap time.Duration // its clock minus ours, to within the round trip
}

// Probe asks a server what it is. now is our clock.
func Probe(conn *client.Conn, now func() time.Time) (*Server, error) {
	before := now()
	r, err := conn.Execute(`SELECT @@version, @@server_id, @@log_bin, @@binlog_format, @@binlog_checksum,
		@@global.read_only, @@datadir, UNIX_TIMESTAMP(NOW(6))`)
	if err != nil {
		return nil, queryError("probe the server", err, 0)
	}
	after := now()
	s := &Server{Flavor: gtid.MySQL}
	s.Version, _ = r.GetString(0, 0)
	if strings.Contains(s.Version, "MariaDB") {
		s.Flavor = gtid.MariaDB
	}
	id, _ := r.GetUint(0, 1)
	s.ID = uint32(id)
	s.LogBin = truth(r, 2)
	s.Format, _ = r.GetString(0, 3)
	s.Checksum, _ = r.GetString(0, 4)
	s.ReadOnly = truth(r, 5)
	s.Datadir, _ = r.GetString(0, 6)
	theirs, _ := r.GetFloat(0, 7)
	ours := before.Add(after.Sub(before) / 2)
	s.ClockGap = time.UnixMicro(int64(theirs * 1e6)).Sub(ours)
	if s.Flavor == gtid.MySQL {
		r, err := conn.Execute("SELECT @@server_uuid, @@global.gtid_mode")
		if err != nil {
			return nil, queryError("probe the server", err, 0)
		}
		s.UUID, _ = r.GetString(0, 0)
		s.GTIDMode, _ = r.GetString(0, 1)
	}
	return s, nil
}

func truth(r *mysql.Result, column int) bool {
	v, _ := r.GetString(0, column)
	return v == "1" || strings.EqualFold(v, "ON")
}

// Archivable returns an error of kind Primary when the server's settings make archiving impossible.
func (s *Server) Archivable() error {
	if !s.LogBin {
		return fault.New(fault.Primary, "archive", s.Version, refused("the binary log is off (log_bin)")).
			WithHint("Set log_bin in the server's configuration and restart it; `tidemark check` lists all settings.")
	}
	if s.Flavor == gtid.MySQL && s.GTIDMode != "ON" {
		return fault.New(fault.Primary, "archive", s.Version, refused("gtid_mode is "+s.GTIDMode)).
			WithHint("Set enforce_gtid_consistency=ON, then gtid_mode through OFF_PERMISSIVE and ON_PERMISSIVE to ON: MySQL can be restored exactly by GTIDs only.")
	}
	return nil
}

// Files lists the server's binlog files, oldest first, with their sizes.
func Files(conn *client.Conn) ([]binlog.Point, error) {
	r, err := conn.Execute("SHOW BINARY LOGS")
	if err != nil {
		return nil, queryError("list the binlogs", err, 0)
	}
	files := make([]binlog.Point, r.RowNumber())
	for i := range files {
		files[i].File, _ = r.GetString(i, 0)
		files[i].Offset, _ = r.GetUint(i, 1)
	}
	if len(files) == 0 {
		return nil, fault.New(fault.Primary, "list the binlogs", "", errors.New("the server has none"))
	}
	return files, nil
}

// Position asks where the server's binlog ends now, and the GTID position there.
func Position(conn *client.Conn, f gtid.Flavor) (binlog.Point, string, error) {
	status, position := "SHOW MASTER STATUS", "SELECT @@gtid_binlog_pos"
	if f == gtid.MySQL {
		status, position = "SHOW BINARY LOG STATUS", "SELECT @@global.gtid_executed"
	}
	r, err := conn.Execute(status)
	if err != nil {
		return binlog.Point{}, "", queryError("ask for the position", err, f)
	}
	if r.RowNumber() == 0 {
		return binlog.Point{}, "", fault.New(fault.Primary, "ask for the position", "", errors.New("the binary log is off"))
	}
	file, _ := r.GetString(0, 0)
	offset, _ := r.GetUint(0, 1)
	r, err = conn.Execute(position)
	if err != nil {
		return binlog.Point{}, "", queryError("ask for the position", err, f)
	}
	pos, _ := r.GetString(0, 0)
	pos = strings.ReplaceAll(pos, "\n", "") // MySQL breaks the line behind each server
	return binlog.Point{File: file, Offset: offset}, pos, nil
}

// queryError gives an error of a statement its kind and, for a missing privilege, the remedy.
func queryError(op string, err error, flavor gtid.Flavor) error {
	f := fault.New(fault.Primary, op, "", cause(err))
	var my *mysql.MyError
	if errors.As(err, &my) {
		switch my.Code {
		case mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_ACCESS_DENIED_ERROR, mysql.ER_TABLEACCESS_DENIED_ERROR:
			if flavor == 0 {
				return f.WithHint("Grant what is missing; `tidemark check` says what that is.")
			}
			return f.WithHint(fmt.Sprintf("Grant what is missing: %s.", Grants(flavor, "tidemark")))
		}
	}
	return f
}

// Grants are the statements that give an account what archiving and base backups need.
func Grants(f gtid.Flavor, user string) string {
	if f == gtid.MySQL {
		return "GRANT REPLICATION SLAVE, REPLICATION CLIENT, BACKUP_ADMIN, PROCESS, SHOW VIEW ON *.* TO '" + user + "'" +
			"; GRANT SELECT ON performance_schema.log_status TO '" + user + "'"
	}
	return "GRANT REPLICATION SLAVE, BINLOG MONITOR, RELOAD, PROCESS, LOCK TABLES ON *.* TO '" + user + "'"
}
