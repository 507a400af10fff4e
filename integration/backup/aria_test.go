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

// TestAria copies tables of Aria while they are truncated and written to, which mariadb-backup gets wrong without a word.
// Such a copy is refused; one that is not refused is right.
func TestAria(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), aria, tools...)
}

func aria(t *testing.T, b servertest.Binaries) {
	s := newSite(t, b)
	const tables = 6
	s.srv.Exec("CREATE DATABASE aria")
	for i := range tables {
		s.srv.Exec(fmt.Sprintf("CREATE TABLE aria.t%d (id INT AUTO_INCREMENT PRIMARY KEY, round INT, v LONGBLOB) ENGINE=Aria", i))
	}
	// In a table there are rows of one round only, at any time.
	var rewrites, inserts []string
	for i := range 60 {
		insert := fmt.Sprintf("INSERT INTO aria.t%d (round, v) VALUES (%d, REPEAT('x', 20000)), (%[2]d, 'y'), (%[2]d, 'z')", i%tables, i)
		rewrites = append(rewrites, fmt.Sprintf("TRUNCATE TABLE aria.t%d", i%tables), insert, "DO SLEEP(0.03)", insert)
		inserts = append(inserts, fmt.Sprintf("INSERT INTO aria.t%d (round, v) VALUES (7, REPEAT('x', 20000)), (7, 'y')", i%tables))
	}
	refused, right := 0, 0
	copies := func() {
		t.Helper()
		var stream bytes.Buffer
		if _, err := s.engine().Stream(context.Background(), &stream); err != nil {
			if !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "the log of Aria does not fit the copy of aria/t") || fault.HintOf(err) == "" {
				t.Fatal(err)
			}
			refused++
			return
		}
		again := s.start(&stream)
		defer again.Close()
		for i := range tables {
			for sql, want := range map[string]string{
				"CHECK TABLE aria.t%d":                                                           "OK",
				"SELECT COUNT(DISTINCT round) <= 1 FROM aria.t%d":                                "1",
				"SELECT (SELECT COUNT(*) FROM aria.t%[1]d) = (SELECT COUNT(v) FROM aria.t%[1]d)": "1",
			} {
				sql = fmt.Sprintf(sql, i)
				rows, err := again.Process.Query(sql)
				if err != nil || rows[0][len(rows[0])-1] != want {
					t.Errorf("%s on the copy: %v, %v, expected %s", sql, rows, err, want)
				}
			}
		}
		right++
	}
	copies()
	stop := s.repeat(inserts)
	copies()
	stop()
	if refused > 0 {
		t.Errorf("refused %d times though nothing was truncated", refused)
	}
	for _, sql := range rewrites[:4*tables] { // what was inserted is of another round
		s.srv.Exec(sql)
	}
	for _, pause := range []string{"DO SLEEP(0.03)", "DO SLEEP(1)"} {
		stop := s.repeat(strings.Split(strings.ReplaceAll(strings.Join(rewrites, "\n"), "DO SLEEP(0.03)", pause), "\n"))
		for range 5 {
			copies()
		}
		stop()
	}
	if refused == 0 {
		t.Error("none was refused: mariadb-backup has changed, or the test shows nothing")
	}
	t.Logf("%d copies refused, %d right", refused, right)
}
