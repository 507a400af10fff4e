package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tidemark/integration/kit/servertest"
)

// rows of each table, and how many workers write, each to a table of its own.
const rows, workers = 100_000, 2

// fill writes the transactions that sysbench calls oltp_write_only, from inside the server: an update
// of an indexed column, one of another, a delete and an insert, on tables of 100,000 rows of about 200
// bytes. It ends when the binlogs hold size bytes, or count transactions are written.
func fill(p *servertest.Process, size int64, count int) error {
	return fillWhile(p, func(done int) (bool, error) {
		if count > 0 {
			return done < count/workers, nil
		}
		have, err := binlogBytes(p)
		return have < size, err
	})
}

// fillWhile writes such transactions for as long as more says so, which is told how many a worker has written.
func fillWhile(p *servertest.Process, more func(done int) (bool, error)) error {
	setup := []string{"SET GLOBAL sync_binlog=0, GLOBAL innodb_flush_log_at_trx_commit=0"}
	for t := range workers {
		setup = append(setup, fmt.Sprintf("DROP PROCEDURE IF EXISTS bench.work%d", t), strings.ReplaceAll(`CREATE PROCEDURE bench.work%(IN n INT)
			BEGIN
				DECLARE i, a, b, victim INT DEFAULT 0;
				WHILE i < n DO
					SET victim = 1 + FLOOR(RAND() * `+fmt.Sprint(rows)+`);
					SET a = 1 + FLOOR(RAND() * `+fmt.Sprint(rows)+`), b = 1 + FLOOR(RAND() * `+fmt.Sprint(rows)+`);
					START TRANSACTION;
					UPDATE bench.t% SET k = k + 1 WHERE id = a;
					UPDATE bench.t% SET c = CONCAT(UUID(), '-', UUID(), '-', UUID()) WHERE id = b;
					DELETE FROM bench.t% WHERE id = victim;
					INSERT INTO bench.t% VALUES (victim, i, CONCAT(UUID(), '-', UUID(), '-', UUID()), CONCAT(UUID(), UUID()));
					COMMIT;
					SET i = i + 1;
				END WHILE;
			END`, "%", fmt.Sprint(t)))
	}
	if err := p.Exec(setup...); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, workers)
	const step = 1000
	for t := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[t] = work(p, t, step, more)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

func work(p *servertest.Process, table, step int, more func(done int) (bool, error)) error {
	conn, err := p.Conn()
	if err != nil {
		return err
	}
	defer conn.Close()
	for done := 0; ; done += step {
		if ok, err := more(done); err != nil || !ok {
			return err
		}
		if _, err := conn.Execute(fmt.Sprintf("CALL bench.work%d(%d)", table, step)); err != nil {
			return err
		}
	}
}

// prepare makes the tables and their first rows.
func prepare(p *servertest.Process) error {
	stmts := []string{"CREATE DATABASE bench"}
	for t := range workers {
		stmts = append(stmts, fmt.Sprintf("CREATE TABLE bench.t%d (id INT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(80) NOT NULL, KEY (k))", t),
			fmt.Sprintf("INSERT INTO bench.t%d SELECT seq, seq, UUID(), UUID() FROM (WITH RECURSIVE s AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < %d) SELECT seq FROM s) x", t, rows))
	}
	deep := "SET max_recursive_iterations=1000000"
	if p.Binaries.Flavor == servertest.MySQL {
		deep = "SET cte_max_recursion_depth=1000000"
	}
	return p.Exec(append([]string{deep}, stmts...)...)
}

// weigh adds a table of so many MiB that is not written to, and puts none of it into the binlog.
func weigh(p *servertest.Process, mib int) error {
	if mib == 0 {
		return nil
	}
	chunk := "INSERT INTO bench.ballast (a) SELECT CONCAT(UUID(), SHA2(RAND(), 256), SHA2(RAND(), 256), SHA2(RAND(), 256), SHA2(RAND(), 256), REPEAT(SHA2(k, 256), 8)) FROM bench.t0 LIMIT 1300" // one MiB, a third of it random
	stmts := []string{"SET sql_log_bin=0", "CREATE TABLE bench.ballast (id BIGINT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(1000))"}
	for range mib {
		stmts = append(stmts, chunk)
	}
	return p.Exec(stmts...)
}

func binlogBytes(p *servertest.Process) (int64, error) {
	rows, err := p.Query("SHOW BINARY LOGS")
	var sum int64
	for _, r := range rows {
		var n int64
		if _, err := fmt.Sscan(r[1], &n); err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, err
}

func since(start time.Time) float64 { return time.Since(start).Seconds() }
