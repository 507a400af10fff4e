package basebackup

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/mysqld"
	"tidemark/internal/xbstream"
)

// XtraBackup copies a MySQL server with Percona's xtrabackup, which has to run where the data directory
// is, as a user that may read it. Clock, FS and StateDir must be set.
type XtraBackup struct {
	Primary  Primary // as MySQL's
	Datadir  string  // "": what the server says
	Tool     string  // path of xtrabackup; "": found in PATH
	Threads  int     // that copy; 0: one
	StateDir string  // for the tool's logs; made when it is missing
	Clock    clock.Clock
	FS       durable.FS

	// AllowEmptyTables takes a backup though it holds no rows of tables that have no files.
	AllowEmptyTables bool

	LockWait, BlockLimit time.Duration // as MariaDB's
}

var _ Engine = (*XtraBackup)(nil)

// XtraBackupGrants are the statements that give an account what xtrabackup needs, beside what
// archiving does.
func XtraBackupGrants(user string) []string {
	return append(MySQLGrants(user),
		"GRANT RELOAD, LOCK TABLES, REPLICATION CLIENT ON *.* TO "+user,
		"GRANT SELECT ON performance_schema.keyring_component_status TO "+user,
		"GRANT SELECT ON performance_schema.replication_group_members TO "+user)
}

// Name returns "xbstream".
func (x *XtraBackup) Name() string { return "xbstream" }

// Check finds the tool, compares its version with the server's, looks whether the data directory is here
// and can be read, and asks the server for what would make a copy be of no use.
func (x *XtraBackup) Check(ctx context.Context) error {
	conn, err := x.account().dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	_, err = x.prepare(ctx, conn)
	return err
}

func (x *XtraBackup) account() account { return account{x.Primary, XtraBackupGrants} }

// xtraJob is what is known before a copy.
type xtraJob struct {
	server  *source
	before  place
	tool    string
	version mysqld.Version // of the tool
	datadir string
}

func (x *XtraBackup) prepare(ctx context.Context, conn *client.Conn) (*xtraJob, error) {
	j := new(xtraJob)
	var err error
	if j.server, err = x.account().examine(conn); err != nil {
		return nil, err
	}
	if j.server.empty, err = x.emptyTables(conn); err != nil {
		return nil, err
	}
	if j.datadir = x.Datadir; j.datadir == "" {
		j.datadir = j.server.datadir
	}
	if err := readable(j.datadir); err != nil {
		return nil, err
	}
	if j.tool, j.version, err = find(ctx, x.Tool, j.server.version, "xtrabackup", "Percona XtraBackup"); err != nil {
		return nil, err
	}
	j.before, err = x.account().position(conn)
	return j, err
}

// emptyTables lists the tables whose rows are in no file.
func (x *XtraBackup) emptyTables(conn *client.Conn) ([]string, error) {
	return x.account().emptyTables(conn, []string{"InnoDB", "MyISAM", "CSV", "ARCHIVE", "ROCKSDB",
		"BLACKHOLE", "FEDERATED", "MRG_MYISAM", "PERFORMANCE_SCHEMA"}, x.AllowEmptyTables)
}

// Stream runs the tool. The stream is checked as it passes. The position is that at which the tool asked
// for it in the end, which is exact; it is said three times, and must lie between those from before and
// after.
func (x *XtraBackup) Stream(ctx context.Context, w io.Writer) (Info, error) {
	conn, err := x.account().dial(ctx)
	if err != nil {
		return Info{}, err
	}
	j, err := x.prepare(ctx, conn)
	hangUp(conn)
	if err != nil {
		return Info{}, err
	}
	inspect := xbstream.NewInspector(xbstream.Xbstream, slices.Concat(xtraBinlogInfo, xtraCheckpoints, xtraInfo, serverConf)...)
	said := ""
	p := x.program(j)
	p.line = func(line string) {
		if _, at, ok := strings.Cut(line, "MySQL binlog position: "); ok {
			said = at
		}
	}
	if err := p.run(ctx, io.MultiWriter(inspect, w)); err != nil {
		return Info{}, err
	}
	if err := inspect.Close(); err != nil {
		return Info{}, p.failed(err)
	}
	info, err := x.info(j, inspect, said)
	if err != nil {
		return Info{}, p.failed(err)
	}
	return info, x.compare(ctx, j, &info)
}

// program is how the tool is run. Nothing is compressed or encrypted: the parts are.
func (x *XtraBackup) program(j *xtraJob) *program {
	wait := x.LockWait
	if wait <= 0 {
		wait = defaultLockWait
	}
	seconds := max(1, int(wait.Seconds()))
	primary := x.Primary
	if primary.Host == "localhost" {
		primary.Host = "127.0.0.1" // by that name it would mean a socket
	}
	return &program{name: "xtrabackup", path: j.tool, stateDir: x.StateDir, clock: x.Clock, fs: x.FS,
		options: primary.login() + primary.TLS.mysql(),
		watch:   newWatch(x.Clock, x.LockWait, x.BlockLimit, (*watch).xtrabackup),
		args: []string{
			"--backup",
			"--stream=xbstream",
			"--target-dir=" + x.StateDir, // a stream leaves nothing there
			"--datadir=" + j.datadir,
			fmt.Sprintf("--parallel=%d", max(1, x.Threads)),
			fmt.Sprintf("--lock-ddl-timeout=%d", seconds),    // for LOCK INSTANCE FOR BACKUP, at the beginning
			fmt.Sprintf("--backup-lock-timeout=%d", seconds), // for Percona Server's LOCK TABLES FOR BACKUP
			"--backup-lock-retry-count=0",
		}}
}

// mysql renders these as options of xtrabackup. Without any it uses TLS where the server offers it.
func (t TLS) mysql() string {
	switch {
	case !t.On:
		return ""
	case t.Verify:
		return "ssl-mode=VERIFY_IDENTITY\n" + t.files()
	}
	return "ssl-mode=REQUIRED\n" + t.files()
}
