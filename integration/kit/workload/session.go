package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// session is one worker: a connection and the choices it makes.
type session struct {
	w      *Workload
	id     int
	dial   Dial
	rng    *rand.Rand
	domain int
	schema string

	conn *client.Conn
	seq  int64 // number of the last transfer that is committed
	n    int   // makes names unique
}

// loop does transactions until none is left to do or ctx is done.
func (s *session) loop(ctx context.Context, todo *atomic.Int64) error {
	if err := s.open(); err != nil {
		return err
	}
	for ctx.Err() == nil && todo.Add(-1) >= 0 {
		s.w.gate.RLock()
		err := s.step()
		s.w.gate.RUnlock()
		if err != nil && lost(err) && s.w.opts.Patience > 0 {
			err = s.reopen(ctx)
		}
		if err != nil {
			return err
		}
		if s.w.opts.Pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(s.w.opts.Pause):
			}
		}
	}
	return nil
}

// step does one transaction. A tolerated failure leaves the session as new.
func (s *session) step() error {
	k := pick(s.rng, s.w.kinds)
	err := k.run(s)
	switch {
	case err == nil:
		s.w.count(k.name)
		return nil
	case !tolerated(err):
		return fmt.Errorf("%s: %w", k.name, err)
	}
	s.w.count("failed")
	if err := s.exec("ROLLBACK"); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	return nil
}

// open connects and sets the session up.
func (s *session) open() error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	s.conn = conn
	s.w.gate.RLock()
	defer s.w.gate.RUnlock()
	if err := s.run(append(s.w.flavor.setDomain(s.domain),
		"SET NAMES utf8mb4", "SET SESSION lock_wait_timeout=5, innodb_lock_wait_timeout=3", "USE "+s.schema)...); err != nil {
		return err
	}
	if err := s.rollbackPrepared(); err != nil {
		return err
	}
	rows, err := query(s.conn, fmt.Sprintf("SELECT COALESCE(MAX(seq), 0) FROM journal WHERE worker=%d", s.id))
	if err != nil {
		return err
	}
	_, err = fmt.Sscan(rows[0][0], &s.seq)
	return err
}

// reopen connects again after the connection was lost, as long as patience lasts.
func (s *session) reopen(ctx context.Context) error {
	deadline := time.Now().Add(s.w.opts.Patience)
	for {
		s.close()
		err := s.open()
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// rollbackPrepared ends what an earlier connection of this worker left prepared.
func (s *session) rollbackPrepared() error {
	rows, err := query(s.conn, "XA RECOVER")
	if err != nil {
		return err
	}
	for _, row := range rows {
		if xid := row[3]; strings.HasPrefix(xid, s.xidPrefix()) {
			if err := s.exec("XA ROLLBACK '%s'", xid); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Quit()
		s.conn = nil
	}
}

// exec runs a statement made with Sprintf.
func (s *session) exec(format string, args ...any) error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return s.run(format)
}

// run runs statements up to the first that fails.
func (s *session) run(statements ...string) error {
	for _, sql := range statements {
		if _, err := s.conn.Execute(sql); err != nil {
			return fmt.Errorf("%.300s: %w", sql, err)
		}
	}
	return nil
}

// replace makes an object in the place of one of that name, if there is one.
func (s *session) replace(what, name, definition string) error {
	if s.w.flavor == mySQL {
		return s.run("DROP "+what+" IF EXISTS "+name, "CREATE "+what+" "+name+" "+definition)
	}
	return s.run("CREATE OR REPLACE " + what + " " + name + " " + definition)
}

// bind runs a prepared statement; values travel as they are.
func (s *session) bind(sql string, args ...any) error {
	if _, err := s.conn.Execute(sql, args...); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// tx runs the statements in a transaction.
func (s *session) tx(statements ...string) error {
	if err := s.exec("BEGIN"); err != nil {
		return err
	}
	if err := s.run(statements...); err != nil {
		return err
	}
	return s.exec("COMMIT")
}

// tolerated tells whether an error is to be expected where workers collide.
func tolerated(err error) bool {
	var my *mysql.MyError
	if !errors.As(err, &my) {
		return false
	}
	switch my.Code {
	case mysql.ER_LOCK_DEADLOCK, mysql.ER_LOCK_WAIT_TIMEOUT, mysql.ER_XA_RBDEADLOCK, mysql.ER_XA_RBTIMEOUT,
		mysql.ER_AUTOINC_READ_FAILED, // a deadlock while it waits for the counter's lock
		mysql.ER_CHECKREAD,           // changed since the snapshot (11.6 and on)
		mysql.ER_TABLE_DEF_CHANGED,   // the same, by DDL
		mysql.ER_DUP_ENTRY, mysql.ER_NO_REFERENCED_ROW_2, mysql.ER_ROW_IS_REFERENCED_2:
		return true
	}
	return false
}

// lost tells whether an error means that the connection is gone.
func lost(err error) bool {
	var my *mysql.MyError
	if !errors.As(err, &my) {
		return true
	}
	const connectionKilled = 1927
	return my.Code == mysql.ER_SERVER_SHUTDOWN || my.Code == mysql.ER_QUERY_INTERRUPTED || my.Code == connectionKilled
}

// query returns the rows of a query as text; NULL is "NULL".
func query(conn *client.Conn, sql string) ([][]string, error) {
	r, err := conn.Execute(sql)
	if err != nil {
		return nil, fmt.Errorf("%.300s: %w", sql, err)
	}
	if r.Resultset == nil {
		return nil, nil
	}
	out := make([][]string, r.RowNumber())
	for i, row := range r.Values {
		out[i] = make([]string, len(row))
		for j := range row {
			switch v := &row[j]; v.Type {
			case mysql.FieldValueTypeNull:
				out[i][j] = "NULL"
			case mysql.FieldValueTypeString:
				out[i][j] = string(v.AsString())
			default:
				out[i][j] = fmt.Sprint(v.Value())
			}
		}
	}
	return out, nil
}
