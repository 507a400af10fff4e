package workload

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// myKinds are those that only MySQL has.
func myKinds() []kind {
	return []kind{
		{"tagged", Tagged, 60, (*session).tagged},
		{"compressed", Formats, 60, (*session).compressed},
		{"row-image", Formats, 30, (*session).rowImage},
		{"rows-query", Formats, 15, (*session).rowsQuery},
		{"partial-json", Formats, 40, (*session).partialJSON},
		{"document", "", 40, (*session).document},
		{"xa-apart", XA, 15, (*session).xaApart},
		{"alter", Definitions, 10, (*session).alterMySQL},
	}
}

func myTables() []string {
	return []string{
		// An index of an expression and one of many values, a vector, a shape: columns that are hidden, or
		// that MariaDB does not have.
		`CREATE TABLE IF NOT EXISTS %[1]s.docs (
			id INT PRIMARY KEY, j JSON NOT NULL, k JSON, place POINT NOT NULL SRID 4326, vec VECTOR(3),
			name VARCHAR(40) AS (j->>'$.name') STORED, kind VARCHAR(20) AS (j->>'$.kind') VIRTUAL,
			KEY ((UPPER(name))), KEY ((CAST(j->'$.tags' AS UNSIGNED ARRAY))), KEY (kind) INVISIBLE, SPATIAL KEY (place))`,
	}
}

// with runs f in a session that has a variable set, which is then put back. A variable that
// decides how a transaction is logged cannot be set within one.
func (s *session) with(variable, value, usual string, f func() error) error {
	if err := s.exec("SET SESSION %s=%s", variable, value); err != nil {
		return err
	}
	err := f()
	if err != nil && !tolerated(err) {
		return err
	}
	if err != nil {
		err = cmp.Or(s.run("ROLLBACK"), err)
	}
	return cmp.Or(s.exec("SET SESSION %s=%s", variable, usual), err)
}

// tagged writes transactions, DDL among them, whose GTIDs have a tag.
func (s *session) tagged() error {
	tag := fmt.Sprintf("'AUTOMATIC:%s'", []string{"shop", "batch_2", "a"}[s.rng.IntN(3)])
	return s.with("gtid_next", tag, "'AUTOMATIC'", func() error {
		if s.rng.IntN(8) == 0 {
			return s.table()
		}
		return s.multiStatement()
	})
}

func (s *session) compressed() error {
	return s.with("binlog_transaction_compression", "ON", "OFF", func() error {
		if s.rng.IntN(8) == 0 { // as compresses badly
			return s.blob()
		}
		return s.multiStatement()
	})
}

// rowImage logs no more of a row than is needed to find and change it.
func (s *session) rowImage() error {
	image := []string{"MINIMAL", "NOBLOB"}[s.rng.IntN(2)]
	return s.with("binlog_row_image", image, "FULL", s.multiStatement)
}

// rowsQuery logs the text of the statements beside the rows.
func (s *session) rowsQuery() error {
	return s.with("binlog_rows_query_log_events", "ON", "OFF", s.multiStatement)
}

// partialJSON logs changes of documents as what has changed in them.
func (s *session) partialJSON() error {
	return s.with("binlog_row_value_options", "'PARTIAL_JSON'", "''", func() error {
		id := s.rng.IntN(40)
		return s.tx(
			fmt.Sprintf("UPDATE docs SET j = JSON_SET(j, '$.n', %d, '$.name', %s) WHERE id = %d", s.rng.IntN(1e6), s.text(20), id),
			fmt.Sprintf("UPDATE docs SET j = JSON_REPLACE(j, '$.n', %d), k = JSON_REMOVE(k, '$.a') WHERE id BETWEEN %d AND %d", s.rng.IntN(9), id, id+5),
			fmt.Sprintf("UPDATE docs SET j = JSON_SET(j, '$.tags[1]', %d, '$.inner.list[0]', 'x') WHERE id = %d", s.rng.IntN(99), s.rng.IntN(40)))
	})
}

// document writes whole documents.
func (s *session) document() error {
	id := s.rng.IntN(40)
	if s.rng.IntN(5) == 0 {
		return s.exec("DELETE FROM docs WHERE id = %d", id)
	}
	return s.exec("REPLACE INTO docs (id, j, k, place, vec) VALUES (%d, JSON_OBJECT('name', %s, 'kind', 'k%d', 'n', %d, 'tags', JSON_ARRAY(%d, 2, 3), "+
		"'inner', JSON_OBJECT('list', JSON_ARRAY(%s, 1.5, NULL, TRUE)), 'filler', REPEAT('x', %d)), %s, "+
		"ST_SRID(POINT(%d, %d), 4326), STRING_TO_VECTOR('[1, %d, -0.5]'))",
		id, s.text(20), s.rng.IntN(5), s.rng.IntN(1000), s.rng.IntN(100), s.text(30), 100+s.rng.IntN(3000),
		[]string{"NULL", `'{"a": 1, "b": [1, {"c": 2}]}'`, "'[]'"}[s.rng.IntN(3)], s.rng.IntN(80), s.rng.IntN(80), s.rng.IntN(100))
}

// xaApart does something else between the two phases of an XA transaction, which MySQL lets a
// session do, so that other transactions lie between them in the binlog.
func (s *session) xaApart() error {
	s.n++
	xid := fmt.Sprintf("'%s%d'", s.xidPrefix(), s.n)
	if err := s.run("XA START "+xid, fmt.Sprintf("UPDATE blobs SET b = LEFT(b, 50) WHERE id = %d", s.rng.IntN(8)), "XA END "+xid, "XA PREPARE "+xid); err != nil {
		if tolerated(err) {
			_, _ = s.conn.Execute("XA END " + xid)
			_, _ = s.conn.Execute("XA ROLLBACK " + xid)
		}
		return err
	}
	err := s.transfer()
	if err != nil {
		if !tolerated(err) {
			return err
		}
		err = cmp.Or(s.run("ROLLBACK"), err)
	}
	return cmp.Or(s.run([]string{"XA COMMIT ", "XA ROLLBACK "}[s.rng.IntN(2)]+xid), err)
}

// alterMySQL changes a wide table. What is there already, or is not, cannot be said in the
// statement and is no failure.
func (s *session) alterMySQL() error {
	column, table := fmt.Sprintf("x%d", s.rng.IntN(3)), s.wide()
	var err error
	switch s.rng.IntN(8) {
	case 0, 1:
		err = s.exec("ALTER TABLE %s ADD COLUMN %s INT NOT NULL DEFAULT %d%s", table, column, s.rng.IntN(9), []string{"", " FIRST", " AFTER k"}[s.rng.IntN(3)])
	case 2:
		err = s.exec("ALTER TABLE %s DROP COLUMN %s", table, column)
	case 3:
		err = s.exec("ALTER TABLE %s ADD INDEX extra (n, k DESC)", table)
	case 4:
		err = s.exec("DROP INDEX extra ON %s", table)
	case 5:
		err = s.exec("ALTER TABLE %s MODIFY COLUMN v VARCHAR(%d), COMMENT='%d'", table, 300+s.rng.IntN(50), s.rng.IntN(100))
	case 6:
		err = s.exec("ALTER TABLE %s ALTER INDEX k %s", table, []string{"VISIBLE", "INVISIBLE"}[s.rng.IntN(2)])
	default:
		err = s.exec("ALTER TABLE %s FORCE", []string{table, "m", "docs"}[s.rng.IntN(3)])
	}
	var my *mysql.MyError
	if errors.As(err, &my) {
		switch my.Code {
		case mysql.ER_DUP_FIELDNAME, mysql.ER_CANT_DROP_FIELD_OR_KEY, mysql.ER_DUP_KEYNAME:
			return nil
		}
	}
	return err
}
