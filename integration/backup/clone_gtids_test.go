package backup

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestCloneGTIDs: what a copy has executed is what it says it has executed, also of DDL; only statements that found
// nothing to do it may not know of. Each session gives its transactions numbers of its own, and makes and drops
// a function, a procedure and a table in turn. What a restore makes of the holes is tried by TestNothingToDo.
func TestCloneGTIDs(t *testing.T) { onMySQL(t, cloneGTIDs) }

func cloneGTIDs(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b, "--max-connections=2000")
	const sessions = 4
	steps := []string{ // of a round, each one transaction
		"DROP FUNCTION IF EXISTS d.f%[1]d", "CREATE FUNCTION d.f%[1]d() RETURNS INT DETERMINISTIC RETURN 1", "INSERT INTO d.m VALUES (%[1]d, %[2]d)",
		"CREATE PROCEDURE d.p%[1]d() SELECT 1", "DROP FUNCTION d.f%[1]d", "CREATE TABLE d.c%[1]d (id INT)", "DROP PROCEDURE d.p%[1]d",
		"UPDATE d.m SET n = n + 1 WHERE s = %[1]d AND n = %[2]d", "DROP TABLE d.c%[1]d"}
	o.Exec("CREATE TABLE d.m (s INT, n INT, KEY (s, n))")
	gno := make([]int, sessions)
	for try := range kit.Count(t, 8) {
		stop := o.load(sessions, func(exec func(string) error, s, _ int) {
			for i, step := range steps {
				if strings.Contains(step, "%[2]d") {
					step = fmt.Sprintf(step, s, gno[s]-gno[s]%len(steps))
				} else {
					step = fmt.Sprintf(step, s)
				}
				gno[s]++
				if err := exec(fmt.Sprintf("SET gtid_next='aaaaaaaa-0000-0000-0000-%012d:%d'", s, gno[s])); err != nil {
					t.Error(err)
				}
				if err := exec(step); err != nil {
					t.Errorf("session %d, step %d: %s: %v", s, i, step, err)
				}
			}
		})
		time.Sleep(time.Duration(20+try%5*40) * time.Millisecond)
		stream, _ := o.clone(slowly(time.Duration(try%4) * 300 * time.Millisecond))
		stop()
		if t.Failed() {
			return
		}
		c := o.copied(stream, "--performance-schema=OFF") // which costs a third of its start
		executed := oneLine(c.Value("SELECT @@gtid_executed"))
		for s := range sessions {
			uuid := fmt.Sprintf("aaaaaaaa-0000-0000-0000-%012d:", s)
			_, set, _ := strings.Cut(executed, uuid)
			set, _, _ = strings.Cut(set, ",")
			last := 0
			for run := range strings.SplitSeq(set, ":") { // "1-225", "227"
				before, first := last, 0
				if set == "" {
					break
				}
				if n, err := fmt.Sscanf(run, "%d-%d", &first, &last); n == 1 {
					last = first
				} else if n != 2 {
					t.Fatalf("try %d: session %d has executed %s: %v", try, s, set, err)
				}
				for hole := before + 1; hole < first; hole++ {
					if hole%len(steps) != 1 {
						t.Errorf("try %d: session %d has executed %s: %d did something", try, s, set, hole)
					}
				}
			}
			at := last % len(steps) // steps of the round that are done
			have := func(query string) bool { return c.Value(query) == "1" }
			for what, want := range map[string][2]bool{
				"function":  {have(fmt.Sprintf("SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema='d' AND routine_name='f%d'", s)), at >= 2 && at < 5},
				"procedure": {have(fmt.Sprintf("SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema='d' AND routine_name='p%d'", s)), at >= 4 && at < 7},
				"table":     {have(fmt.Sprintf("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='d' AND table_name='c%d'", s)), at >= 6},
				"row":       {have(fmt.Sprintf("SELECT COUNT(*) FROM d.m WHERE s=%d AND n>=%d", s, last-at)), at >= 3},
			} {
				if want[0] != want[1] {
					t.Errorf("try %d: session %d has executed %s, step %d of a round: %s is there: %v, want %v", try, s, set, at, what, want[0], want[1])
				}
			}
		}
		c.Kill()
		os.Remove(stream)
		if t.Failed() {
			return
		}
	}
}
