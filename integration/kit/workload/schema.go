package workload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
)

const (
	wideTables  = 4    // t0 and on: the tables that most transactions write
	accounts    = 64   // among which transfers move money
	balance     = 1000 // of each account in the beginning
	statementNs = 20   // values of statements.n
)

// Setup looks what server it is, and makes the schemas and their first rows, each in its own
// domain. What is there already, for instance because the server was restarted, is kept.
func (w *Workload) Setup(conn *client.Conn) error {
	var err error
	if w.flavor, err = flavorOf(conn); err != nil {
		return fmt.Errorf("set up the workload: %w", err)
	}
	w.kinds = kinds(w.opts, w.flavor)
	before, err := w.flavor.domain(conn)
	if err != nil {
		return fmt.Errorf("set up the workload: %w", err)
	}
	var sql []string
	for d := range w.opts.Domains {
		sql = append(sql, w.flavor.setDomain(d)...)
		sql = append(sql, fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %s CHARACTER SET utf8mb4", w.schema(d)))
		for _, table := range tables(w.flavor, slices.Contains(w.opts.Without, NonTransactional)) {
			sql = append(sql, fmt.Sprintf(table, w.schema(d)))
		}
		sql = append(sql, firstAccounts(w.schema(d)))
	}
	for _, s := range append(sql, w.flavor.setDomain(before)...) {
		if _, err := conn.Execute(s); err != nil {
			return fmt.Errorf("set up the workload: %.300s: %w", s, err)
		}
	}
	return nil
}

// tables returns the definitions; %[1]s stands for the schema.
func tables(f flavor, transactional bool) []string {
	uuid, engine, secondEngine := "UUID", "MyISAM", "Aria"
	if f == mySQL {
		uuid, secondEngine = "CHAR(36)", "MyISAM"
	}
	if transactional {
		engine, secondEngine = "InnoDB", "InnoDB"
	}
	var defs []string
	for i := range wideTables {
		defs = append(defs, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %%[1]s.t%d (
			id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
			k INT NOT NULL,
			v VARCHAR(300),
			l VARCHAR(60) CHARACTER SET latin1,
			n DECIMAL(20,4), f DOUBLE, fl FLOAT,
			e ENUM('a','b','c'), s SET('x','y','z'), bits BIT(12),
			d DATE, dt DATETIME(3), ti TIME(6), y YEAR,
			ts TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
			j JSON, bin VARBINARY(64), u %s,
			g INT AS (k * 2) VIRTUAL, h INT AS (k + 1) STORED, hidden INT INVISIBLE DEFAULT 7,
			KEY (k), KEY (g))`, i, uuid))
	}
	switch f {
	case mariaDB:
		defs = append(defs, mariaTables()...)
	case mySQL:
		defs = append(defs, myTables()...)
	}
	return append(defs,
		`CREATE TABLE IF NOT EXISTS %[1]s.child (
			id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, parent BIGINT UNSIGNED NOT NULL, v VARCHAR(100),
			FOREIGN KEY (parent) REFERENCES t0 (id) ON DELETE CASCADE ON UPDATE CASCADE)`,
		`CREATE TABLE IF NOT EXISTS %[1]s.account (id INT PRIMARY KEY, balance BIGINT NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS %[1]s.journal (
			worker INT, seq BIGINT, amount BIGINT NOT NULL, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
			PRIMARY KEY (worker, seq))`,
		`CREATE TABLE IF NOT EXISTS %[1]s.nopk (a INT, b VARCHAR(50), KEY (a))`,
		`CREATE TABLE IF NOT EXISTS %[1]s.part (id INT, k INT, v VARCHAR(200), PRIMARY KEY (id, k)) PARTITION BY HASH (k) PARTITIONS 4`,
		`CREATE TABLE IF NOT EXISTS %[1]s.blobs (id INT PRIMARY KEY, b LONGBLOB)`,
		`CREATE TABLE IF NOT EXISTS %[1]s.big (id BIGINT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)`,
		`CREATE TABLE IF NOT EXISTS %[1]s.m (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT, v VARCHAR(100), KEY (k)) ENGINE=`+engine,
		`CREATE TABLE IF NOT EXISTS %[1]s.a (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT, v VARCHAR(100), KEY (k)) ENGINE=`+secondEngine,
		`CREATE TABLE IF NOT EXISTS %[1]s.statements (
			id BIGINT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL, v VARCHAR(300), at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), KEY (n))`,
		`CREATE TABLE IF NOT EXISTS %[1]s.left_side (id BIGINT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50)) COMMENT='left'`,
		`CREATE TABLE IF NOT EXISTS %[1]s.right_side (id BIGINT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50)) COMMENT='right'`,
		`CREATE TABLE IF NOT EXISTS %[1]s.audit (id BIGINT AUTO_INCREMENT PRIMARY KEY, what CHAR(1), row_id BIGINT UNSIGNED, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))`,
		`CREATE TABLE IF NOT EXISTS %[1]s.numbered (id BIGINT PRIMARY KEY, v VARCHAR(50))`,
		`CREATE TRIGGER IF NOT EXISTS %[1]s.t0_insert AFTER INSERT ON %[1]s.t0 FOR EACH ROW INSERT INTO %[1]s.audit (what, row_id) VALUES ('i', NEW.id)`,
		`CREATE TRIGGER IF NOT EXISTS %[1]s.t0_delete AFTER DELETE ON %[1]s.t0 FOR EACH ROW INSERT INTO %[1]s.audit (what, row_id) VALUES ('d', OLD.id)`,
		`CREATE OR REPLACE VIEW %[1]s.summary AS SELECT k, COUNT(*) AS c, SUM(n) AS s FROM %[1]s.t1 GROUP BY k`,
	)
}

// firstAccounts fills the accounts in one statement, unless they are there.
func firstAccounts(schema string) string {
	values := make([]string, accounts)
	for i := range values {
		values[i] = fmt.Sprintf("(%d,%d)", i, balance)
	}
	return fmt.Sprintf("INSERT IGNORE INTO %s.account VALUES %s", schema, strings.Join(values, ","))
}
