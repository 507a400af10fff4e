package applying

import (
	"bufio"
	"context"
	"os"
	"path"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/gtid"
	"tidemark/internal/variables"
)

// TestEveryVariable: each variable of a server was looked at, and a server that is given what another recorded
// has it.
func TestEveryVariable(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		srv := servertest.Start(t, servertest.Options{Binaries: b, Extra: []string{"--innodb-strict-mode=ON", "--max-heap-table-size=16M",
			"--ft-min-word-len=2", "--group-concat-max-len=9999", "--default-week-format=3", "--sql-mode="}})
		flavor := flavorOf(srv)
		harmless := harmlessNames(t)
		recorded := map[string]string{}
		for _, row := range srv.Query("SHOW GLOBAL VARIABLES") {
			recorded[row[0]] = row[1]
			switch known := isKnown(row[0], flavor); {
			case known && matches(harmless, row[0]):
				t.Errorf("%s is in the table, and harmless", row[0])
			case !known && !matches(harmless, row[0]):
				t.Errorf("nobody has looked at the variable %s yet: put it into variables.Table or testdata/harmless.txt", row[0])
			}
		}
		srv.Stop()
		applier, err := launchWith(context.Background(), t, srv, nil, recorded)
		if err != nil {
			t.Fatal(err)
		}
		defer applier.Close()
		conn, err := applier.Connect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		rows, err := conn.Query("SHOW GLOBAL VARIABLES")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, row := range rows {
			got[row[0]] = row[1]
		}
		for _, v := range variables.Table() {
			was, had := recorded[v.Name]
			if !had {
				continue
			}
			want := was
			if v.Use == variables.Forced {
				want = v.Value
			}
			if v.Use == variables.Raised && len(was) <= len(v.Value) {
				want = v.Value
			}
			if v.Use != variables.Reported && got[v.Name] != want && !(v.Use == variables.Raised && len(got[v.Name]) >= len(was)) {
				t.Errorf("%s, %s: it is %q, not %q", v.Name, v.Use, got[v.Name], want)
			}
		}
	})
}

func flavorOf(srv *servertest.Server) gtid.Flavor {
	if srv.Binaries.Flavor == servertest.MySQL {
		return gtid.MySQL
	}
	return gtid.MariaDB
}

func isKnown(name string, flavor gtid.Flavor) bool {
	for _, v := range variables.Table() {
		if v.Name == name && (v.Flavor == 0 || v.Flavor == flavor) {
			return true
		}
	}
	return false
}

func harmlessNames(t *testing.T) (patterns []string) {
	t.Helper()
	f, err := os.Open("../../internal/variables/testdata/harmless.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "because: ") {
			patterns = append(patterns, line)
		}
	}
	return patterns
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

// TestSystemTimeZone: the server that applies the log has the time zone of the primary's machine, also where its own
// has no data of zones.
func TestSystemTimeZone(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		srv := servertest.Start(t, servertest.Options{Binaries: b})
		srv.Stop()
		// Berlin's since 1980, without the years between: standard time, and in 2026 summer time from March 29 to October 25.
		recorded := map[string]string{variables.Offsets: "3600 1774746000+7200 1792890000+3600", "time_zone": "SYSTEM"}
		applier, err := launchWith(context.Background(), t, srv, nil, recorded)
		if err != nil {
			t.Fatal(err)
		}
		defer applier.Close()
		conn, err := applier.Connect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for sql, want := range map[string]string{
			"SELECT FROM_UNIXTIME(1774745999) AS x":                    "2026-03-29 01:59:59",
			"SELECT FROM_UNIXTIME(1774746000) AS x":                    "2026-03-29 03:00:00",
			"SELECT UNIX_TIMESTAMP('2026-07-01 12:00:00') AS x":        "1782900000",
			"SELECT UNIX_TIMESTAMP('2026-12-01 12:00:00') AS x":        "1796122800",
			"SELECT CONCAT(@@global.time_zone, ' ', @@time_zone) AS x": "SYSTEM SYSTEM",
		} {
			row, err := conn.Row(sql)
			if err != nil || row["x"] != want {
				t.Errorf("%s is %q, %v; want %s", sql, row["x"], err, want)
			}
		}
	})
}
