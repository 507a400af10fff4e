package basebackup

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
	"tidemark/internal/variables"
)

// queryTimeout is for connecting and for each answer.
const queryTimeout = 10 * time.Second

// server is what the server to copy says of itself.
type server struct {
	version   mysqld.Version
	id        uint32
	datadir   string
	binlogs   string        // directory of the binlog files
	ahead     time.Duration // of its clock before ours, at most
	variables map[string]string
	plugins   []string // loaded from libraries, as "name=library"
}

// recordedToo are the variables that a backup records beside those that package variables names:
// what a human must know who starts a server on it by hand. None is a secret.
var recordedToo = []string{
	"aria_encrypt_tables",
	"aria_log_file_size",
	"binlog_order_commits", // whether a clone holds what comes in the log before what it holds
	"encrypt_binlog",
	"file_key_management_encryption_algorithm",
	"file_key_management_filename",
	"gtid_domain_id",
	"innodb_data_home_dir",
	"innodb_default_encryption_key_id",
	"innodb_encrypt_log",
	"innodb_encrypt_tables",
	"innodb_log_file_size",
	"innodb_redo_log_capacity",
	"innodb_undo_directory",
	"plugin_load", // of the tool's list: the encryption plugin
	"plugin_maturity",
	"system_time_zone",
	variables.Offsets,
}

// recorded picks the variables for the manifest. The tool's own list fills in what the server has no
// variable for.
func (s *server) recorded(tool map[string]string) map[string]string {
	picked := map[string]string{}
	for _, name := range slices.Concat(variables.Names(), recordedToo) {
		if v, ok := s.variables[name]; ok {
			picked[name] = v
		} else if v, ok := tool[name]; ok {
			picked[name] = v
		}
	}
	if len(s.plugins) > 0 {
		picked["plugins"] = strings.Join(s.plugins, ",")
	}
	return picked
}

// ask connects to the server and asks all that is needed. Errors are of kind Primary.
func (m *MariaDB) ask(ctx context.Context) (*server, error) {
	conn, err := m.Primary.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer hangUp(conn)
	s := &server{variables: map[string]string{}}
	before := m.Clock.Now()
	rows, err := query(conn, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS CHAR), @@version")
	if err != nil {
		return nil, err
	}
	theirs, err := strconv.ParseFloat(rows[0][0], 64)
	if err != nil {
		return nil, fault.New(fault.Primary, "ask the server for its time", "", err)
	}
	// From before the question: too much is safe, too little would let a copy hold the future.
	s.ahead = time.UnixMicro(int64(theirs * 1e6)).Sub(before)
	if s.version, err = mysqld.ParseVersion(rows[0][1]); err != nil {
		return nil, fault.New(fault.Primary, "ask the server for its version", "", err)
	}
	if s.version.Flavor != gtid.MariaDB {
		return nil, fault.New(fault.Config, "copy with mariadb-backup", s.version.Text, errors.New("the server is not MariaDB"))
	}
	if err := s.configuration(conn); err != nil {
		return nil, err
	}
	if s.variables["log_bin"] != "ON" {
		return nil, fault.New(fault.Primary, "copy", s.version.Text, errors.New("the binary log is off (log_bin)")).
			WithHint("Set log_bin in the server's configuration and restart it: a base backup is of use only with the log that follows it.")
	}
	s.datadir, s.binlogs = s.variables["datadir"], filepath.Dir(s.variables["log_bin_basename"])
	return s, nil
}

// configuration asks for the server's variables, among them its ID, for its time zone and for its plugins.
func (s *server) configuration(conn *client.Conn) error {
	rows, err := query(conn, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return err
	}
	for _, row := range rows {
		s.variables[row[0]] = row[1]
	}
	s.timeZone(conn)
	if rows, err = query(conn, "SELECT CONCAT(PLUGIN_NAME, '=', PLUGIN_LIBRARY) FROM information_schema.PLUGINS"+
		" WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_LIBRARY IS NOT NULL ORDER BY 1"); err != nil {
		return err
	}
	for _, row := range rows {
		s.plugins = append(s.plugins, row[0])
	}
	id, err := strconv.ParseUint(s.variables["server_id"], 10, 32)
	if err != nil {
		return fault.New(fault.Primary, "ask the server for its ID", "", err)
	}
	s.id = uint32(id)
	return nil
}

// timeZone asks for the time zone of the server's machine. A backup without it is worth having: a restore says so then.
func (s *server) timeZone(conn *client.Conn) {
	offsets, err := variables.AskZone(func(sql string) ([][]string, error) { return query(conn, sql) })
	if err == nil {
		s.variables[variables.Offsets] = offsets
	}
}

func hangUp(conn *client.Conn) {
	if conn.Quit() != nil {
		_ = conn.Close()
	}
}

func (p Primary) dial(ctx context.Context) (*client.Conn, error) {
	if p.Dial != nil {
		return p.Dial(ctx)
	}
	conn, err := client.ConnectWithContext(ctx, p.addr(), p.User, p.Password, "", queryTimeout, func(c *client.Conn) error {
		c.ReadTimeout, c.WriteTimeout = queryTimeout, queryTimeout
		return nil
	})
	var my *mysql.MyError
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &my):
		return nil, fault.New(fault.Primary, "connect to", p.addr(), fmt.Errorf("error %d: %s", my.Code, my.Message)).
			WithHint("Check the user and its password file, and that the account may connect from this host.")
	}
	return nil, fault.New(fault.Primary, "connect to", p.addr(), err).
		WithHint("Check that the server runs and listens there; `tidemark check` tries every step.")
}

func (p Primary) addr() string {
	if p.Socket != "" {
		return p.Socket
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
}

// query returns the rows of a query as text.
func query(conn *client.Conn, sql string) ([][]string, error) {
	r, err := conn.Execute(sql)
	if err != nil {
		return nil, fault.New(fault.Primary, "query the server", sql, err)
	}
	if !r.HasResultset() {
		return nil, nil
	}
	rows := make([][]string, r.RowNumber())
	for i := range rows {
		rows[i] = make([]string, r.ColumnNumber())
		for j := range rows[i] {
			if rows[i][j], err = r.GetString(i, j); err != nil {
				return nil, fault.New(fault.Primary, "query the server", sql, err)
			}
		}
	}
	return rows, nil
}

// binlogFile reads the format description of a binlog file, which tells it from others of its name.
// It is nil where the file cannot be read: the GTID position is compared all the same.
func (s *server) binlogFile(name string) *binlog.FormatDescription {
	f, err := os.Open(filepath.Join(s.binlogs, filepath.Base(name)))
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, len(binlog.Magic)+binlog.HeaderSize)
	r := bufio.NewReader(f)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(binlog.Magic)]) != binlog.Magic {
		return nil
	}
	head = head[len(binlog.Magic):]
	const most = 1 << 16
	size := binary.LittleEndian.Uint32(head[9:])
	if size < binlog.HeaderSize || size > most {
		return nil
	}
	event := append(head, make([]byte, size-binlog.HeaderSize)...)
	if _, err := io.ReadFull(r, event[binlog.HeaderSize:]); err != nil {
		return nil
	}
	fde, err := binlog.ParseFormatDescription(event)
	if err != nil {
		return nil
	}
	return fde
}
