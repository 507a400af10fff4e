package restoring

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/restore"
)

// TestResumedNumbers: a restore that is resumed says how many transactions had been applied before, not how many lie
// before the batch that its server had in hand.
func TestResumedNumbers(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := archive(t, b, "CREATE DATABASE d", makeT)
		w.Server.Exec("INSERT INTO d.t (id) VALUES (1)")
		rows(w, 4000)
		last := w.Truth("the end")
		w.End()
		total := planOf(w).Transactions
		for range 20 { // how far it gets before it is interrupted is any
			target := within(t, "restored")
			running, _ := begin(w, "--target-dir", target, "--threads", "0")
			watch(w, target, func(s handed) bool { return s.Handed > 0 })
			if err := running.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = running.Wait()
			var report restore.Report
			w.JSON(&report, "restore", "shop", "--target-dir", target)
			if report.Resumed == nil {
				continue // it had come to its end
			}
			left := number(t, last.GTIDPos) - number(t, report.Resumed.GTID)
			if got, want := report.Resumed.Transactions, total-left; got != want {
				t.Errorf("resumed at %s, with %d transactions applied before; %d of %d are left", report.Resumed.GTID, got, left, total)
			}
			if report.Transactions != total {
				t.Errorf("%d transactions in all, not %d", report.Transactions, total)
			}
			if left == 0 || left >= total {
				continue
			}
			w.TargetEquals(target, last)
			return
		}
		t.Error("no restore was interrupted with some transactions applied, and some not")
	})
}

// TestBaseAfterDefinitions: what a base backup holds is not applied again, so definitions in the log before its position
// do not make a restore one that has to begin again.
func TestBaseAfterDefinitions(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := archive(t, b, "CREATE DATABASE d", makeT, "CREATE TABLE d.u (id INT)", "DROP TABLE d.u")
		rows(w, 3000)
		w.End()
		target := within(t, "restored")
		running, said := begin(w, "--target-dir", target)
		watch(w, target, func(s handed) bool {
			if s.Fragile != "" {
				t.Errorf("from %s on, it would begin again", s.Fragile)
			}
			return s.Handed > 0
		})
		if err := running.Wait(); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
}

// begin starts a restore.
func begin(w *kit.World, args ...string) (*exec.Cmd, *bytes.Buffer) {
	w.T.Helper()
	cmd, said := w.Command(append([]string{"restore", "shop"}, args...)...), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		w.T.Fatal(err)
	}
	return cmd, said
}

// handed is what the state of a running restore says of what its server has in hand.
type handed struct {
	Handed  uint64
	Fragile string
}

// watch reads the state of a restore until it is as wished.
func watch(w *kit.World, target string, ok func(handed) bool) {
	w.T.Helper()
	kit.Until(w.T, time.Minute, "the state of the restore", func() bool {
		var s handed
		data, err := os.ReadFile(target + ".tidemark/state.json")
		return err == nil && json.Unmarshal(data, &s) == nil && ok(s)
	})
}

// number is the last one of a position of a single server.
func number(t *testing.T, position string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(position[strings.LastIndexAny(position, "-:")+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
