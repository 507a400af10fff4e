package restoring

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// TestNothingToDo: statements that found nothing to do while a base backup was taken do nothing in a restore either,
// though they come before what they would undo. A clone does not say that they were executed.
func TestNothingToDo(t *testing.T) { servertest.Each(t, "", nothingToDo) }

func nothingToDo(t *testing.T, b servertest.Binaries) {
	a := archive(t, b, "CREATE DATABASE d")
	const sessions = 4
	made := make([]int, sessions)
	for round := range harness.CountOn(t, b, 3, 3) {
		var over atomic.Bool
		var all sync.WaitGroup
		for s := range sessions {
			conn := a.srv.Conn()
			all.Go(func() {
				for !over.Load() {
					name := fmt.Sprintf("d.f%d_%d", s, made[s])
					made[s]++
					for _, sql := range []string{"DROP FUNCTION IF EXISTS " + name, "CREATE FUNCTION " + name + "() RETURNS INT DETERMINISTIC RETURN 1"} {
						if _, err := conn.Execute(sql); err != nil {
							t.Errorf("%s: %v", sql, err)
							return
						}
					}
				}
			})
		}
		out, err := exec.Command(a.tool, "backup", "shop", "--config", a.cfg).CombinedOutput()
		over.Store(true)
		all.Wait()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		a.settled(t)
		target := filepath.Join(a.dir, "restored")
		out, err = exec.Command(a.tool, "restore", "shop", "--config", a.cfg, "--target-dir", target).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
		if err != nil {
			t.Fatal(err)
		}
		const list = "SELECT GROUP_CONCAT(routine_name ORDER BY routine_name) FROM information_schema.routines WHERE routine_schema='d'"
		a.srv.Exec("SET GLOBAL group_concat_max_len=10000000")
		if err := again.Exec("SET GLOBAL group_concat_max_len=10000000"); err != nil {
			t.Fatal(err)
		}
		want := a.srv.Value(list)
		if got, err := again.Value(list); err != nil || got != want {
			t.Errorf("round %d: the functions are %d, and %d were, %v\n%s", round, strings.Count(got, ",")+1, strings.Count(want, ",")+1, err, out)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
	}
}
