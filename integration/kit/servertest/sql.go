package servertest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// Privileges returns what an archiving account needs on a server of the flavor, and no more:
// the binlog stream, the binlog's position and list, and a base backup.
func Privileges(flavor string) string {
	if flavor == MySQL {
		return "REPLICATION SLAVE, REPLICATION CLIENT, BACKUP_ADMIN, PROCESS, SHOW VIEW"
	}
	return "REPLICATION SLAVE, BINLOG MONITOR, RELOAD, PROCESS"
}

// CreateUser makes an account, allowed in from everywhere, with the privileges that archiving
// needs. An account of that name is replaced.
func (p *Process) CreateUser(name, password string) error {
	account := fmt.Sprintf("%s@'%%'", quote(name))
	sql := []string{
		"DROP USER IF EXISTS " + account,
		fmt.Sprintf("CREATE USER %s IDENTIFIED BY %s", account, quote(password)),
		fmt.Sprintf("GRANT %s ON *.* TO %s", Privileges(p.Binaries.Flavor), account),
	}
	if p.Binaries.Flavor == MySQL {
		sql = append(sql, "GRANT SELECT ON performance_schema.log_status TO "+account)
	}
	return p.Exec(sql...)
}

// Conn opens a session of root, in utf8mb4. The caller closes it.
func (p *Process) Conn() (*client.Conn, error) {
	c, err := client.Connect(p.Socket, "root", "", "")
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.Socket, err)
	}
	// The collation that the driver asks for is not known to MariaDB.
	if _, err := c.Execute("SET NAMES utf8mb4"); err != nil {
		_ = c.Quit()
		return nil, fmt.Errorf("connect to %s: %w", p.Socket, err)
	}
	return c, nil
}

// Exec runs the statements as root, in one session, and stops at the first that fails.
func (p *Process) Exec(sql ...string) error {
	c, err := p.Conn()
	if err != nil {
		return err
	}
	defer c.Quit()
	for _, s := range sql {
		if _, err := c.Execute(s); err != nil {
			return fmt.Errorf("%s: %w", short(s), err)
		}
	}
	return nil
}

// Query returns the rows of a query by root, as text; NULL is "NULL".
func (p *Process) Query(sql string) ([][]string, error) {
	c, err := p.Conn()
	if err != nil {
		return nil, err
	}
	defer c.Quit()
	r, err := c.Execute(sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", short(sql), err)
	}
	return rows(r), nil
}

// Value returns the first column of the first row of a query by root.
func (p *Process) Value(sql string) (string, error) {
	rows, err := p.Query(sql)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return "", fmt.Errorf("%s: no row", short(sql))
	}
	return rows[0][0], nil
}

// Position returns the GTID position of the server's own log, on MySQL its executed set in one line.
func (p *Process) Position() (string, error) {
	if p.Binaries.Flavor == MySQL {
		return p.Value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	}
	return p.Value("SELECT @@gtid_binlog_pos")
}

// AppliedPosition is Position of a server that has applied another one's log, as a restored one has.
func (p *Process) AppliedPosition() (string, error) {
	if p.Binaries.Flavor == MySQL {
		return p.Position()
	}
	return p.Value("SELECT @@gtid_slave_pos")
}

// LogEnd returns the binlog that is written, and where it ends.
func (p *Process) LogEnd() (file string, offset uint64, err error) {
	show := "SHOW MASTER STATUS"
	if p.Binaries.Flavor == MySQL {
		show = "SHOW BINARY LOG STATUS"
	}
	rows, err := p.Query(show)
	if err != nil {
		return "", 0, err
	}
	if len(rows) == 0 || len(rows[0]) < 2 {
		return "", 0, fmt.Errorf("%s: no row", show)
	}
	offset, err = strconv.ParseUint(rows[0][1], 10, 64)
	return rows[0][0], offset, err
}

// rows copies a result, whose memory belongs to the connection.
func rows(r *mysql.Result) [][]string {
	if r.Resultset == nil {
		return nil
	}
	out := make([][]string, r.RowNumber())
	for i, row := range r.Values {
		out[i] = make([]string, len(row))
		for j := range row {
			out[i][j] = text(&row[j])
		}
	}
	return out
}

func text(v *mysql.FieldValue) string {
	switch v.Type {
	case mysql.FieldValueTypeNull:
		return "NULL"
	case mysql.FieldValueTypeString:
		return string(v.AsString())
	default:
		return fmt.Sprint(v.Value())
	}
}

// quote makes a string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

// short cuts a statement so that it fits into an error.
func short(sql string) string {
	const limit = 200
	if len(sql) <= limit {
		return sql
	}
	cut := limit
	for !utf8.RuneStart(sql[cut]) {
		cut--
	}
	return sql[:cut] + "…"
}
