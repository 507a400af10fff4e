package mysqld

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/internal/gtid"
)

// Conn is a session. It is for one goroutine.
type Conn struct {
	*client.Conn
}

// dial opens a session. addr is a socket's path or host:port.
func dial(ctx context.Context, addr, user, password string) (*Conn, error) {
	c, err := client.ConnectWithContext(ctx, addr, user, password, "", 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	// The collation that the driver asks for is not known to MariaDB.
	if _, err := c.Execute("SET NAMES utf8mb4"); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return &Conn{c}, nil
}

// Exec runs the statements and stops at the first that fails. A statement is named in the error up
// to its first quote, because what follows may be secret.
func (c *Conn) Exec(statements ...string) error {
	for _, sql := range statements {
		if _, err := c.Execute(sql); err != nil {
			return fmt.Errorf("%s: %w", open(sql), err)
		}
	}
	return nil
}

// Query returns the rows of a query as text; NULL is "".
func (c *Conn) Query(sql string) ([][]string, error) {
	r, err := c.Execute(sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", open(sql), err)
	}
	if r.Resultset == nil {
		return nil, nil
	}
	rows := make([][]string, r.RowNumber())
	for i, row := range r.Values {
		rows[i] = make([]string, len(row))
		for j := range row {
			rows[i][j] = text(&row[j])
		}
	}
	return rows, nil
}

// Row returns the first row of a query by column name; nil if there is none.
func (c *Conn) Row(sql string) (map[string]string, error) {
	r, err := c.Execute(sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", open(sql), err)
	}
	if r.Resultset == nil || r.RowNumber() == 0 {
		return nil, nil
	}
	row := make(map[string]string, len(r.Fields))
	for i, f := range r.Fields {
		row[string(f.Name)] = text(&r.Values[0][i])
	}
	return row, nil
}

// Value returns the first column of the first row of a query.
func (c *Conn) Value(sql string) (string, error) {
	rows, err := c.Query(sql)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return "", fmt.Errorf("%s: no row", open(sql))
	}
	return rows[0][0], nil
}

func text(v *mysql.FieldValue) string {
	switch v.Type {
	case mysql.FieldValueTypeNull:
		return ""
	case mysql.FieldValueTypeString:
		return string(v.AsString()) // a copy: the result's memory belongs to the connection
	default:
		return fmt.Sprint(v.Value())
	}
}

func open(sql string) string {
	if i := strings.IndexByte(sql, '\''); i >= 0 {
		return sql[:i] + "…"
	}
	return sql
}

// Info is what a server says of itself.
type Info struct {
	Version    Version
	ServerID   uint32
	ServerUUID string // MySQL
	Datadir    string
	Socket     string
	LogBin     bool
	TimeZone   string // of the system, as the server names it
}

// Probe asks a server what it is.
func Probe(c *Conn) (Info, error) {
	row, err := c.Row("SELECT @@version AS version, @@version_comment AS comment, @@server_id AS id, @@datadir AS datadir, " +
		"@@socket AS socket, @@log_bin AS log_bin, @@system_time_zone AS zone")
	if err != nil {
		return Info{}, err
	}
	v, err := ParseVersion(row["version"])
	if err != nil {
		return Info{}, fmt.Errorf("read the server's version: %w", err)
	}
	id, err := strconv.ParseUint(row["id"], 10, 32)
	if err != nil {
		return Info{}, fmt.Errorf("read the server's ID: %w", err)
	}
	info := Info{Version: v, ServerID: uint32(id), Datadir: row["datadir"], Socket: row["socket"],
		LogBin: row["log_bin"] == "1", TimeZone: row["zone"]}
	if v.Flavor == gtid.MySQL {
		info.ServerUUID, err = c.Value("SELECT @@server_uuid")
	}
	return info, err
}

// denied reports whether a server refused a login: it is up, but not for us.
func denied(err error) bool {
	var my *mysql.MyError
	return errors.As(err, &my) && my.Code == mysql.ER_ACCESS_DENIED_ERROR
}
