package workload

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

const keys = 1000 // values of k in the wide tables; deletes take a twentieth of them

// transfer moves money and notes it in the journal, all in one transaction: half of it, or
// one too many or too few, breaks an invariant.
func (s *session) transfer() error {
	if err := s.move("COMMIT"); err != nil {
		return err
	}
	s.seq++
	s.w.mu.Lock()
	s.w.acked[s.id] = s.seq
	s.w.mu.Unlock()
	return nil
}

func (s *session) transferRollback() error { return s.move("ROLLBACK") }

func (s *session) move(end string) error {
	from, amount := s.rng.IntN(accounts), s.rng.IntN(100)+1
	to := (from + 1 + s.rng.IntN(accounts-1)) % accounts
	return s.run("BEGIN",
		fmt.Sprintf("UPDATE account SET balance=balance-%d WHERE id=%d", amount, from),
		fmt.Sprintf("UPDATE account SET balance=balance+%d WHERE id=%d", amount, to),
		fmt.Sprintf("INSERT INTO journal (worker, seq, amount) VALUES (%d, %d, %d)", s.id, s.seq+1, amount),
		end)
}

func (s *session) insert() error {
	if s.rng.IntN(4) == 0 {
		return s.run("INSERT INTO child (parent, v) SELECT id, " + s.text(60) + " FROM t0 ORDER BY id DESC LIMIT 3")
	}
	return s.run(s.insertSQL(s.wide(), 1+s.rng.IntN(12)))
}

func (s *session) update() error { return s.run(s.updateSQL(s.wide())) }

// delete takes as much away as insert adds, so that tables stay small.
func (s *session) delete() error { return s.run(s.deleteSQL(s.wide())) }

func (s *session) upsert() error {
	id := s.rng.IntN(200) + 1
	if s.rng.IntN(2) == 0 {
		return s.exec("INSERT INTO %s (id, k, v) VALUES (%d, %d, %s) ON DUPLICATE KEY UPDATE k=k+1, v=VALUES(v)",
			s.wide(), id, s.key(), s.text(200))
	}
	table := s.wide()
	if table == "t0" && s.w.flavor == mySQL {
		// MySQL 9.7 leaves child's rows alone when REPLACE deletes their parent; a replica deletes them.
		table = "t1"
	}
	return s.exec("REPLACE INTO %s (id, k, v, j) VALUES (%d, %d, %s, '{}')", table, id, s.key(), s.text(200))
}

func (s *session) insertSelect() error {
	from := s.key()
	return s.exec("INSERT INTO %s (k, v, n, hidden) SELECT k, v, n, hidden+1 FROM %s WHERE k BETWEEN %d AND %d", s.wide(), s.wide(), from, from+10)
}

// multiStatement is the ordinary transaction of an application, now and then rolled back.
func (s *session) multiStatement() error {
	if s.rng.IntN(5) == 0 {
		if err := s.exec("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"); err != nil {
			return err
		}
	}
	sql := []string{"BEGIN"}
	for range 2 + s.rng.IntN(7) {
		sql = append(sql, s.change())
	}
	end := "COMMIT"
	if s.rng.IntN(6) == 0 {
		end = "ROLLBACK"
	}
	return s.run(append(sql, end)...)
}

func (s *session) multiTable() error {
	k := s.key()
	if s.rng.IntN(2) == 0 {
		return s.exec("UPDATE t1 JOIN t2 ON t1.k = t2.k SET t1.v = %s, t2.n = t2.n + 1 WHERE t1.k BETWEEN %d AND %d", s.text(50), k, k+30)
	}
	return s.exec("DELETE t2, t3 FROM t2 JOIN t3 ON t2.k = t3.k WHERE t2.k BETWEEN %d AND %d", k, k+30)
}

func (s *session) savepoint() error {
	return s.tx(s.change(), "SAVEPOINT a", s.change(), "SAVEPOINT b", s.change(), "ROLLBACK TO b", s.change(),
		[]string{"ROLLBACK TO a", "RELEASE SAVEPOINT a", "DO 0"}[s.rng.IntN(3)], s.change())
}

func (s *session) noPrimaryKey() error {
	a := s.rng.IntN(50)
	return s.tx(
		fmt.Sprintf("INSERT INTO nopk VALUES (%d, 'same'), (%d, 'same'), (NULL, NULL)", a, a),
		fmt.Sprintf("UPDATE nopk SET b = %s WHERE a = %d LIMIT 1", s.text(40), s.rng.IntN(50)),
		fmt.Sprintf("DELETE FROM nopk WHERE a = %d OR (a IS NULL AND %d)", s.rng.IntN(50), s.rng.IntN(2)))
}

func (s *session) partitioned() error {
	id := s.rng.IntN(300)
	return s.tx(
		fmt.Sprintf("REPLACE INTO part VALUES (%d, %d, %s)", id, id%40, s.text(150)),
		fmt.Sprintf("DELETE FROM part WHERE k = %d AND id > 150", s.rng.IntN(40)))
}

// change returns a statement that changes rows in a wide table.
func (s *session) change() string {
	switch s.rng.IntN(3) {
	case 0:
		return s.insertSQL(s.wide(), 1+s.rng.IntN(4))
	case 1:
		return s.updateSQL(s.wide())
	default:
		return s.deleteSQL(s.wide())
	}
}

func (s *session) insertSQL(table string, rows int) string {
	values := make([]string, rows)
	for i := range values {
		values[i] = s.row()
	}
	return "INSERT INTO " + table + " (k, v, l, n, f, fl, e, s, bits, d, dt, ti, y, j, bin, u, hidden) VALUES " + strings.Join(values, ", ")
}

func (s *session) updateSQL(table string) string {
	k := s.key()
	set := []string{"k = k + 1", "v = " + s.text(300), "n = -n", "f = " + s.float(), "e = 'c', bits = bits ^ 5",
		"j = '[1, {\"a\": null}]'", "hidden = hidden + 1", "v = NULL, l = NULL"}[s.rng.IntN(8)]
	return fmt.Sprintf("UPDATE %s SET %s WHERE k BETWEEN %d AND %d", table, set, k, k+10)
}

func (s *session) deleteSQL(table string) string {
	k := s.key()
	return fmt.Sprintf("DELETE FROM %s WHERE k BETWEEN %d AND %d", table, k, k+keys/20)
}

// row returns the values of a row of a wide table, a third of them NULL.
func (s *session) row() string {
	at := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC).Add(time.Duration(s.rng.Int64N(int64(30 * 365 * 24 * time.Hour))))
	values := []string{
		s.text(300), "_latin1 x'" + fmt.Sprintf("%x", s.bytes(s.rng.IntN(60))) + "'",
		fmt.Sprintf("%d.%04d", s.rng.Int64N(1e12)-5e11, s.rng.IntN(1e4)), s.float(), fmt.Sprint(s.rng.IntN(1e6)),
		fmt.Sprint(1 + s.rng.IntN(3)), fmt.Sprint(s.rng.IntN(8)), fmt.Sprint(s.rng.IntN(4096)),
		at.Format("'2006-01-02'"), at.Format("'2006-01-02 15:04:05.000'"), at.Format("'-15:04:05.000000'"), at.Format("2006"),
		`'{"k": [1, 2.5, "x"]}'`, fmt.Sprintf("x'%x'", s.bytes(s.rng.IntN(64))),
		fmt.Sprintf("'%x-1111-4222-8333-%x'", s.bytes(4), s.bytes(6)),
	}
	for i := range values {
		if s.rng.IntN(3) == 0 {
			values[i] = "NULL"
		}
	}
	return fmt.Sprintf("(%d, %s, %d)", s.key(), strings.Join(values, ", "), s.rng.IntN(100))
}

func (s *session) wide() string { return "t" + strconv.Itoa(s.rng.IntN(wideTables)) }

func (s *session) key() int { return s.rng.IntN(keys) }

func (s *session) float() string {
	return strconv.FormatFloat(s.rng.NormFloat64()*math.Pow10(s.rng.IntN(40)-20), 'g', -1, 64)
}

// text returns a string literal of up to longest characters, with what breaks careless quoting.
func (s *session) text(longest int) string {
	alphabet := []string{"a", "b", " ", "0", `\'`, `"`, `\\`, `\n`, `\r`, `\0`, `\Z`, "%", ";", "--", "ä", "€", "中", "😀"}
	var b strings.Builder
	b.WriteByte('\'')
	for range s.rng.IntN(longest/2 + 1) {
		b.WriteString(alphabet[s.rng.IntN(len(alphabet))])
	}
	b.WriteByte('\'')
	return b.String()
}

// bytes returns n random bytes, which do not compress.
func (s *session) bytes(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := s.rng.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j], v = byte(v), v>>8
		}
	}
	return b
}

// blob writes, replaces or deletes one of few blobs; their sizes double from 64 bytes to the
// largest, all equally frequent.
func (s *session) blob() error {
	id := s.rng.IntN(8)
	if s.rng.IntN(6) == 0 {
		return s.exec("DELETE FROM blobs WHERE id = %d", id)
	}
	size := min(s.w.opts.MaxBlob, 64<<s.rng.IntN(max(1, bits.Len(uint(s.w.opts.MaxBlob/64)))))
	size -= s.rng.IntN(size/8 + 1)
	return s.bind("INSERT INTO blobs VALUES (?, ?) ON DUPLICATE KEY UPDATE b = VALUES(b)", id, s.bytes(size))
}

// big makes a transaction of at least BigTransaction bytes.
func (s *session) big() error {
	if err := s.exec("BEGIN"); err != nil {
		return err
	}
	const chunk = 256 << 10
	for left := s.w.opts.BigTransaction; left > 0; left -= chunk {
		if err := s.bind("INSERT INTO big (b) VALUES (?)", s.bytes(min(left, chunk))); err != nil {
			return err
		}
	}
	empty := "TRUNCATE TABLE big"
	if s.without(Definitions) {
		empty = "DELETE FROM big"
	}
	return s.run("COMMIT", empty)
}
