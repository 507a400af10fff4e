package restoring

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/restore"
)

// standing is a restored server that was left running.
type standing struct {
	t      *testing.T
	mysql  bool
	report restore.Report
}

// startRestored restores with --start and more arguments, with an option file that would make it somebody
// else's server if it were obeyed in everything.
func startRestored(w *kit.World, args ...string) *standing {
	t := w.T
	t.Helper()
	dir := t.TempDir()
	options := filepath.Join(dir, "my.cnf")
	const others = "[mysqld]\nmax_connections=77\nserver_id=7\ndatadir=/nonexistent\nport=1\nlog_bin=other\n"
	if err := os.WriteFile(options, []byte(others), 0o644); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(dir, 0o755)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	socket, err := os.MkdirTemp("/tmp", "tidemark-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socket) })
	said := done(w, append([]string{"restore", "shop", "--target-dir", filepath.Join(dir, "restored"), "--start",
		"--port", strconv.Itoa(port),
		"--socket", filepath.Join(socket, "sock"), "--defaults-extra-file", options, "--json"}, args...)...)
	s := &standing{t: t, mysql: w.Server.Binaries.Flavor == servertest.MySQL}
	if err := json.Unmarshal([]byte(said), &s.report); err != nil || s.report.Server == nil {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log, _ := os.ReadFile(s.report.Server.Log)
			t.Logf("log of the server that was started:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return s
}

func (s *standing) kill() { _ = syscall.Kill(s.report.Server.PID, syscall.SIGKILL) }

// conn is a session of root; the caller closes it.
func (s *standing) conn() *client.Conn {
	s.t.Helper()
	c, err := client.Connect(s.report.Server.Socket, "root", "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// exec runs statements in one session of root.
func (s *standing) exec(statements ...string) {
	s.t.Helper()
	c := s.conn()
	defer c.Close()
	execute(s.t, c, statements...)
}

// value is the first of a query; "" if there is no row.
func (s *standing) value(sql string) string {
	s.t.Helper()
	return s.column(sql, 0)
}

// column is one of the first row; "" if there is none.
func (s *standing) column(sql string, n int) string {
	s.t.Helper()
	c := s.conn()
	defer c.Close()
	r, err := c.Execute(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	if r.RowNumber() == 0 {
		return ""
	}
	v, err := r.GetString(0, n)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// position is its GTID position, that of what it has replicated included.
func (s *standing) position() string {
	s.t.Helper()
	if s.mysql {
		return s.value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	}
	return s.value("SELECT IF(@@gtid_binlog_pos = '', @@gtid_slave_pos, @@gtid_binlog_pos)")
}

// follow executes exactly what a guide of the report says, with the words in capitals replaced.
func (s *standing) follow(guide string, words ...string) {
	s.t.Helper()
	for _, g := range s.report.Guides {
		if g.For != guide {
			continue
		}
		for _, sql := range g.Statements {
			s.exec(strings.NewReplacer(words...).Replace(sql))
		}
		return
	}
	s.t.Fatalf("there is no guide for %q in %+v", guide, s.report.Guides)
}

// checkLeftBehind: a standby that has applied what a new timeline left behind ends, and opens as it is.
func checkLeftBehind(w *kit.World, f *follower) {
	t := w.T
	t.Helper()
	select {
	case err := <-f.ended:
		if kit.ExitCode(err) != 13 || !strings.Contains(f.log.String(), "does not go on from") {
			t.Errorf("left behind, the standby ends with %v\n%s", err, f.log)
		}
	case <-time.After(time.Minute):
		t.Fatalf("left behind, the standby goes on: %+v", f.status())
	}
	if pid := serverOn(f.target); pid != 0 {
		t.Errorf("process %d still runs on %s", pid, f.target)
	}
	said := done(w, "restore", "shop", "--target-dir", f.target, "--timeline", "1", "--json")
	var opened restore.Report
	if err := json.Unmarshal([]byte(said), &opened); err != nil || !opened.Done || opened.Resumed == nil || opened.Restarted {
		t.Errorf("opened on its timeline: %v\n%s", err, said)
	}
}

// TestStart leaves restored servers running and makes of them what the report says: one joins the living
// primary, is promoted when that dies, stopped, and started again; another one, that lacks what is archived,
// becomes the primary, and is archived as a timeline of its own that can be restored. A standby that followed the
// old one ends then.
func TestStart(t *testing.T) { kit.Each(t, "", kit.Servers(3), start) }

func start(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(99))",
		"CREATE USER repl@'%' IDENTIFIED BY 'repl'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	w.Server.Exec(insertions(20, "archived")...)
	early := w.Server.Position()
	w.Server.Exec(insertions(9, "lost")...)
	last := gtidOf(w, "INSERT INTO d.t (v) VALUES ('lost 9')")
	settled := w.Settle()
	standby := follow(w, within(t, "standby"))
	standby.applied(last)
	s := startRestored(w)
	checkStanding(w, s, settled)
	checkReplica(w, s)
	checkStops(s)

	fork := startRestored(w, "--to-gtid", early)
	checkStanding(w, fork, early)
	w.End()
	w.Server.Stop()
	fork.follow("primary")
	fork.exec("INSERT INTO d.t (v) VALUES ('early')") // before it is archived
	archiveFork(w, fork)
	checkLeftBehind(w, standby)
}

// insertions are n statements that each insert a row, numbered from 0.
func insertions(n int, what string) (statements []string) {
	for i := range n {
		statements = append(statements, fmt.Sprintf("INSERT INTO d.t (v) VALUES ('%s %d')", what, i))
	}
	return statements
}

// checkStanding checks that a server stands as it should: detached, itself, and with nothing but the data.
func checkStanding(w *kit.World, s *standing, position string) {
	t := w.T
	t.Helper()
	r := s.report.Server
	if pid, err := os.ReadFile(r.PIDFile); err != nil || strings.TrimSpace(string(pid)) != strconv.Itoa(r.PID) {
		t.Errorf("the pid file holds %s, %v; the report says %d", pid, err, r.PID)
	}
	if sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(r.PID), 0, 0); errno != 0 || int(sid) != r.PID {
		t.Errorf("the server is in session %d, not its own %d: %v", sid, r.PID, errno)
	}
	for sql, want := range map[string]string{
		"SELECT @@server_id":                                             strconv.FormatUint(uint64(r.ServerID), 10),
		"SELECT @@max_connections":                                       "77",
		"SELECT @@log_bin":                                               "1",
		"SELECT @@log_bin_basename LIKE '%/binlog'":                      "1",
		"SELECT @@innodb_flush_log_at_trx_commit":                        "1",
		"SELECT CONCAT(@@bind_address, ':', @@port)":                     r.Address,
		s.showReplica():                                                  "",
		"SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark\\_%'": "0",
	} {
		if got := s.value(sql); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	if got := s.position(); got != position {
		t.Errorf("the server is at %s, want %s", got, position)
	}
	if r.ServerID == 7 || s.report.GTID != position {
		t.Errorf("server_id %d, at %s, want another than 7 and %s", r.ServerID, s.report.GTID, position)
	}
	connect := strings.Replace(r.Connect, "mariadb ", w.Server.Binaries.Client+" ", 1) + " -uroot -e 'SELECT 1'"
	if out, err := exec.Command("sh", "-c", connect).CombinedOutput(); err != nil && !s.mysql {
		t.Errorf("%s: %v\n%s", r.Connect, err, out)
	}
}

// checkReplica joins a server to the living primary, which goes on writing, and promotes it.
func checkReplica(w *kit.World, s *standing) {
	t := w.T
	t.Helper()
	s.follow("replica", "HOST", "127.0.0.1", "PORT", strconv.Itoa(w.Server.Port), "USER", "repl", "PASSWORD", "repl")
	w.Server.Exec(append(insertions(20, "replicated"), "CREATE TABLE d.more AS SELECT * FROM d.t")...)
	want := w.Server.Position()
	wait := fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)", want)
	if s.mysql {
		wait = fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)", want)
	}
	if got := s.value(wait); got != "0" {
		c := s.conn()
		defer c.Close()
		r, err := c.Execute(s.showReplica())
		t.Fatalf("the replica is at %s after a minute, not at %s: %v %v", s.position(), want, r, err)
	}
	for _, table := range []string{"d.t", "d.more"} {
		sql := "CHECKSUM TABLE " + table
		if s.column(sql, 1) != w.Server.Query(sql)[0][1] {
			t.Errorf("%s is another one on the replica", table)
		}
	}
	if got := s.value("SELECT @@read_only"); got != "1" {
		t.Error("a replica takes writes")
	}
	s.follow("primary")
	s.exec("INSERT INTO d.t (v) VALUES ('written by the promoted one')")
	if got := s.value(s.showReplica()); got != "" {
		t.Errorf("it still replicates: %s", got)
	}
}

func (s *standing) showReplica() string {
	if s.mysql {
		return "SHOW REPLICA STATUS"
	}
	return "SHOW SLAVE STATUS"
}

// checkStops stops a server and starts it again, as the report says.
func checkStops(s *standing) {
	t := s.t
	t.Helper()
	r := s.report.Server
	if out, err := exec.Command("sh", "-c", r.Stop).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", r.Stop, err, out)
	}
	answers := func() bool {
		c, err := client.Connect(r.Socket, "root", "", "")
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	kit.Until(t, time.Minute, "the server stops", func() bool {
		_, err := os.Stat(r.PIDFile)
		return os.IsNotExist(err) && !answers()
	})
	again := exec.Command("sh", "-c", "exec "+r.Again)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Process.Kill(); _ = again.Wait() }()
	kit.Until(t, time.Minute, r.Again, answers)
	if got := s.value("SELECT @@server_id"); got != strconv.FormatUint(uint64(r.ServerID), 10) {
		t.Errorf("started again, it has server_id %s", got)
	}
}

// archiveFork archives a restored server under the same cluster name, and restores what it writes.
func archiveFork(w *kit.World, s *standing) {
	t := w.T
	t.Helper()
	w.Configure(func(c *kit.Setup) {
		c.Addr = s.report.Server.Address
		c.Cluster = append(slices.Clone(kit.Brisk), "fork_grace: 1s")
	})
	w.Start()
	s.exec("INSERT INTO d.t (v) VALUES ('on the new timeline')")
	end := s.position()
	w.Await("archived to "+end, func(c kit.Status) bool { return c.Archived.GTID == end })
	w.Stop()
	const content = "SELECT GROUP_CONCAT(v ORDER BY id) FROM d.t"
	want := s.value(content)
	again := startRestored(w)
	got := again.value(content)
	if got != want || !strings.Contains(want, "new timeline") || strings.Contains(want, "lost") || again.report.Timeline != 2 {
		t.Errorf("timeline %d holds %s, want %s", again.report.Timeline, got, want)
	}
	again.kill()
	if old := startRestored(w, "--timeline", "1"); !strings.Contains(old.value(content), "lost 9") {
		t.Error("the old timeline lacks what was lost")
	}
}
