package restore

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// mariadbDisabled is the status of a scheduled event on a replica.
const mariadbDisabled = "SLAVESIDE_DISABLED"

// mariadb is an applier that is MariaDB.
type mariadb struct {
	private
}

// relayArgs are a server's options for applying relay logs.
func (r *run) relayArgs() []string {
	relay := r.work.relayDir()
	return []string{
		"--relay-log=" + filepath.Join(relay, "relay"),
		"--relay-log-index=" + filepath.Join(relay, "relay.index"),
		"--relay-log-info-file=" + filepath.Join(relay, "relay-log.info"),
		"--master-info-file=" + filepath.Join(relay, "master.info"),
		"--relay-log-purge=ON",
		"--relay-log-recovery=OFF",
		"--relay-log-space-limit=0",
		"--sync-relay-log=0", "--sync-relay-log-info=0", "--sync-master-info=0",
		"--replicate-same-server-id",
		"--replicate-ignore-db=" + r.work.ignored(),
		"--log-slave-updates=OFF",
		"--gtid-strict-mode=OFF",
		"--gtid-ignore-duplicates=OFF",
		"--slave-skip-errors=OFF",
		"--slave-exec-mode=STRICT",
		"--slave-max-allowed-packet=1G",
		"--slave-sql-verify-checksum=ON",
		"--slave-parallel-mode=optimistic", "--slave-parallel-max-queued=16M",
	}
}

// startMariaDB starts the server and sets it to the position of the base backup.
func (r *run) startMariaDB(ctx context.Context) (applier, error) {
	srv, err := mysqld.Start(ctx, r.serverOptions(r.relayArgs()))
	if err != nil {
		return nil, err
	}
	m := &mariadb{private: private{run: r, srv: srv}}
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
	if err := m.bringInside(); err != nil {
		return err
	}
	if err := m.disabledBefore(mariadbDisabled); err != nil {
		return err
	}
	p := m.run.plan
	info, err := mysqld.Probe(m.conn)
	if err != nil {
		return err
	}
	m.zone(info)
	if err := m.plugins(); err != nil {
		return err
	}
	// Without a file name, which needs a number at its end, a server with parallel appliers crashes;
	// with master_use_gtid it would throw our files away.
	if !m.run.resumed() {
		if err := m.conn.Exec(fmt.Sprintf("SET GLOBAL gtid_slave_pos='%s'", p.start)); err != nil {
			return err
		}
	}
	return m.conn.Exec(
		fmt.Sprintf("CHANGE MASTER TO master_host='none', master_user='none', master_use_gtid=no, master_log_file='%s', master_log_pos=%d",
			strings.ReplaceAll(p.base.Source.File, "'", ""), p.base.Source.Offset),
	)
}

func (m *mariadb) inject(b *batch) error {
	if m.started {
		if err := m.conn.Exec("STOP SLAVE SQL_THREAD"); err != nil {
			return err
		}
	}
	if err := m.replace(b); err != nil {
		return err
	}
	if err := m.place(b); err != nil {
		return err
	}
	if !m.started {
		if err := m.conn.Exec(fmt.Sprintf("CHANGE MASTER TO relay_log_file='%s', relay_log_pos=4", filepath.Base(b.files[0].path))); err != nil {
			return err
		}
	}
	m.started = true
	threads := b.threads
	if b.inside {
		threads = 0 // the workers of before have the mode of before
	}
	return m.conn.Exec(fmt.Sprintf("SET GLOBAL slave_parallel_threads=%d", threads), "START SLAVE SQL_THREAD")
}

func (m *mariadb) position() (*gtid.State, error) {
	text, err := m.conn.Value("SELECT @@GLOBAL.gtid_slave_pos")
	if err != nil {
		return nil, err
	}
	return parsePosition(gtid.MariaDB, text)
}

func (m *mariadb) end() error {
	at, err := m.position()
	if err != nil {
		return err
	}
	if err := m.arrived(at); err != nil {
		return err
	}
	if err := m.conn.Exec("STOP SLAVE", "RESET SLAVE ALL"); err != nil {
		return err
	}
	if err := m.forget(at); err != nil {
		return err
	}
	after, err := m.disabledEvents(mariadbDisabled)
	if err != nil {
		return err
	}
	m.events(after)
	rows, err := m.conn.Query("XA RECOVER FORMAT='SQL'")
	if err != nil {
		return err
	}
	m.prepared(rows)
	return m.incomplete()
}

// forget sets the server's position to that of the log where they differ: in domains that were deleted from it (FLUSH
// BINARY LOGS DELETE_DOMAIN_ID) before the stop, or that another server's log names again.
func (m *mariadb) forget(at *gtid.State) error {
	want := m.run.plan.position
	if at.SamePosition(want) {
		return nil
	}
	if err := m.run.work.save(); err != nil { // that nothing is left to apply: the position tells no more
		return err
	}
	return m.conn.Exec(fmt.Sprintf("SET GLOBAL gtid_slave_pos='%s'", want))
}

func (m *mariadb) halt() error { return m.halted("STOP SLAVE SQL_THREAD", "SHOW SLAVE STATUS") }

// loose: the tables of the GTID position may be of another engine, as after an upgrade.
func (m *mariadb) loose() (bool, error) {
	n, err := m.conn.Value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='mysql' AND table_name LIKE 'gtid\\_slave\\_pos%' AND engine<>'InnoDB'")
	return n != "0", err
}

// settle writes the log of InnoDB, which the server's options let wait, and with all the pages of Aria and
// MyISAM that it keeps back.
func (m *mariadb) settle(all bool) (int, error) {
	statements := []string{"SET GLOBAL innodb_flush_log_at_trx_commit=1", "FLUSH ENGINE LOGS", "SET GLOBAL innodb_flush_log_at_trx_commit=0"}
	if all {
		statements = append([]string{"FLUSH TABLES"}, statements...)
	}
	if err := m.conn.Exec(statements...); err != nil {
		return 0, err
	}
	return m.temporaryTables("Slave_open_temp_tables")
}
