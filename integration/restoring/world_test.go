// Package restoring tests restores end to end: a real server, the tidemark program, and the truth.
package restoring

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/fault"
	"tidemark/restore"
)

// makeT makes the table to which rows adds.
const makeT = "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY)"

// archive is a primary that has executed the statements in one session, archived, with a base backup.
func archive(t *testing.T, b servertest.Binaries, statements ...string) *kit.World {
	t.Helper()
	return kit.Archived(t, kit.Setup{Binaries: b, SQL: statements})
}

// redo is the option of a redo log that holds large rows, and that a base backup under a load can follow.
func redo(b servertest.Binaries) string {
	if b.Flavor == servertest.MySQL {
		return "--innodb-redo-log-capacity=512M"
	}
	return "--innodb-log-file-size=512M"
}

// busy is a primary whose base backup was taken under a workload, which goes on. It has a table marks.m
// of the test's own.
func busy(t *testing.T, b servertest.Binaries, seed uint64, o workload.Options) (*kit.World, *kit.Load) {
	t.Helper()
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=8M", redo(b)},
		SQL:     []string{"CREATE DATABASE marks", "CREATE TABLE marks.m (id INT AUTO_INCREMENT PRIMARY KEY)"},
		Cluster: []string{"segment: {max_age: 500ms, max_size: 2MiB}", "heartbeat: 1s"}})
	load := w.NewLoad(seed, o)
	w.Start()
	load.Begin(4)
	w.AwaitBase()
	load.Rebuild()
	return w, load
}

// finish ends a load, and the archiving when all is archived, and returns what the primary holds then.
func finish(w *kit.World, load *kit.Load) workload.Checkpoint {
	w.T.Helper()
	load.End()
	last := w.Truth("the end")
	w.End()
	return last
}

// gtidOf executes statements on the primary that are one transaction of its log, and returns the GTID.
// Nobody else writes meanwhile.
func gtidOf(w *kit.World, statements ...string) string {
	w.T.Helper()
	ask := "SELECT @@last_gtid"
	if w.Server.Binaries.Flavor == servertest.MySQL {
		ask = "SELECT GTID_SUBTRACT(REPLACE(@@GLOBAL.gtid_executed, '\n', ''), '" + w.Server.Position() + "')"
	}
	conn := w.Server.Conn()
	defer conn.Close()
	execute(w.T, conn, statements...)
	answer, err := conn.Execute(ask)
	if err != nil {
		w.T.Fatalf("%s: %v", ask, err)
	}
	id, err := answer.GetString(0, 0)
	if err != nil {
		w.T.Fatalf("%s: %v", ask, err)
	}
	return id
}

// execute executes statements in a session.
func execute(t *testing.T, conn *client.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Execute(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// done runs the program, which must have nothing to warn of, and returns what it printed.
func done(w *kit.World, args ...string) string {
	w.T.Helper()
	return w.RunTo([]int{0}, args...)
}

// warned runs the program, which must have done its work with warnings, and returns all that it said.
func warned(w *kit.World, args ...string) string {
	w.T.Helper()
	return w.Refused(fault.Warnings.ExitCode(), args...)
}

// open starts a server on a restored directory for a look, and removes the directory.
func open(w *kit.World, target string, look func(*servertest.Server)) {
	w.T.Helper()
	again := servertest.Start(w.T, servertest.Options{ServerID: 99, Datadir: target, Binaries: w.Server.Binaries})
	defer os.RemoveAll(target)
	defer again.Close()
	look(again)
}

// clock is a server's, in whole seconds.
func clock(srv *servertest.Server) time.Time {
	seconds, err := strconv.ParseInt(srv.Value("SELECT UNIX_TIMESTAMP()"), 10, 64)
	if err != nil {
		panic(err)
	}
	return time.Unix(seconds, 0).UTC()
}

// nextSecond waits for a whole second of a server's clock, and returns it: all that is committed by now is
// older, and all that will be is not.
func nextSecond(srv *servertest.Server) time.Time {
	next := clock(srv).Add(time.Second)
	for clock(srv).Before(next) {
		time.Sleep(20 * time.Millisecond)
	}
	return next
}

// within is a path in a new directory.
func within(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(t.TempDir(), name)
}

// rows adds rows to d.t, each of them one transaction.
func rows(w *kit.World, n int) {
	w.T.Helper()
	conn := w.Server.Conn()
	defer conn.Close()
	for range n {
		execute(w.T, conn, "INSERT INTO d.t VALUES ()")
	}
}

// backup takes a base backup and returns its ID.
func backup(w *kit.World) string {
	w.T.Helper()
	var b struct{ ID string }
	w.JSON(&b, "backup", "shop")
	return b.ID
}

// planOf is the plan of a restore: the base backup that it begins with, and where it stops.
func planOf(w *kit.World, args ...string) restore.Plan {
	w.T.Helper()
	var p restore.Plan
	w.JSON(&p, append([]string{"restore", "shop", "--dry-run", "--target-dir", within(w.T, "planned")}, args...)...)
	return p
}
