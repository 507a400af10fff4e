package restoring

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestNothingToDo: statements that found nothing to do while a base backup was taken do nothing in a restore either,
// though they come before what they would undo. A clone does not say that they were executed.
func TestNothingToDo(t *testing.T) { kit.Each(t, "", kit.Servers(2), nothingToDo) }

func nothingToDo(t *testing.T, b servertest.Binaries) {
	const (
		sessions = 4
		long     = "SET GLOBAL group_concat_max_len=10000000"
		list     = "SELECT GROUP_CONCAT(routine_name ORDER BY routine_name) FROM information_schema.routines WHERE routine_schema='d'"
	)
	w := archive(t, b, "CREATE DATABASE d", long)
	made := make([]int, sessions)
	for round := range kit.CountOn(t, b, 3, 3) {
		var over atomic.Bool
		var all sync.WaitGroup
		for s := range sessions {
			conn := w.Server.Conn()
			all.Go(func() {
				for !over.Load() {
					name := fmt.Sprintf("d.f%d_%d", s, made[s])
					made[s]++
					for _, sql := range []string{"DROP FUNCTION IF EXISTS " + name,
						"CREATE FUNCTION " + name + "() RETURNS INT DETERMINISTIC RETURN 1"} {
						if _, err := conn.Execute(sql); err != nil {
							t.Errorf("%s: %v", sql, err)
							return
						}
					}
				}
			})
		}
		said, err := w.Command("backup", "shop").CombinedOutput()
		over.Store(true)
		all.Wait()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		w.Settle()
		target := within(t, "restored")
		restored := done(w, "restore", "shop", "--target-dir", target)
		open(w, target, func(again *servertest.Server) {
			again.Exec(long)
			if got, want := again.Value(list), w.Server.Value(list); got != want {
				t.Errorf("round %d: the functions are %d, and %d were\n%s", round, strings.Count(got, ",")+1, strings.Count(want, ",")+1, restored)
			}
		})
	}
}
