package restore

import (
	"context"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// mysql is an applier that is MySQL. It passes over transactions that it has executed already, so the
// log may begin anywhere before the position of the base backup, which only the server knows exactly.
type mysql struct {
	private
}

// mysqlDisabled is the status of a scheduled event on a replica.
const mysqlDisabled = "REPLICA_SIDE_DISABLED"

// mysqlRelayArgs are a server's options for applying relay logs.
func (r *run) mysqlRelayArgs() []string {
	relay := r.work.relayDir()
	return []string{
		"--relay-log=" + filepath.Join(relay, "relay"),
		"--relay-log-index=" + filepath.Join(relay, "relay.index"),
		"--relay-log-purge=ON",
		"--relay-log-recovery=OFF",
		"--relay-log-space-limit=0",
		"--replicate-ignore-db=" + r.work.ignored(),
		"--sync-relay-log=0",
		"--log-replica-updates=OFF",
		"--replica-max-allowed-packet=1G",
		"--replica-sql-verify-checksum=ON",
		"--replica-preserve-commit-order=ON",
	}
}

func (r *run) startMySQL(ctx context.Context) (applier, error) {
	srv, err := mysqld.Start(ctx, r.serverOptions(r.mysqlRelayArgs()))
	if err != nil {
		return nil, err
	}
	m := &mysql{private: private{run: r, srv: srv}}
	if err := m.prepare(ctx); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *mysql) prepare(ctx context.Context) (err error) {
	if m.conn, err = m.srv.Connect(ctx); err != nil {
		return err
	}
	info, err := mysqld.Probe(m.conn)
	if err != nil {
		return err
	}
	m.zone(info)
	if err := m.plugins(); err != nil {
		return err
	}
	if err := m.disabledBefore(mysqlDisabled); err != nil {
		return err
	}
	if err := m.purge(); err != nil {
		return err
	}
	if err := m.checkBase(); err != nil {
		return err
	}
	if err := m.complete(ctx); err != nil {
		return err
	}
	if err := m.exclude(); err != nil {
		return err
	}
	// With auto-position nothing is asked for where in the source's files the log begins.
	return m.conn.Exec("RESET REPLICA ALL",
		"CHANGE REPLICATION SOURCE TO source_host='none', source_user='none', source_auto_position=1")
}

// checkBase compares what the base backup holds with what its manifest says.
func (m *mysql) checkBase() error {
	at, err := m.position()
	if err != nil || m.run.resumed() {
		return err
	}
	p := m.run.plan
	// Which of the transactions that were under way a clone holds shows only here.
	m.run.Log.Info("the base backup is read", zap.String("base", p.base.ID), zap.Stringer("gtid_executed", at))
	return p.settleStart(at)
}

// settle writes the log of InnoDB, which the server's options let wait, and with all the tables of other
// engines.
func (m *mysql) settle(all bool) (int, error) {
	statements := []string{"FLUSH ENGINE LOGS"}
	if all {
		statements = []string{"FLUSH TABLES", "FLUSH ENGINE LOGS"}
	}
	if err := m.conn.Exec(statements...); err != nil {
		return 0, err
	}
	return m.temporaryTables("Replica_open_temp_tables")
}

func (m *mysql) halt() error { return m.halted("STOP REPLICA SQL_THREAD", "SHOW REPLICA STATUS") }

// loose: MySQL keeps its GTIDs in InnoDB.
func (m *mysql) loose() (bool, error) { return false, nil }

func (m *mysql) inject(b *batch) error {
	if m.started {
		if err := m.conn.Exec("STOP REPLICA SQL_THREAD"); err != nil {
			return err
		}
	}
	if err := m.replace(b); err != nil {
		return err
	}
	if err := m.place(b); err != nil {
		return err
	}
	m.started = true
	return m.conn.Exec(fmt.Sprintf("SET GLOBAL replica_parallel_workers=%d", max(1, b.threads)), "START REPLICA SQL_THREAD")
}

func (m *mysql) position() (*gtid.State, error) {
	text, err := m.conn.Value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	if err != nil {
		return nil, err
	}
	return parsePosition(gtid.MySQL, text)
}

func (m *mysql) wait(ctx context.Context, b *batch, progress func(uint64)) error {
	return m.await(ctx, b, progress, waiting{
		position: m.position, reached: func(at *gtid.State) bool { return at.Covers(b.position) },
		show: "SHOW REPLICA STATUS", running: "Replica_SQL_Running", idle: m.idle, stuck: m.stuck, failed: m.failed,
	})
}

// stuck: MySQL 9.7.4 rarely loses the wake-up of the thread that hands transactions to its workers. It says
// that it waits for a transaction, and no worker has any; then it cannot be stopped either.
func (m *mysql) stuck(status map[string]string) bool {
	if status["Replica_SQL_Running_State"] != "Waiting for dependent transaction to commit" {
		return false
	}
	busy, err := m.busy()
	return err == nil && busy == "0"
}

// busy is how many workers have a transaction.
func (m *mysql) busy() (string, error) {
	return m.conn.Value("SELECT COUNT(*) FROM performance_schema.replication_applier_status_by_worker WHERE applying_transaction <> ''")
}

// idle counts how often in a row the server had nothing left to do: the coordinator waits for more, and
// no worker has a transaction.
func (m *mysql) idle(status map[string]string, before int) (int, error) {
	if status["Replica_SQL_Running_State"] != "Replica has read all relay log; waiting for more updates" {
		return 0, nil
	}
	busy, err := m.busy()
	if err != nil || busy != "0" {
		return 0, err
	}
	return before + 1, nil
}

// failed is the error with which the SQL thread has stopped. Its own says only which worker has one, and 3030 of a worker that
// another one has.
func (m *mysql) failed(status map[string]string) error {
	rows, err := m.conn.Query("SELECT last_error_number, last_error_message FROM performance_schema.replication_applier_status_by_worker " +
		"WHERE last_error_number <> 0 ORDER BY last_error_number = 3030, last_error_timestamp LIMIT 1")
	if err == nil && len(rows) > 0 {
		status["Last_SQL_Errno"], status["Last_SQL_Error"] = rows[0][0], rows[0][1]
	}
	return m.stopped(status)
}

func (m *mysql) end() error {
	at, err := m.position()
	if err != nil {
		return err
	}
	if err := m.arrived(at); err != nil {
		return err
	}
	if err := m.conn.Exec("STOP REPLICA", "RESET REPLICA ALL"); err != nil {
		return err
	}
	after, err := m.disabledEvents(mysqlDisabled)
	if err != nil {
		return err
	}
	m.events(after)
	rows, err := m.conn.Query("XA RECOVER CONVERT XID")
	if err != nil {
		return err
	}
	m.prepared(rows)
	return m.incomplete()
}
