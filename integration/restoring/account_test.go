package restoring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/restore"
)

// TestNoAccountIsLeft: a restore that stops has nothing left of its private account in what it restored, whether it was
// interrupted, in whatever phase, or its server could not apply the log.
func TestNoAccountIsLeft(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := archive(t, b, "CREATE DATABASE d", makeT)
		rows(w, 300)
		good := w.Truth("the end of what can be applied")
		conn := w.Server.Conn()
		defer conn.Close()
		// The base backup has a row of which the log makes another one.
		execute(t, conn, "SET sql_log_bin=0", "INSERT INTO d.t VALUES (9000)", "SET sql_log_bin=1")
		backup(w)
		execute(t, conn, "SET sql_log_bin=0", "DELETE FROM d.t WHERE id=9000", "SET sql_log_bin=1", "INSERT INTO d.t VALUES (9000)")
		w.End()

		target := within(t, "refused")
		if said := w.Refused(1, "restore", "shop", "--target-dir", target); !strings.Contains(said, "error 1062") {
			t.Errorf("the log is not refused because of a row that is there twice:\n%s", said)
		}
		noAccount(w, target, "it failed")
		for _, phase := range []restore.Phase{restore.Start, restore.Apply, restore.Finish} {
			target := within(t, "interrupted")
			interrupt(w, phase, "restore", "shop", "--target-dir", target, "--to-gtid", good.GTIDPos)
			noAccount(w, target, "it was interrupted in phase "+string(phase))
		}
	})
}

// interrupt runs a restore, and interrupts it when a phase begins.
func interrupt(w *kit.World, phase restore.Phase, args ...string) {
	w.T.Helper()
	log := &phaseLog{until: phase, reached: make(chan struct{})}
	cmd := w.Command(append(args, "--log-level", "info", "--log-format", "json")...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), log
	if err := cmd.Start(); err != nil {
		w.T.Fatal(err)
	}
	<-log.reached
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		w.T.Fatal(err)
	}
	if code := kit.ExitCode(cmd.Wait()); code != 130 && code != 0 {
		w.T.Errorf("interrupted in phase %s, it ends with exit code %d:\n%s", phase, code, log)
	}
}

// noAccount looks for private accounts in what a restore has left.
func noAccount(w *kit.World, target, why string) {
	w.T.Helper()
	if _, err := os.Stat(filepath.Join(target, "mysql")); err != nil {
		w.T.Fatal(err)
	}
	open(w, target, func(srv *servertest.Server) {
		if found := srv.Query("SELECT user, host FROM mysql.user WHERE user LIKE 'tidemark\\_%'"); len(found) > 0 {
			w.T.Errorf("%s: %v is left", why, found)
		}
	})
}
