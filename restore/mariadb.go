package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// mariadb makes a private MariaDB server apply relay log files.
//
// The server's applier runs without a connection to a source. Files get into its relay log by "flush
// and replace": FLUSH RELAY LOGS makes the server create and list the next files, and ours take the
// place of those that it has closed; the last one stays its own, and there the applier waits for more.
// Nothing else works in a running server: it keeps the list of files in memory, and it must have
// named them itself, in rising order.
type mariadb struct {
	run      *run
	srv      *mysqld.Server
	conn     *mysqld.Conn
	started  bool // the applier has been
	disabled map[string]bool
}

// relayArgs are a server's options for applying relay logs.
func (r *run) relayArgs() []string {
	relay := r.work.relayDir()
	args := []string{
		"--relay-log=" + filepath.Join(relay, "relay"),
		"--relay-log-index=" + filepath.Join(relay, "relay.index"),
		"--relay-log-info-file=" + filepath.Join(relay, "relay-log.info"),
		"--master-info-file=" + filepath.Join(relay, "master.info"),
		"--relay-log-purge=ON",
		"--relay-log-recovery=OFF",
		"--relay-log-space-limit=0",
		"--sync-relay-log=0", "--sync-relay-log-info=0", "--sync-master-info=0",
		"--replicate-same-server-id",
		"--log-slave-updates=OFF",
		"--gtid-strict-mode=OFF",
		"--gtid-ignore-duplicates=OFF",
		"--slave-skip-errors=OFF",
		"--slave-exec-mode=STRICT",
		"--slave-max-allowed-packet=1G",
		"--slave-sql-verify-checksum=ON",
		fmt.Sprintf("--slave-parallel-threads=%d", r.Threads),
	}
	if r.Threads > 0 {
		args = append(args, "--slave-parallel-mode=optimistic", "--slave-parallel-max-queued=16M")
	}
	return args
}

// startMariaDB starts the server and sets it to the position of the base backup.
func (r *run) startMariaDB(ctx context.Context) (*mariadb, error) {
	p := r.plan
	srv, err := mysqld.Start(ctx, mysqld.Options{
		Tools: r.Tools, User: r.user, Datadir: r.work.target, RunDir: r.work.runDir(), LogFile: r.work.logFile("server"),
		ServerID: serverID(p.serverIDs), Memory: r.Memory, Settings: p.base.Variables, Args: r.relayArgs(),
		DefaultsFile: r.DefaultsExtraFile, PluginDir: r.PluginDir,
	})
	if err != nil {
		return nil, err
	}
	m := &mariadb{run: r, srv: srv}
	if err := m.prepare(ctx); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *mariadb) prepare(ctx context.Context) (err error) {
	if m.conn, err = m.srv.Connect(ctx); err != nil {
		return err
	}
	if m.disabled, err = m.disabledEvents(); err != nil {
		return err
	}
	p := m.run.plan
	info, err := mysqld.Probe(m.conn)
	if err != nil {
		return err
	}
	if zone := p.base.Variables["system_time_zone"]; zone != "" && zone != info.TimeZone {
		m.run.report.warn("the backed up server's system time zone was %s, here it is %s: "+
			"statements (not row changes) of sessions without a time zone of their own were applied in the latter", zone, info.TimeZone)
	}
	// Without a file name, which needs a number at its end, a server with parallel appliers crashes;
	// with master_use_gtid it would throw our files away.
	return m.conn.Exec(
		fmt.Sprintf("SET GLOBAL gtid_slave_pos='%s'", p.start),
		fmt.Sprintf("CHANGE MASTER TO master_host='none', master_user='none', master_use_gtid=no, master_log_file='%s', master_log_pos=%d",
			strings.ReplaceAll(p.base.Source.File, "'", ""), p.base.Source.Offset),
	)
}

// inject hands a batch to the applier and lets it go on.
func (m *mariadb) inject(b *batch) error {
	flushes := len(b.files)
	if m.started {
		flushes++ // the file at which the applier waits is closed first
		if err := m.conn.Exec("STOP SLAVE SQL_THREAD"); err != nil {
			return err
		}
	}
	for range flushes {
		if err := m.conn.Exec("FLUSH RELAY LOGS"); err != nil {
			return err
		}
	}
	slots, err := m.slots(len(b.files))
	if err != nil {
		return err
	}
	for i, f := range b.files {
		if err := m.run.FS.Rename(f.path, slots[i]); err != nil {
			return err
		}
		b.files[i].path = slots[i]
	}
	if !m.started {
		if err := m.conn.Exec(fmt.Sprintf("CHANGE MASTER TO relay_log_file='%s', relay_log_pos=4", filepath.Base(slots[0]))); err != nil {
			return err
		}
	}
	m.started = true
	return m.conn.Exec("START SLAVE SQL_THREAD")
}

// slots returns the paths of the n relay logs before the one that is the server's.
func (m *mariadb) slots(n int) ([]string, error) {
	dir := m.run.work.relayDir()
	index, err := os.ReadFile(filepath.Join(dir, "relay.index"))
	if err != nil {
		return nil, err
	}
	names := strings.Fields(string(index))
	if len(names) < n+1 {
		return nil, fmt.Errorf("the server lists %d relay logs after so many as %d were asked for", len(names), n+1)
	}
	names = names[len(names)-1-n : len(names)-1]
	for i, name := range names {
		names[i] = filepath.Join(dir, filepath.Base(name))
	}
	return names, nil
}

func (m *mariadb) position() (*gtid.State, error) {
	text, err := m.conn.Value("SELECT @@GLOBAL.gtid_slave_pos")
	if err != nil {
		return nil, err
	}
	return parsePosition(gtid.MariaDB, text)
}

// end compares the server's position with the planned one, removes all traces of replication, and
// reports what the log has left in a state that needs a look.
func (m *mariadb) end() error {
	at, err := m.position()
	if err != nil {
		return err
	}
	if want := m.run.plan.position; !at.SamePosition(want) {
		return fault.New(fault.Integrity, "restore", m.run.work.target, fmt.Errorf("the server is at GTID position %s, not %s", orNone(at.String()), want))
	}
	if err := m.conn.Exec("STOP SLAVE", "RESET SLAVE ALL"); err != nil {
		return err
	}
	report := m.run.report
	events, err := m.disabledEvents()
	if err != nil {
		return err
	}
	for name := range events {
		if !m.disabled[name] {
			report.EventsDisabled = append(report.EventsDisabled, name)
		}
	}
	slices.Sort(report.EventsDisabled)
	if n := len(report.EventsDisabled); n > 0 {
		report.warn("%d scheduled events were created or changed by the log and are disabled now", n)
	}
	rows, err := m.conn.Query("XA RECOVER FORMAT='SQL'")
	if err != nil {
		return err
	}
	for _, row := range rows {
		report.PreparedXA = append(report.PreparedXA, row[3])
	}
	if n := len(rows); n > 0 {
		report.warn("%d XA transactions are prepared at the stop, neither committed nor rolled back", n)
	}
	return nil
}

// disabledEvents returns the scheduled events that are disabled because the server is a replica.
func (m *mariadb) disabledEvents() (map[string]bool, error) {
	rows, err := m.conn.Query("SELECT event_schema, event_name FROM information_schema.events WHERE status='SLAVESIDE_DISABLED'")
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(rows))
	for _, row := range rows {
		names[quote(row[0])+"."+quote(row[1])] = true
	}
	return names, nil
}

// stop shuts the server down cleanly.
func (m *mariadb) stop(ctx context.Context) error {
	_ = m.conn.Close()
	m.conn = nil
	return m.srv.Stop(ctx)
}

func (m *mariadb) close() {
	if m.conn != nil {
		_ = m.conn.Close()
	}
	m.srv.Close()
}
