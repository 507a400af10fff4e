package replica

import (
	"errors"
	"fmt"
	"slices"
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
	Format   string // binlog_format
	Checksum string // binlog_checksum
	ReadOnly bool   // does not take writes
	Datadir  string // as the server sees it
	Galera   bool   // a node of a Galera cluster (wsrep_on)

	// MariaDB since 12.3: binlog_storage_engine; "" or "innodb", whose log has no files.
	LogEngine string
	// MariaDB since 13.0: innodb_log_archive.
	LogArchive bool
	ClockGap   time.Duration // its clock minus ours, to within the round trip
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
	if s.Flavor == gtid.MariaDB {
		return s, s.newer(conn)
	}
	if r, err = conn.Execute("SELECT @@server_uuid, @@global.gtid_mode"); err != nil {
		return nil, queryError("probe the server", err, 0)
	}
	s.UUID, _ = r.GetString(0, 0)
	s.GTIDMode, _ = r.GetString(0, 1)
	return s, nil
}

// newer asks for what only some MariaDB servers have.
func (s *Server) newer(conn *client.Conn) error {
	r, err := conn.Execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'binlog_storage_engine', 'innodb_log_archive')")
	if err != nil {
		return queryError("probe the server", err, gtid.MariaDB)
	}
	for i := range r.RowNumber() {
		name, _ := r.GetString(i, 0)
		value, _ := r.GetString(i, 1)
		switch strings.ToLower(name) {
		case "wsrep_on":
			s.Galera = strings.EqualFold(value, "ON") || value == "1"
		case "binlog_storage_engine":
			s.LogEngine = strings.ToLower(value)
		case "innodb_log_archive":
			s.LogArchive = strings.EqualFold(value, "ON") || value == "1"
		}
	}
	return nil
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
	if s.LogEngine == "innodb" {
		return fault.New(fault.Primary, "archive", s.Version, refused("binlog_storage_engine is "+s.LogEngine+", whose log has no files that could be archived")).
			WithHint("Set binlog_storage_engine to its default in the server's configuration, and restart it.")
	}
	if s.Flavor == gtid.MySQL && olderThan(s.Version, oldestMySQL) {
		return fault.New(fault.Primary, "archive", s.Version, refused("MySQL before 8.0.26 has other words for replication and for its privileges")).
			WithHint("Upgrade the server: 8.0.26 and later can be archived.")
	}
	if s.Flavor == gtid.MySQL && s.GTIDMode != "ON" {
		return fault.New(fault.Primary, "archive", s.Version, refused("gtid_mode is "+s.GTIDMode)).
			WithHint("Set enforce_gtid_consistency=ON, then gtid_mode through OFF_PERMISSIVE and ON_PERMISSIVE to ON: MySQL can be restored exactly by GTIDs only.")
	}
	return nil
}

// oldestMySQL is the version since which all the words are there that are used.
var oldestMySQL = [3]int{8, 0, 26}

// olderThan compares a version as a server gives it, "8.0.22-log"; what is none is not older.
func olderThan(version string, than [3]int) bool {
	var v [3]int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); n < len(v) {
		return false
	}
	return slices.Compare(v[:], than[:]) < 0
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
	position := "SELECT @@gtid_binlog_pos"
	if f == gtid.MySQL {
		position = "SELECT @@global.gtid_executed"
	}
	r, err := logStatus(conn, f)
	if err != nil {
		return binlog.Point{}, "", err
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

// logStatus asks a server for the file and the offset at which its binlog ends, and for its filters. MySQL has another word for
// that since 8.2, and does not know the old one since 8.4: which it is, it says itself.
func logStatus(conn *client.Conn, f gtid.Flavor) (*mysql.Result, error) {
	statements := []string{"SHOW MASTER STATUS"}
	if f == gtid.MySQL {
		statements = []string{"SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"}
	}
	var r *mysql.Result
	var err error
	for _, statement := range statements {
		var my *mysql.MyError
		if r, err = conn.Execute(statement); !errors.As(err, &my) || my.Code != mysql.ER_PARSE_ERROR {
			break
		}
	}
	if err != nil {
		return nil, queryError("ask for the position", err, f)
	}
	if r.RowNumber() == 0 {
		return nil, fault.New(fault.Primary, "ask for the position", "", errors.New("the binary log is off"))
	}
	return r, nil
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
