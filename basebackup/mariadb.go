package basebackup

import (
	"context"
	"fmt"
	"io"
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

// TLS is how a backup tool protects its connections.
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
	j := new(job)
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
	if err := ariaInside(j.datadir); err != nil {
		return nil, err
	}
	j.tool, j.version, err = find(ctx, m.Tool, j.server.version, "mariadb-backup", "mariadb-backup of MariaDB")
	return j, err
}

// Stream runs the tool. The stream is checked as it passes.
func (m *MariaDB) Stream(ctx context.Context, w io.Writer) (Info, error) {
	j, err := m.prepare(ctx)
	if err != nil {
		return Info{}, err
	}
	inspect := xbstream.NewInspector(xbstream.Mbstream, slices.Concat(binlogInfo, checkpoints, toolInfo, serverConf)...)
	inspect.Removed = func(path string) []string { return definitions(j.datadir, path) }
	inspect.Head = ariaHead
	program, others := m.program(j), newOthers(j.datadir, j.server.otherDirectories())
	program.line, inspect.Content = others.line, others.content
	err = program.run(ctx, io.MultiWriter(inspect, w))
	others.settle()
	if err != nil {
		return Info{}, err
	}
	if err := inspect.Close(); err != nil {
		return Info{}, m.failed(j, err)
	}
	info, err := m.info(j, inspect)
	if err != nil {
		return Info{}, m.failed(j, err)
	}
	torn, err := others.check(inspect)
	if err != nil {
		return Info{}, m.failed(j, err)
	}
	lost, uncopied := others.renames.absent(others.files, inspect)
	lost, stray, err := m.stray(ctx, j, lost)
	if err != nil {
		return Info{}, err
	}
	lost, old := append(lost, inspect.Missing()...), append(others.redone, outdated(j.datadir, inspect.Heads())...)
	if err := m.whole(j, lost, old, torn); err != nil {
		return Info{}, err
	}
	consistent := m.Clock.Now().Add(j.server.ahead)
	info.Consistent = consistent
	info.UncopiedFiles = shown(append(uncopied, stray...))
	info.File = j.server.binlogFile(info.Source.File)
	return info, nil
}

// whole refuses a copy that lacks files, of which the log of Aria does not fit, or in which files are torn. The worst of it
// is said.
func (m *MariaDB) whole(j *job, lost, old, torn []string) error {
	switch {
	case len(lost) > 0:
		return m.lost(j, lost)
	case len(old) > 0:
		return m.outdated(j, old)
	case len(torn) > 0:
		return m.torn(j, torn)
	}
	return nil
}

// program is how the tool is run.
func (m *MariaDB) program(j *job) *program {
	protocol := "tcp"
	if m.Primary.Socket != "" {
		protocol = "socket"
	}
	return &program{name: "mariadb-backup", path: j.tool, stateDir: m.StateDir, clock: m.Clock, fs: m.FS,
		options: m.Primary.login() + option("protocol", protocol) + m.Primary.TLS.mariadb(),
		watch:   newWatch(m.Clock, m.LockWait, m.BlockLimit, (*watch).mariadbBackup),
		args: []string{
			"--backup",
			"--stream=mbstream",
			"--target-dir=" + filepath.Join(m.StateDir, "unused"), // a stream needs none, and makes none
			"--datadir=" + j.datadir,
			fmt.Sprintf("--parallel=%d", max(1, m.Threads)),
			// In milliseconds. Commits are blocked in the end until the redo log was looked at once more,
			// which is a second by default.
			"--log-copy-interval=50",
		}}
}

// mariadb renders these as options of mariadb-backup.
func (t TLS) mariadb() string {
	switch {
	case !t.On:
		// What names a part of TLS would turn it on. Tools of 11.4 and later use it all the same where
		// the server offers it.
		return "skip-ssl\n"
	case t.Verify:
		return "ssl\nssl-verify-server-cert\n" + t.files()
	}
	return "ssl\nskip-ssl-verify-server-cert\n" + t.files()
}

func (m *MariaDB) failed(j *job, err error) error {
	return fault.New(fault.Other, "copy the server with", j.tool, err)
}

// info reads what the tool has put into the stream beside the data.
func (m *MariaDB) info(j *job, inspect *xbstream.Inspector) (Info, error) {
	text, err := kept(inspect, binlogInfo, checkpoints, toolInfo, serverConf)
	if err != nil {
		return Info{}, err
	}
	i := Info{ToolVersion: j.version.Text, ServerVersion: j.server.version.Text, Flavor: j.server.version.Flavor,
		ServerID: j.server.id, Variables: j.server.recorded(parseSettings(text[3]))}
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

// kept returns files that a stream must hold, each by any of its names.
func kept(inspect *xbstream.Inspector, files ...[]string) ([]string, error) {
	text := make([]string, len(files))
	for k, names := range files {
		for _, name := range names {
			if data, ok := inspect.Kept(name); ok {
				text[k] = string(data)
			}
		}
		if text[k] == "" {
			return nil, fmt.Errorf("the stream has no %s", strings.Join(names, " or "))
		}
	}
	return text, nil
}
