package workload

import (
	"cmp"
	"fmt"
)

// nonTransactional changes a MyISAM or Aria table (both are MyISAM on MySQL); no rollback undoes it.
func (s *session) nonTransactional() error { return s.run(s.nonTransactionalSQL()) }

func (s *session) nonTransactionalSQL() string {
	table := []string{"m", "a"}[s.rng.IntN(2)]
	k := s.rng.IntN(100)
	switch s.rng.IntN(4) {
	case 0:
		return fmt.Sprintf("UPDATE %s SET v = %s WHERE k = %d", table, s.text(80), k)
	case 1:
		return fmt.Sprintf("DELETE FROM %s WHERE k = %d", table, k)
	default:
		return fmt.Sprintf("INSERT INTO %s (k, v) VALUES (%d, %s), (%d, 'x')", table, k, s.text(80), s.rng.IntN(100))
	}
}

// byStatement runs f with binlog_format=STATEMENT. All that is run so depends on nothing but
// rows it locks, or the binlog would not repeat it.
func (s *session) byStatement(f func() error) error {
	if err := s.exec("SET SESSION binlog_format='STATEMENT'"); err != nil {
		return err
	}
	if err := f(); err != nil {
		if !tolerated(err) {
			return err
		}
		// The format cannot be changed in a transaction.
		clean := s.run("ROLLBACK", "DROP TEMPORARY TABLE IF EXISTS temp", "SET SESSION binlog_format='ROW'")
		return cmp.Or(clean, err)
	}
	return s.exec("SET SESSION binlog_format='ROW'")
}

func (s *session) statement() error {
	return s.byStatement(func() error {
		n := s.rng.IntN(statementNs)
		return s.tx(
			fmt.Sprintf("INSERT INTO statements (n, v) VALUES (%d, %s)", n, s.text(200)),
			"INSERT INTO statements (n, v) VALUES (FLOOR(RAND()*20), CONCAT('at ', NOW(6), ' after ', LAST_INSERT_ID()))",
			fmt.Sprintf("UPDATE statements SET n = MOD(n + 1, %d), v = CONCAT(LEFT(v, 100), %s) WHERE n = %d", statementNs, s.text(50), n),
			fmt.Sprintf("DELETE FROM statements WHERE n = %d", s.rng.IntN(statementNs)))
	})
}

func (s *session) userVariable() error {
	return s.byStatement(func() error {
		return s.run("SET @n = "+fmt.Sprint(s.rng.IntN(statementNs)), "SET @v = "+s.text(100),
			// A real of more than 14 digits is cut by mariadb-binlog's text.
			"SET @none = NULL, @decimal = -12.3456, @real = 2.5e-3",
			"INSERT INTO statements (n, v) VALUES (@n, CONCAT_WS('/', @v, @none, @decimal, @real))")
	})
}

func (s *session) temporaryTable() error {
	if s.without(Rebuilt) {
		return nil // a base backup of a moment when there is one lacks it, and nothing that uses it can be applied
	}
	return s.byStatement(func() error {
		return s.run(
			"CREATE TEMPORARY TABLE temp (n INT PRIMARY KEY, v VARCHAR(100))",
			fmt.Sprintf("INSERT INTO temp VALUES (%d, %s), (%d, 'x')", s.rng.IntN(10), s.text(100), 10+s.rng.IntN(10)),
			"UPDATE part JOIN temp ON part.id = temp.n SET part.v = temp.v",
			"DROP TEMPORARY TABLE temp")
	})
}

func (s *session) procedureByStatement() error {
	name := s.name("ps", 2)
	if err := s.replace("PROCEDURE", name, fmt.Sprintf("(a INT, b VARCHAR(100)) BEGIN DECLARE c INT DEFAULT a + 1; "+
		"INSERT INTO statements (n, v) VALUES (a, b); UPDATE statements SET v = b WHERE n = MOD(c, %d); END", statementNs)); err != nil {
		return err
	}
	return s.byStatement(func() error {
		return s.exec("CALL %s (%d, %s)", name, s.rng.IntN(statementNs), s.text(100))
	})
}

// xa prepares a transaction and then commits it or rolls it back; sometimes in one phase.
func (s *session) xa() error {
	s.n++
	xid := fmt.Sprintf("%s%d", s.xidPrefix(), s.n)
	if err := s.run("XA START '"+xid+"'", s.insertSQL("t1", 1), s.change(), "XA END '"+xid+"'"); err != nil {
		if tolerated(err) {
			// In whichever state it is, one of them ends it.
			_, _ = s.conn.Execute("XA END '" + xid + "'")
			_, _ = s.conn.Execute("XA ROLLBACK '" + xid + "'")
		}
		return err
	}
	if s.rng.IntN(4) == 0 {
		return s.exec("XA COMMIT '%s' ONE PHASE", xid)
	}
	return s.run("XA PREPARE '"+xid+"'", []string{"XA COMMIT", "XA COMMIT", "XA ROLLBACK"}[s.rng.IntN(3)]+" '"+xid+"'")
}

// xidPrefix begins the names of this worker's XA transactions, which are global to the server.
func (s *session) xidPrefix() string { return fmt.Sprintf("%s.%d.", s.w.opts.Schema, s.id) }

func (s *session) rotate() error { return s.exec("FLUSH BINARY LOGS") }
