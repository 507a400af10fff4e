package workload

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
)

// flavor is the kind of server, in whose SQL the workload is written.
type flavor int

const (
	unknown flavor = iota // before Setup
	mariaDB
	mySQL
)

func flavorOf(conn *client.Conn) (flavor, error) {
	rows, err := query(conn, "SELECT VERSION()")
	if err != nil {
		return unknown, err
	}
	if strings.Contains(rows[0][0], "MariaDB") {
		return mariaDB, nil
	}
	return mySQL, nil
}

// domain returns the session's GTID domain; 0 on MySQL, which has none.
func (f flavor) domain(conn *client.Conn) (int, error) {
	if f != mariaDB {
		return 0, nil
	}
	rows, err := query(conn, "SELECT @@SESSION.gtid_domain_id")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(rows[0][0])
}

// setDomain returns the statements that move a session to a GTID domain.
func (f flavor) setDomain(d int) []string {
	if f != mariaDB {
		return nil
	}
	return []string{fmt.Sprintf("SET SESSION gtid_domain_id=%d", d)}
}

// position returns where the binlog ends, and the GTIDs of all that is in it and before it: on
// MariaDB the last one of each domain, on MySQL the set.
func (f flavor) position(conn *client.Conn) (file string, pos int64, gtids string, err error) {
	show, ask := "SHOW MASTER STATUS", "SELECT @@gtid_binlog_pos"
	if f == mySQL {
		show, ask = "SHOW BINARY LOG STATUS", "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"
	}
	status, err := query(conn, show)
	if err != nil {
		return "", 0, "", err
	}
	if len(status) > 0 {
		file = status[0][0]
		if pos, err = strconv.ParseInt(status[0][1], 10, 64); err != nil {
			return "", 0, "", err
		}
	}
	rows, err := query(conn, ask)
	if err != nil {
		return "", 0, "", err
	}
	return file, pos, rows[0][0], nil
}

// hash returns the expression of a hash of an expression. MySQL has given up MD5.
func (f flavor) hash(expression string) string {
	if f == mySQL {
		return "SHA2(" + expression + ", 224)"
	}
	return "MD5(" + expression + ")"
}

// otherSet says what is wrong, if anything, with the GTIDs that a MySQL server has executed.
func otherSet(conn *client.Conn, want string) (string, error) {
	rows, err := query(conn, fmt.Sprintf("SELECT GTID_SUBTRACT('%[1]s', @@GLOBAL.gtid_executed), GTID_SUBTRACT(@@GLOBAL.gtid_executed, '%[1]s')", want))
	if err != nil || rows[0][0] == "" && rows[0][1] == "" {
		return "", err
	}
	return fmt.Sprintf("lacks %q and has %q too many", rows[0][0], rows[0][1]), nil
}
