package basebackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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

// account is the account that copies a MySQL server, whatever the engine, and the server it is on.
type account struct {
	Primary
	grants func(user string) []string // what it needs
}

// source is what the MySQL server to copy says of itself.
type source struct {
	server
	empty []string // tables whose rows a copy does not hold
}

// examine asks the server what every engine must know, and refuses one whose copy would be of no use.
func (a account) examine(conn *client.Conn) (*source, error) {
	s := &source{server: server{variables: map[string]string{}}}
	rows, err := query(conn, "SELECT @@version")
	if err != nil {
		return nil, err
	}
	if s.version, err = mysqld.ParseVersion(rows[0][0]); err != nil {
		return nil, fault.New(fault.Primary, "ask the server for its version", "", err)
	}
	if s.version.Flavor != gtid.MySQL {
		return nil, fault.New(fault.Config, "copy", s.version.Text, errors.New("the server is not MySQL"))
	}
	if err := s.configuration(conn); err != nil {
		return nil, err
	}
	s.datadir, s.binlogs = s.variables["datadir"], filepath.Dir(s.variables["log_bin_basename"])
	switch v := s.variables; {
	case v["log_bin"] != "ON":
		return nil, a.refuse("the binary log is off (log_bin)",
			"Set log_bin in the server's configuration and restart it: a base backup is of use only with the log that follows it.")
	case v["gtid_mode"] != "ON":
		return nil, a.refuse("GTIDs are off (gtid_mode is "+v["gtid_mode"]+"), and a copy's position is known by them alone",
			"Set enforce_gtid_consistency and gtid_mode to ON; the manual has the steps for a server that is in use.")
	}
	if _, err := a.position(conn); err != nil {
		return nil, err
	}
	if err := a.checkVisible(conn); err != nil {
		return nil, err
	}
	return s, a.checkInside(conn)
}

// dial opens a session. A password must not cross a network unencrypted, and nor must the data.
func (a account) dial(ctx context.Context) (*client.Conn, error) {
	ip := net.ParseIP(a.Host)
	if a.Dial == nil && a.Socket == "" && a.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fault.New(fault.Config, "connect to", a.addr(), errors.New("the connection would not be encrypted")).
			WithHint("Set tls.mode of the cluster to verify-identity, or verify-ca.")
	}
	return a.Primary.dial(ctx)
}

// refuse is the error of a server that cannot be copied.
func (a account) refuse(why, hint string) error {
	return fault.New(fault.Primary, "copy", a.addr(), errors.New(why)).WithHint(hint)
}

// checkVisible looks whether the account sees all tables by looking for some, so that roles count: those
// that one has no privilege on are not listed, and what is not listed could be lost silently.
func (a account) checkVisible(conn *client.Conn) error {
	rows, err := query(conn, "SELECT COUNT(*) FROM information_schema.TABLES WHERE (TABLE_SCHEMA, TABLE_NAME) IN (('mysql', 'user'), ('sys', 'sys_config'))")
	if err != nil {
		return err
	}
	if rows[0][0] != "2" {
		return a.refuse("the account does not see all tables: it lacks SHOW VIEW on *.*", a.grantHint())
	}
	return nil
}

func (a account) grantHint() string {
	return "Grant the account what it needs: " + strings.Join(a.grants("'"+a.User+"'"), "; ") + "."
}

// checkInside refuses tablespaces outside the data directory.
func (a account) checkInside(conn *client.Conn) error {
	rows, err := query(conn, "SELECT PATH FROM information_schema.INNODB_DATAFILES ORDER BY 1")
	if err != nil {
		return a.denied(err)
	}
	outside := slices.DeleteFunc(column(rows), filepath.IsLocal)
	if len(outside) > 0 {
		return a.refuse(fmt.Sprintf("%d files lie outside its data directory: %s", len(outside), names(outside)),
			"A restore makes one data directory, and could not put them elsewhere. Move these tablespaces into the server's data directory.")
	}
	return nil
}

// checkEncryption refuses what a clone could not be read without.
func (m *MySQL) checkEncryption(s *source, conn *client.Conn) error {
	const hint = "A clone of it could be read only with its keys, which the archive does not hold. Turn this encryption off, or set base.engine to xtrabackup, which needs the server's keyring for a restore."
	for _, name := range []string{"innodb_redo_log_encrypt", "innodb_undo_log_encrypt"} {
		if s.variables[name] == "ON" {
			return m.account().refuse("its redo or undo log is encrypted ("+name+" is ON)", hint)
		}
	}
	rows, err := query(conn, "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE ENCRYPTION = 'Y' ORDER BY 1")
	if err != nil {
		return m.account().denied(err)
	}
	if encrypted := column(rows); len(encrypted) > 0 {
		return m.account().refuse(fmt.Sprintf("%d tablespaces are encrypted: %s", len(encrypted), names(encrypted)), hint)
	}
	return nil
}

func (m *MySQL) checkPlugin(_ *source, conn *client.Conn) error {
	rows, err := query(conn, "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'")
	if err != nil {
		return err
	}
	if len(rows) == 0 || rows[0][0] != "ACTIVE" {
		return m.account().refuse("the clone plugin is not loaded", "Run INSTALL PLUGIN clone SONAME 'mysql_clone.so' on the server. That is kept over restarts.")
	}
	return nil
}

// emptyTables lists the tables of other storage engines than these, whose rows are not copied. It is an
// error that there are, unless that is allowed.
func (a account) emptyTables(conn *client.Conn, copied []string, allowed bool) ([]string, error) {
	rows, err := query(conn, "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES"+
		" WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE NOT IN ('"+strings.Join(copied, "', '")+"')"+
		" AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1")
	if err != nil {
		return nil, err
	}
	tables := column(rows)
	if len(tables) > 0 && !allowed {
		return nil, a.refuse(fmt.Sprintf("%d tables are not InnoDB's, and would be empty in the copy: %s", len(tables), names(tables)),
			"Make them InnoDB tables with ALTER TABLE … ENGINE=InnoDB, or allow that they are restored empty.")
	}
	return tables, nil
}

// position asks where the server is. File, offset and GTIDs are of one moment, at which no commit is
// half done: a transaction whose rows are visible is among the GTIDs, and before the offset.
func (a account) position(conn *client.Conn) (place, error) {
	rows, err := query(conn, "SELECT SERVER_UUID, `LOCAL` FROM performance_schema.log_status")
	if err != nil {
		return place{}, a.denied(err)
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
func (a account) denied(err error) error {
	var my *mysql.MyError
	if errors.As(err, &my) {
		switch my.Code {
		case mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_ACCESS_DENIED_ERROR, mysql.ER_TABLEACCESS_DENIED_ERROR:
			return a.refuse(fmt.Sprintf("error %d: %s", my.Code, my.Message), a.grantHint())
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
