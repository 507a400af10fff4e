package restoring

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// archived is a server that is archived, with a base backup.
type archived struct {
	srv       *servertest.Server
	d         *harness.Daemon
	dir       string // temporary
	tool, cfg string
	position  string // asks for the GTID position
}

// archive starts a server, has it execute the statements in one session, and archives it. It returns when
// there is a base backup.
func archive(t *testing.T, b servertest.Binaries, statements ...string) *archived {
	t.Helper()
	harness.Use(t, b)
	redo := "--innodb-log-file-size=512M" // that a base backup can follow
	if b.Flavor == servertest.MySQL {
		redo = "--innodb-redo-log-capacity=512M"
	}
	a := &archived{dir: t.TempDir(), position: "SELECT @@gtid_binlog_pos",
		srv: servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{redo}})}
	if b.Flavor == servertest.MySQL {
		a.position = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"
		a.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	a.srv.CreateUser(servertest.User, "secret")
	a.srv.Exec(statements...)
	var err error
	if a.tool, err = harness.Build(a.dir); err != nil {
		t.Fatal(err)
	}
	if a.cfg, err = (harness.Config{Dir: a.dir, Primary: a.srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 200ms}\n    heartbeat: 1s\n"}).Write(); err != nil {
		t.Fatal(err)
	}
	if a.d, err = harness.Start(a.tool, a.cfg, filepath.Join(a.dir, "run.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.d.Kill)
	if err := a.d.Await(context.Background(), 2*time.Minute, func(c harness.Status) bool { return c.LastBackup.ID != "" }); err != nil {
		t.Fatal(err)
	}
	return a
}

// at is the server's GTID position.
func (a *archived) at() string { return a.srv.Value(a.position) }

// settled waits until all that the server has is archived, and returns the position there.
func (a *archived) settled(t *testing.T) string {
	t.Helper()
	end := a.at()
	if err := a.d.Await(context.Background(), time.Minute, func(c harness.Status) bool { return c.Archived.GTID == end }); err != nil {
		t.Fatal(err)
	}
	return end
}

// end waits until all that the server has is archived, ends archiving, and returns the position there.
func (a *archived) end(t *testing.T) string {
	t.Helper()
	end := a.settled(t)
	if err := a.d.Stop(); err != nil {
		t.Fatal(err)
	}
	return end
}
