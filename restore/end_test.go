package restore

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/internal/mysqld/hostiletest"
)

// TestEnd: what the log leaves in the server is in the report: XA transactions that are prepared and hold locks, and
// scheduled events that do not run. A server that is not where the plan ends is refused.
func TestEnd(t *testing.T) {
	const uuid = "00000000-0000-0000-0000-00000000000a"
	for _, flavor := range []gtid.Flavor{gtid.MariaDB, gtid.MySQL} {
		at, other := "0-1-5", "0-1-4"
		if flavor == gtid.MySQL {
			at, other = uuid+":1-5", uuid+":1-4"
		}
		for _, prepared := range [][]string{nil, {"'a'"}, {"'a'", "'b','c',7"}} {
			said := hostiletest.Answers{
				"SELECT @@GLOBAL.gtid_slave_pos":         hostiletest.Row(at),
				"SELECT REPLACE(@@GLOBAL.gtid_executed,": hostiletest.Row(at),
				"STOP ":                                  {}, "RESET ": {},
				"SELECT event_schema, event_name FROM": {Rows: [][]string{{"d", "before"}, {"d", "late"}}},
				"SELECT table_schema, table_name":      {},
				"XA RECOVER":                           {Columns: []string{"formatID", "gtrid_length", "bqual_length", "data"}},
			}
			for _, xid := range prepared {
				answer := said["XA RECOVER"]
				answer.Rows = append(answer.Rows, []string{"1", "1", "0", xid})
				said["XA RECOVER"] = answer
			}
			for _, position := range []string{at, other} {
				report, err := ended(t, flavor, said, position)
				if position != at {
					if !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), "is at GTID position "+at) {
						t.Errorf("%s: a server at another position: %v", flavor, err)
					}
					continue
				}
				if err != nil || !slices.Equal(report.PreparedXA, prepared) || !slices.Equal(report.EventsDisabled, []string{"`d`.`late`"}) {
					t.Errorf("%s: with %q prepared the report has %q, and events %q, %v", flavor, prepared, report.PreparedXA, report.EventsDisabled, err)
				}
				warned := slices.ContainsFunc(report.Warnings, func(w string) bool { return strings.Contains(w, "XA transactions are prepared") })
				if warned != (len(prepared) > 0) {
					t.Errorf("%s: with %q prepared the report warns %q", flavor, prepared, report.Warnings)
				}
			}
		}
	}
}

// ended ends the restore to a position on a server that says what it is told to say.
func ended(t *testing.T, flavor gtid.Flavor, said hostiletest.Answers, position string) (*Report, error) {
	t.Helper()
	conn, err := client.ConnectWithContext(t.Context(), (&hostiletest.Server{Answers: said}).Listen(t), "u", "", "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want, err := parsePosition(flavor, position)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{
		plan:    &Plan{base: &catalog.Base{Flavor: flavor}, start: want, position: want},
		reached: want,
		report:  new(Report),
		work:    &workspace{state: state{Disabled: []string{"`d`.`before`"}}},
	}
	p := private{run: r, conn: &mysqld.Conn{Conn: conn}}
	if flavor == gtid.MySQL {
		return r.report, (&mysql{p}).end()
	}
	return r.report, (&mariadb{p}).end()
}
