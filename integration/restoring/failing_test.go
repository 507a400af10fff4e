package restoring

import (
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestFailingTransaction: a restore that the server cannot go on with names the transaction, what it does, and the commands that
// get past it; these do.
func TestFailingTransaction(t *testing.T) { kit.Each(t, "", kit.Servers(2), failingTransaction) }

func failingTransaction(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	w.Server.Exec("INSERT INTO d.t VALUES (1)")
	hidden := w.Server.Conn()
	defer hidden.Close()
	execute(t, hidden, "SET sql_log_bin=0", "CREATE TABLE d.hidden (id INT PRIMARY KEY)")
	for _, id := range []string{"2", "3"} {
		w.Server.Exec("INSERT INTO d.t VALUES (" + id + ")")
	}
	w.Server.Exec("INSERT INTO d.hidden VALUES (7)")
	failing := last(w.Server.Position())
	w.Server.Exec("INSERT INTO d.t VALUES (4)")
	w.End()

	target := within(t, "restored")
	for _, threads := range []string{"0", "4"} {
		said := w.Refused(fault.Other.ExitCode(), "restore", "shop", "--target-dir", target, "--threads", threads)
		for _, s := range []string{"apply transaction " + failing, "INSERT INTO `d`.`hidden`", "error 1146", "--before-gtid " + failing, "--exclude-gtid " + failing + " --force"} {
			if !strings.Contains(said, s) {
				t.Fatalf("%s threads: it does not say %q:\n%s", threads, s, said)
			}
		}
	}
	w.RunTo([]int{3}, "restore", "shop", "--target-dir", target, "--exclude-gtid", failing, "--force")
	open(w, target, func(again *servertest.Server) {
		if got := again.Value("SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != "1,2,3,4" {
			t.Errorf("rows %s", got)
		}
	})
}

// last is the GTID of the transaction that led to a position.
func last(after string) string {
	if !strings.Contains(after, ":") {
		return after
	}
	id, numbers, _ := strings.Cut(after, ":")
	return id + ":" + numbers[strings.LastIndex(numbers, "-")+1:]
}
