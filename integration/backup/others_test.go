package backup

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestOthers copies tables of MyISAM and Aria while they are written to, and while things are done to them that
// mariadb-backup gets wrong without a word. Such a copy is refused; one that is not refused is right.
func TestOthers(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), others, tools...)
}

func others(t *testing.T, b servertest.Binaries) {
	s := newSite(t, b)
	s.srv.Exec("CREATE DATABASE o", "CREATE TABLE d.many (a INT)", "INSERT INTO d.many SELECT seq FROM d.seq_1_to_200")
	for _, c := range []struct {
		name, done string // to the table $t
		refused    string // "always", "never", or "" where chance decides
	}{
		{"rows", "UPDATE $t SET v = CONCAT(v, 'z') LIMIT 3", "never"},
		{"altered", "ALTER TABLE $t COMMENT 'a'; ALTER TABLE $t COMMENT 'b'", ""},
		{"many rows", "INSERT INTO $t (round, v) SELECT 1, REPEAT('q', 300) FROM d.many", ""},
		{"optimized", "OPTIMIZE TABLE $t", "always"},
		{"repaired", "REPAIR TABLE $t", "always"},
		{"truncated", "TRUNCATE TABLE $t", ""},
		{"renamed", "RENAME TABLE $t TO $t_, $t_ TO $t", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			const copies = 2
			refused := s.otherCopies(t, copies, c.done)
			if refused < copies && c.refused == "always" || refused > 0 && c.refused == "never" {
				t.Errorf("%d of %d copies were refused, not %s: mariadb-backup has changed, or the test shows nothing", refused, copies, c.refused)
			}
			t.Logf("%d of %d copies refused", refused, copies)
		})
	}
}

// otherCopies copies tables to which things are done, so many times, and says how often that was refused.
func (s *site) otherCopies(t *testing.T, copies int, done string) (refused int) {
	var work, tables []string
	for _, engine := range []string{"Aria", "MyISAM"} {
		for i := range 4 {
			table := fmt.Sprintf("o.%s%d", engine, i)
			insert := "INSERT INTO " + table + " (round, v) VALUES (1, REPEAT('x', 20000)), (7, 'y')"
			s.srv.Exec("CREATE OR REPLACE TABLE "+table+" (id INT AUTO_INCREMENT PRIMARY KEY, round INT, v LONGBLOB, KEY (round)) ENGINE="+engine, insert)
			work = append(work, insert, insert)
			for sql := range strings.SplitSeq(done, "; ") {
				work = append(work, strings.ReplaceAll(sql, "$t", table))
			}
			work, tables = append(work, insert), append(tables, table)
		}
	}
	stop := s.repeat(work)
	defer stop()
	for range copies {
		var stream bytes.Buffer
		if _, err := s.engine().Stream(context.Background(), &stream); err != nil {
			if strings.Contains(err.Error(), "error: aria_read") { // the tool has noticed by itself
				refused++
				continue
			}
			if !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "o/") || fault.HintOf(err) == "" {
				t.Fatal(err)
			}
			refused++
			continue
		}
		s.sound(t, &stream, tables)
	}
	return refused
}

// sound checks tables on a server on a copy.
func (s *site) sound(t *testing.T, stream *bytes.Buffer, tables []string) {
	again := s.start(stream)
	defer again.Close()
	for _, table := range tables {
		for _, sql := range []string{"CHECK TABLE $t EXTENDED",
			"SELECT IF((SELECT COUNT(*) FROM $t) = (SELECT COUNT(v) FROM $t), 'OK', 'another count')",
			"SELECT IF((SELECT COUNT(*) FROM $t FORCE INDEX (round) WHERE round > 0) = (SELECT COUNT(v) FROM $t), 'OK', 'another index')"} {
			sql = strings.ReplaceAll(sql, "$t", table)
			rows, err := again.Process.Query(sql)
			if err != nil || rows[len(rows)-1][len(rows[0])-1] != "OK" {
				t.Errorf("%s on the copy: %v, %v", sql, rows, err)
			}
		}
	}
}
