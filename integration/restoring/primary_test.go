package restoring

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// primary is a server under a workload, archived with a base backup.
type primary struct {
	srv    *servertest.Server
	load   *workload.Workload
	daemon *harness.Daemon
	dir    string // temporary
	tool   string
	cfg    string

	stop    context.CancelFunc // of the workload
	written chan error
}

// begin starts a primary, and returns when a base backup has been taken under the workload.
func begin(t *testing.T, b servertest.Binaries, seed uint64, o workload.Options) *primary {
	t.Helper()
	harness.Use(t, b)
	mysql := b.Flavor == servertest.MySQL
	extra := []string{"--max-binlog-size=8M", "--innodb-log-file-size=512M"}
	o.Without = append(o.Without, workload.Recreated)
	if mysql { // clones have no rows of other engines
		o.Without, extra[1] = append(o.Without, workload.NonTransactional), "--innodb-redo-log-capacity=512M"
	}
	p := &primary{srv: servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: extra}), dir: t.TempDir()}
	if mysql {
		p.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	p.srv.CreateUser(servertest.User, "secret")
	p.srv.Exec("CREATE DATABASE marks", "CREATE TABLE marks.m (id INT AUTO_INCREMENT PRIMARY KEY)")
	var err error
	if p.tool, err = harness.Build(p.dir); err != nil {
		t.Fatal(err)
	}
	if p.cfg, err = (harness.Config{Dir: p.dir, Primary: p.srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 500ms, max_size: 2MiB}\n    heartbeat: 1s\n"}).Write(); err != nil {
		t.Fatal(err)
	}
	p.load = workload.New(int64(seed>>1), o)
	if err := p.load.Setup(p.srv.Conn()); err != nil {
		t.Fatal(err)
	}
	if p.daemon, err = harness.Start(p.tool, p.cfg, filepath.Join(p.dir, "run.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.daemon.Kill)
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	t.Cleanup(p.stop)
	p.written = make(chan error, 1)
	go func() {
		p.written <- p.load.Run(ctx, func() (*client.Conn, error) { return p.srv.Process.Conn() }, 4, 0)
	}()
	if err := p.daemon.Await(ctx, 2*time.Minute, func(c harness.Status) bool { return c.LastBackup.ID != "" }); err != nil {
		said, _ := exec.Command("sh", "-c", "tail -n 40 "+p.dir+"/state/*/mariadb-backup-*.log "+p.dir+"/state/*/*/mariadb-backup-*.log").CombinedOutput()
		t.Fatalf("%v\n%s\n%v", err, said, p.srv.Query("SHOW PROCESSLIST"))
	}
	p.load.Rebuild()
	return p
}

// end ends the workload, and the archiving when all is archived, and returns what the server holds then.
func (p *primary) end(t *testing.T) workload.Checkpoint {
	t.Helper()
	p.stop()
	if err := <-p.written; err != nil {
		t.Fatal(err)
	}
	last := take(t, p.srv, "the end")
	if err := p.daemon.Await(context.Background(), time.Minute, func(c harness.Status) bool { return c.Archived == c.Primary && c.Archived.GTID == last.GTIDPos }); err != nil {
		t.Fatal(err)
	}
	if err := p.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	return last
}

// compare starts a server on restored data and compares it with what the primary held.
func (p *primary) compare(t *testing.T, target string, want workload.Checkpoint) {
	t.Helper()
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: p.srv.Binaries})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := again.Conn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := workload.Compare(conn, want); err != nil {
		t.Error(err)
		p.trace(t, err)
	}
	ask := "SELECT @@gtid_slave_pos"
	if p.srv.Binaries.Flavor == servertest.MySQL {
		ask = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"
	}
	if pos, err := again.Value(ask); err != nil || pos != want.GTIDPos {
		t.Errorf("GTID position %s restored, %s expected, %v", pos, want.GTIDPos, err)
	}
	if n, err := again.Value("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark%' AND host='localhost'"); err != nil || n != "0" {
		t.Errorf("%s private accounts are left, %v", n, err)
	}
}

// trace says where the log last makes and drops what differs, so that it is known whether the base backup
// should have held it.
func (p *primary) trace(t *testing.T, err error) {
	t.Helper()
	var d *workload.Difference
	if !errors.As(err, &d) {
		return
	}
	for object, how := range d.Found {
		kind, name, _ := strings.Cut(object, " ")
		for _, verb := range []string{"CREATE", "DROP"} {
			statement := verb + " " + strings.ToUpper(kind) + " " + name
			out, err := exec.Command(p.tool, "restore", "shop", "--config", p.cfg, "--dry-run", "--before-statement", statement).CombinedOutput()
			t.Logf("%s %s; the last %s: %v\n%s", object, how, statement, err, out)
		}
		p.mentions(t, name[strings.LastIndex(name, ".")+1:])
	}
}

// mentions prints what the primary's own binlogs say of a name, each time with the transaction.
func (p *primary) mentions(t *testing.T, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.srv.Datadir, "binlog.[0-9][0-9][0-9][0-9][0-9][0-9]"))
	if err != nil {
		t.Error(err)
	}
	for _, f := range files {
		out, err := exec.Command(p.srv.Binaries.Binlog, "--no-defaults", f).Output()
		if err != nil {
			t.Error(err)
		}
		transaction := ""
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "GTID_NEXT=") || strings.Contains(line, "\tGTID ") {
				transaction = strings.TrimSpace(line)
			}
			if strings.Contains(line, name) && !strings.HasPrefix(line, "#") {
				t.Logf("%s: %s: %.200s", filepath.Base(f), transaction, line)
			}
		}
	}
}
