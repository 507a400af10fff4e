package basebackup

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// source is what the MySQL server to copy says of itself.
type source struct {
	server
	empty []string // tables whose rows a clone does not hold
}

// examine asks the server all that is needed, and returns an error when it cannot be copied.
func (m *MySQL) examine(conn *client.Conn) (*source, error) {
	s := &source{server: server{variables: map[string]string{}}}
	rows, err := query(conn, "SELECT @@version")
	if err != nil {
		return nil, err
	}
	if s.version, err = mysqld.ParseVersion(rows[0][0]); err != nil {
		return nil, fault.New(fault.Primary, "ask the server for its version", "", err)
	}
	if s.version.Flavor != gtid.MySQL {
		return nil, fault.New(fault.Config, "clone", s.version.Text, errors.New("the server is not MySQL"))
	}
	if err := s.configuration(conn); err != nil {
		return nil, err
	}
	for _, check := range []func(*source, *client.Conn) error{m.checkSettings, m.checkPlugin, m.checkPrivileges, m.checkSpaces} {
		if err := check(s, conn); err != nil {
			return nil, err
		}
	}
	s.empty, err = m.emptyTables(conn)
	return s, err
}

func (m *MySQL) checkSettings(s *source, _ *client.Conn) error {
	refuse := func(why, hint string) error {
		return fault.New(fault.Primary, "clone", m.Primary.addr(), errors.New(why)).WithHint(hint)
	}
	switch v := s.variables; {
	case v["log_bin"] != "ON":
		return refuse("the binary log is off (log_bin)",
			"Set log_bin in the server's configuration and restart it: a base backup is of use only with the log that follows it.")
	case v["gtid_mode"] != "ON":
		return refuse("GTIDs are off (gtid_mode is "+v["gtid_mode"]+"), and a clone's position is known by them alone",
			"Set enforce_gtid_consistency and gtid_mode to ON; the manual has the steps for a server that is in use.")
	case v["innodb_redo_log_encrypt"] == "ON", v["innodb_undo_log_encrypt"] == "ON":
		return refuse("its redo or undo log is encrypted (innodb_redo_log_encrypt, innodb_undo_log_encrypt)",
			"Their keys would have to be in the archive. Turn these settings off, or back up with a tool that keeps keys.")
	}
	return nil
}

func (m *MySQL) checkPlugin(_ *source, conn *client.Conn) error {
	rows, err := query(conn, "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'")
	if err != nil {
		return err
	}
	if len(rows) == 0 || rows[0][0] != "ACTIVE" {
		return fault.New(fault.Primary, "clone", m.Primary.addr(), errors.New("the clone plugin is not loaded")).
			WithHint("Run INSTALL PLUGIN clone SONAME 'mysql_clone.so' on the server. That is kept over restarts.")
	}
	return nil
}

// checkPrivileges looks what the account may do by doing it, so that roles count.
func (m *MySQL) checkPrivileges(_ *source, conn *client.Conn) error {
	if _, err := m.position(conn); err != nil {
		return err
	}
	// Tables that one has no privilege on are not listed, and what is not listed would be lost silently.
	rows, err := query(conn, "SELECT COUNT(*) FROM information_schema.TABLES WHERE (TABLE_SCHEMA, TABLE_NAME) IN (('mysql', 'user'), ('sys', 'sys_config'))")
	if err != nil {
		return err
	}
	if rows[0][0] != "2" {
		return fault.New(fault.Primary, "clone", m.Primary.addr(), errors.New("the account does not see all tables: it lacks SHOW VIEW on *.*")).
			WithHint(m.grantHint())
	}
	return nil
}

func (m *MySQL) grantHint() string {
	return "Grant the account what it needs: " + strings.Join(MySQLGrants("'"+m.Primary.User+"'"), "; ") + "."
}

// checkSpaces refuses tablespaces that a stream cannot hold.
func (m *MySQL) checkSpaces(_ *source, conn *client.Conn) error {
	rows, err := query(conn, "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE ENCRYPTION = 'Y' ORDER BY 1")
	if err != nil {
		return m.denied(err)
	}
	if encrypted := column(rows); len(encrypted) > 0 {
		return fault.New(fault.Primary, "clone", m.Primary.addr(), fmt.Errorf("%d tablespaces are encrypted: %s", len(encrypted), names(encrypted))).
			WithHint("Their keys would have to be in the archive. Turn the encryption of these tablespaces off, or back up with a tool that keeps keys.")
	}
	if rows, err = query(conn, "SELECT PATH FROM information_schema.INNODB_DATAFILES ORDER BY 1"); err != nil {
		return m.denied(err)
	}
	outside := slices.DeleteFunc(column(rows), filepath.IsLocal)
	if len(outside) > 0 {
		return fault.New(fault.Primary, "clone", m.Primary.addr(), fmt.Errorf("%d files lie outside its data directory: %s", len(outside), names(outside))).
			WithHint("A restore makes one data directory, and could not put them elsewhere. Move these tablespaces into the server's data directory.")
	}
	return nil
}

// emptyTables lists the tables whose rows are not copied. It is an error that there are, unless that
// was allowed.
func (m *MySQL) emptyTables(conn *client.Conn) ([]string, error) {
	// Engines that keep no rows on the server lose none.
	rows, err := query(conn, "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES"+
		" WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE NOT IN ('InnoDB', 'BLACKHOLE', 'FEDERATED', 'MRG_MYISAM', 'PERFORMANCE_SCHEMA')"+
		" AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1")
	if err != nil {
		return nil, err
	}
	tables := column(rows)
	if len(tables) > 0 && !m.AllowEmptyTables {
		return nil, fault.New(fault.Primary, "clone", m.Primary.addr(), fmt.Errorf("%d tables are not InnoDB's, and would be empty in the copy: %s", len(tables), names(tables))).
			WithHint("Make them InnoDB tables with ALTER TABLE … ENGINE=InnoDB, or allow that they are restored empty.")
	}
	return tables, nil
}

// position asks where the server is. File, offset and GTIDs are of one moment, at which no commit is
// half done: a transaction whose rows are visible is among the GTIDs, and before the offset.
func (m *MySQL) position(conn *client.Conn) (place, error) {
	rows, err := query(conn, "SELECT SERVER_UUID, `LOCAL` FROM performance_schema.log_status")
	if err != nil {
		return place{}, m.denied(err)
	}
	var local struct {
		GTIDs  string `json:"gtid_executed"`
		File   string `json:"binary_log_file"`
		Offset uint64 `json:"binary_log_position"`
	}
	if len(rows) != 1 {
		return place{}, fault.New(fault.Primary, "ask the server for its position", "", fmt.Errorf("it answers with %d rows", len(rows)))
	}
	if err := json.Unmarshal([]byte(rows[0][1]), &local); err != nil {
		return place{}, fault.New(fault.Primary, "ask the server for its position", "", err)
	}
	p := place{uuid: rows[0][0], at: binlog.Point{File: local.File, Offset: local.Offset}, gtids: strings.Join(strings.Fields(local.GTIDs), "")}
	if rows, err = query(conn, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS CHAR)"); err != nil {
		return place{}, err
	}
	seconds, err := strconv.ParseFloat(rows[0][0], 64)
	if err != nil {
		return place{}, fault.New(fault.Primary, "ask the server for its time", "", err)
	}
	p.now = time.UnixMicro(int64(seconds * 1e6)).UTC()
	return p, nil
}

// denied adds to an error of a missing privilege what to grant.
func (m *MySQL) denied(err error) error {
	var my *mysql.MyError
	if errors.As(err, &my) {
		switch my.Code {
		case mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_ACCESS_DENIED_ERROR, mysql.ER_TABLEACCESS_DENIED_ERROR:
			return fault.New(fault.Primary, "clone", m.Primary.addr(), fmt.Errorf("error %d: %s", my.Code, my.Message)).WithHint(m.grantHint())
		}
	}
	return err
}

func column(rows [][]string) []string {
	list := make([]string, len(rows))
	for i, row := range rows {
		list[i] = row[0]
	}
	return list
}
