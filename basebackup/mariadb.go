package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
	"tidemark/internal/xbstream"
)

// Primary is the server that is copied, and the account that copies it.
type Primary struct {
	Host     string // for TCP; with Port
	Port     int
	Socket   string // instead of Host and Port, if not ""
	User     string
	Password string
	TLS      TLS
	// Dial opens a session for a few queries. If it is nil, one is opened without TLS.
	Dial func(ctx context.Context) (*client.Conn, error)
}

// TLS is how mariadb-backup protects its connections.
type TLS struct {
	On            bool
	Verify        bool // the server's certificate and name are checked
	CA, Cert, Key string
}

// MariaDB copies a MariaDB server with its own mariadb-backup, which has to run where the data
// directory is, as a user that may read it. Clock, FS and StateDir must be set.
type MariaDB struct {
	Primary  Primary
	Datadir  string // "": what the server says
	Tool     string // path of mariadb-backup; "": found in PATH
	Threads  int    // that copy; 0: one
	StateDir string // for the tool's logs; made when it is missing
	Clock    clock.Clock
	FS       durable.FS

	// LockWait is how long the tool waits for one of its locks, during which others may wait behind
	// it; 0: one minute.
	LockWait time.Duration
	// BlockLimit is how long commits may be blocked at the end of a copy, when a slow archive holds
	// the tool up; then the backup is given up. 0: 30 seconds.
	BlockLimit time.Duration
}

var _ Engine = (*MariaDB)(nil)

// What the stream must hold; the older names come first.
var (
	binlogInfo  = []string{"xtrabackup_binlog_info", "mariadb_backup_binlog_info"}
	checkpoints = []string{"xtrabackup_checkpoints", "mariadb_backup_checkpoints"}
	toolInfo    = []string{"xtrabackup_info", "mariadb_backup_info"}
	serverConf  = []string{"backup-my.cnf"}
)

// Name returns "mbstream".
func (m *MariaDB) Name() string { return "mbstream" }

// Check finds the tool, compares its version with the server's, and looks whether the data directory
// is here and can be read.
func (m *MariaDB) Check(ctx context.Context) error {
	_, err := m.prepare(ctx)
	return err
}

// job is what is known before a copy.
type job struct {
	server  *server
	tool    string
	version mysqld.Version // of the tool
	datadir string
}

func (m *MariaDB) prepare(ctx context.Context) (*job, error) {
	j := &job{tool: m.Tool}
	var err error
	if j.server, err = m.ask(ctx); err != nil {
		return nil, err
	}
	if j.datadir = m.Datadir; j.datadir == "" {
		j.datadir = j.server.datadir
	}
	if err := readable(j.datadir); err != nil {
		return nil, err
	}
	if j.tool == "" {
		if j.tool, err = exec.LookPath("mariadb-backup"); err != nil {
			return nil, fault.New(fault.Config, "look for", "mariadb-backup", errors.New("it is not in PATH")).
				WithHint("Install the package mariadb-backup of MariaDB " + j.server.version.Series() + " on this host.")
		}
	}
	if j.tool, err = filepath.Abs(j.tool); err != nil {
		return nil, err
	}
	if j.version, err = mysqld.ProgramVersion(ctx, j.tool); err != nil {
		return nil, fault.New(fault.Config, "", "", err).
			WithHint("Install the package mariadb-backup of MariaDB " + j.server.version.Series() + " on this host.")
	}
	if j.version.Series() != j.server.version.Series() {
		return nil, fault.New(fault.Config, "use", j.tool,
			fmt.Errorf("it is of version %s, and the server of %s", j.version.Number, j.server.version.Number)).
			WithHint("Copies are made and prepared with the tool of the server's own series: install mariadb-backup " + j.server.version.Series() + ".")
	}
	return j, nil
}

// readable looks whether the data directory is one, and open to us.
func readable(dir string) error {
	_, err := os.ReadDir(dir)
	if err == nil {
		var f *os.File
		if f, err = os.Open(filepath.Join(dir, "ibdata1")); err == nil || errors.Is(err, os.ErrNotExist) {
			// It may lie elsewhere by innodb_data_home_dir.
			if f != nil {
				f.Close()
			}
			return nil
		}
	}
	return fault.New(fault.Config, "read the data directory", dir, err).
		WithHint("Base backups of MariaDB are taken on the server's own host, as root or as the user mysql: run tidemark there, and set base.datadir if the directory has another path.")
}

// Stream runs the tool. The stream is checked as it passes.
func (m *MariaDB) Stream(ctx context.Context, w io.Writer) (Info, error) {
	j, err := m.prepare(ctx)
	if err != nil {
		return Info{}, err
	}
	inspect := xbstream.NewInspector(xbstream.Mbstream, slices.Concat(binlogInfo, checkpoints, toolInfo, serverConf)...)
	inspect.Removed = func(path string) []string { return definitions(j.datadir, path) }
	if err := m.run(ctx, j, io.MultiWriter(inspect, w)); err != nil {
		return Info{}, err
	}
	if err := inspect.Close(); err != nil {
		return Info{}, m.failed(j, err)
	}
	if lost := inspect.Missing(); len(lost) > 0 {
		return Info{}, m.lost(j, lost)
	}
	consistent := m.Clock.Now().Add(j.server.ahead)
	info, err := m.info(j, inspect)
	if err != nil {
		return Info{}, m.failed(j, err)
	}
	info.Consistent = consistent
	info.File = j.server.binlogFile(info.Source.File)
	return info, nil
}

func (m *MariaDB) failed(j *job, err error) error {
	return fault.New(fault.Other, "copy the server with", j.tool, err)
}

// info reads what the tool has put into the stream beside the data.
func (m *MariaDB) info(j *job, inspect *xbstream.Inspector) (Info, error) {
	var text [4]string
	for k, names := range [][]string{binlogInfo, checkpoints, toolInfo, serverConf} {
		for _, name := range names {
			if data, ok := inspect.Kept(name); ok {
				text[k] = string(data)
			}
		}
		if text[k] == "" {
			return Info{}, fmt.Errorf("the stream has no %s", strings.Join(names, " or "))
		}
	}
	i := Info{ToolVersion: j.version.Text, ServerVersion: j.server.version.Text, Flavor: j.server.version.Flavor,
		ServerID: j.server.id, Variables: j.server.recorded(parseSettings(text[3]))}
	var err error
	if i.Source, i.GTID, err = parseBinlogInfo(text[0]); err != nil {
		return i, fmt.Errorf("read %s: %w", binlogInfo[0], err)
	}
	if i.FromLSN, i.ToLSN, err = parseCheckpoints(text[1]); err != nil {
		return i, fmt.Errorf("read %s: %w", checkpoints[0], err)
	}
	if err := complete(parseSettings(text[2])); err != nil {
		return i, fmt.Errorf("read %s: %w", toolInfo[0], err)
	}
	return i, nil
}
