package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/binlog"
	"tidemark/internal/clock"
	"tidemark/internal/clone"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

// MySQL copies a MySQL server over its clone plugin's protocol, from any host that may connect to it.
// Clock must be set.
type MySQL struct {
	Primary Primary // without Dial, only a server on this host is copied: nothing else would be encrypted
	Clock   clock.Clock

	// AllowEmptyTables takes a backup though it holds no rows of tables that are not InnoDB's.
	AllowEmptyTables bool
}

var _ Engine = (*MySQL)(nil)

// MySQLGrants are the statements that give an account what a copy of a MySQL server needs, beside
// what archiving does: to clone, to see which files there are, to see all tables without reading
// them, and to ask for a position and the transactions there at one moment.
func MySQLGrants(user string) []string {
	return []string{
		"GRANT BACKUP_ADMIN, PROCESS, SHOW VIEW ON *.* TO " + user,
		"GRANT SELECT ON performance_schema.log_status TO " + user,
	}
}

func (m *MySQL) account() account { return account{m.Primary, MySQLGrants} }

// emptyTables lists the tables whose rows a clone does not hold. Of the other engines those remain that
// keep no rows on the server.
func (m *MySQL) emptyTables(conn *client.Conn) ([]string, error) {
	return m.account().emptyTables(conn, []string{"InnoDB", "BLACKHOLE", "FEDERATED", "MRG_MYISAM", "PERFORMANCE_SCHEMA"}, m.AllowEmptyTables)
}

// Name returns "clone".
func (m *MySQL) Name() string { return "clone" }

// Check asks the server for all that would make a copy fail, or be of no use.
func (m *MySQL) Check(ctx context.Context) error {
	_, _, err := m.prepare(ctx)
	return err
}

// prepare examines the server, and says where it is.
func (m *MySQL) prepare(ctx context.Context) (*source, place, error) {
	conn, err := m.dial(ctx)
	if err != nil {
		return nil, place{}, err
	}
	defer hangUp(conn)
	s, err := m.account().examine(conn)
	if err != nil {
		return nil, place{}, err
	}
	for _, check := range []func(*source, *client.Conn) error{m.checkPlugin, m.checkEncryption} {
		if err := check(s, conn); err != nil {
			return nil, place{}, err
		}
	}
	if s.empty, err = m.emptyTables(conn); err != nil {
		return nil, place{}, err
	}
	at, err := m.account().position(conn)
	return s, at, err
}

// Stream copies the server. The copy is as of its end; which transactions it holds the server does
// not say before it is started on it, so there is a lower and an upper bound, from before and after.
func (m *MySQL) Stream(ctx context.Context, w io.Writer) (Info, error) {
	s, before, err := m.prepare(ctx)
	if err != nil {
		return Info{}, err
	}
	totals, err := m.clone(ctx, w)
	if err != nil {
		return Info{}, err
	}
	conn, err := m.dial(ctx)
	if err != nil {
		return Info{}, err
	}
	defer hangUp(conn)
	after, err := m.account().position(conn)
	if err != nil {
		return Info{}, err
	}
	if after.uuid != before.uuid {
		return Info{}, m.failed(fmt.Errorf("another server answers now: its UUID is %s, and was %s", after.uuid, before.uuid))
	}
	// A table may have become one that is not copied meanwhile.
	empty, err := m.emptyTables(conn)
	if err != nil {
		return Info{}, err
	}
	all := slices.Concat(s.empty, empty)
	slices.Sort(all)
	return Info{ToolVersion: "clone protocol " + totals.Protocol, ServerVersion: s.version.Text, Flavor: gtid.MySQL, ServerID: s.id, ServerUUID: after.uuid,
		Source: after.at, GTID: after.gtids, SourceMin: before.at, GTIDMin: before.gtids, Consistent: after.now,
		Variables: s.recorded(nil), EmptyTables: slices.Compact(all)}, nil
}

// clone speaks to the clone plugin.
func (m *MySQL) clone(ctx context.Context, w io.Writer) (clone.Totals, error) {
	var conns [2]net.Conn
	var ids []uint32
	for i := range conns {
		conn, err := m.dial(ctx)
		if err == nil {
			err = patient(conn)
		}
		if err != nil {
			if i > 0 {
				_ = conns[0].Close()
			}
			return clone.Totals{}, err
		}
		conns[i] = conn.Conn.Conn // below its framing; nothing is under way
		ids = append(ids, conn.GetConnectionID())
	}
	out := &remembering{w: w}
	totals, err := clone.Copy(ctx, clone.Options{Data: conns[0], Ack: conns[1], Clock: m.Clock}, out)
	if err != nil {
		m.release(ctx, ids)
	}
	switch {
	case err == nil, ctx.Err() != nil, out.err != nil: // of an archive that fails nothing is to be said here
		return totals, err
	}
	return totals, m.failed(err)
}

// release ends the sessions of a copy that was given up. A server that loses sight of a recipient
// would keep its snapshot, which takes disk, for five minutes in case that comes back.
func (m *MySQL) release(ctx context.Context, ids []uint32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return // the server is gone, or will notice by itself
	}
	defer hangUp(conn)
	for _, id := range ids {
		// After a restart of the server the number may be another session's, which is no clone of ours.
		rows, err := query(conn, fmt.Sprintf("SELECT 1 FROM performance_schema.processlist WHERE id = %d AND command = 'Clone' AND user = SUBSTRING_INDEX(USER(), '@', 1)", id))
		if err == nil && len(rows) == 1 {
			_, _ = conn.Execute(fmt.Sprintf("KILL %d", id)) // it may have ended
		}
	}
}

// patient lets a session wait for us. The server's own limits, a minute to take what it sends, are
// for clients that are gone; here a slow archive holds up the copy, and while files are copied the
// second session is idle for as long as that takes.
func patient(conn *client.Conn) error {
	const seconds = 24 * 60 * 60
	_, err := conn.Execute(fmt.Sprintf("SET SESSION wait_timeout = %d, net_read_timeout = %d, net_write_timeout = %d", seconds, seconds, seconds))
	if err == nil && conn.Compression != 0 {
		err = errors.New("it is compressed, which the clone protocol cannot be")
	}
	if err != nil {
		hangUp(conn)
		return fault.New(fault.Primary, "prepare a session for cloning", "", err)
	}
	return nil
}

// errEncryption is the server's error when it would have to send keys over a session without TLS.
const errEncryption = 3872

func (m *MySQL) failed(err error) error {
	f := fault.New(fault.Primary, "clone", m.Primary.addr(), err)
	var donor *clone.DonorError
	given := errors.As(err, &donor)
	switch {
	case errors.Is(err, clone.ErrEncrypted), given && donor.Code == errEncryption:
		return f.WithHint("Files stay encrypted when encryption is turned off: restart the server, which makes new redo logs, " +
			"and empty each undo tablespace by ALTER UNDO TABLESPACE … SET INACTIVE, then SET ACTIVE, beside two others. Or set base.engine to xtrabackup.")
	case given:
		return f.WithHint("The server's log may say more. Backups are tried again; SHOW PROCESSLIST shows whether a DDL statement or another clone is in the way.")
	}
	return f.WithHint("See in the server's log whether it was shut down or crashed. Nothing of the backup is kept; it can be taken again.")
}

func (m *MySQL) dial(ctx context.Context) (*client.Conn, error) { return m.account().dial(ctx) }

// remembering tells its own errors from those of what writes to it.
type remembering struct {
	w   io.Writer
	err error
}

func (r *remembering) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}

// place is where a server is in its log.
type place struct {
	uuid  string
	at    binlog.Point
	gtids string
	now   time.Time // by the server's clock, after all the rest
}

// names lists a few of many names.
func names(list []string) string {
	const most = 5
	text := strings.Join(list[:min(most, len(list))], ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
