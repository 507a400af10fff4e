package restoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/restore"
)

// standing is a restored server that was left running.
type standing struct {
	t        *testing.T
	report   restore.Report
	position string // asks for its GTID position
}

// startRestored restores with --start and more arguments, with an option file that would make it somebody
// else's server if it were obeyed in everything.
func (a *archived) startRestored(t *testing.T, args ...string) *standing {
	t.Helper()
	dir := t.TempDir()
	options := filepath.Join(dir, "my.cnf")
	if err := os.WriteFile(options, []byte("[mysqld]\nmax_connections=77\nserver_id=7\ndatadir=/nonexistent\nport=1\nlog_bin=other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(dir, 0o755)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	s := &standing{t: t, position: "SELECT @@gtid_slave_pos"}
	if a.srv.Binaries.Flavor == servertest.MySQL {
		s.position = a.position
	}
	socket, err := os.MkdirTemp("/tmp", "tidemark-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socket) })
	cmd := exec.Command(a.tool, append([]string{"restore", "shop", "--config", a.cfg, "--target-dir", filepath.Join(dir, "restored"), "--start", "--port", strconv.Itoa(port),
		"--socket", filepath.Join(socket, "sock"), "--defaults-extra-file", options, "--json"}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if err := json.Unmarshal(out, &s.report); err != nil || s.report.Server == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(s.report.Server.PID, syscall.SIGKILL)
		if t.Failed() {
			log, _ := os.ReadFile(s.report.Server.Log)
			t.Logf("log of the server that was started:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return s
}

// exec runs statements in one session of root.
func (s *standing) exec(statements ...string) {
	s.t.Helper()
	c, err := client.Connect(s.report.Server.Socket, "root", "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	for _, sql := range statements {
		if _, err := c.Execute(sql); err != nil {
			s.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// value is the first of a query; "" if there is no row.
func (s *standing) value(sql string) string {
	s.t.Helper()
	c, err := client.Connect(s.report.Server.Socket, "root", "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Execute(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	if r.RowNumber() == 0 {
		return ""
	}
	v, err := r.GetString(0, 0)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return v
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
func (a *archived) checkLeftBehind(t *testing.T, f *follower) {
	t.Helper()
	select {
	case err := <-f.ended:
		if harness.ExitCode(err) != 13 || !strings.Contains(f.log.String(), "does not go on from") {
			t.Errorf("left behind, the standby ends with %v\n%s", err, f.log)
		}
	case <-time.After(time.Minute):
		t.Fatalf("left behind, the standby goes on: %+v", f.status())
	}
	if pid := serverOn(f.target); pid != 0 {
		t.Errorf("process %d still runs on %s", pid, f.target)
	}
	out, err := exec.Command(a.tool, "restore", "shop", "--config", a.cfg, "--target-dir", f.target, "--timeline", "1", "--json").Output()
	var opened restore.Report
	if err := errors.Join(err, json.Unmarshal(out, &opened)); err != nil || !opened.Done || opened.Resumed == nil || opened.Restarted {
		t.Errorf("opened on its timeline: %v\n%s", err, out)
	}
}

// TestStart leaves restored servers running and makes of them what the report says: one joins the living
// primary, is promoted when that dies, stopped, and started again; another one, that lacks what is archived,
// becomes the primary, and is archived as a timeline of its own that can be restored. A standby that followed the
// old one ends then.
func TestStart(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		a := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(99))",
			"CREATE USER repl@'%' IDENTIFIED BY 'repl'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
		for i := range 20 {
			a.srv.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES ('archived %d')", i))
		}
		early := a.at()
		for i := range 10 {
			a.srv.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES ('lost %d')", i))
		}
		a.await(t)
		standby := follow(t, a.tool, a.cfg, filepath.Join(a.dir, "standby"))
		standby.caughtUp()
		s := a.startRestored(t)
		checkStanding(t, a, s, a.at())
		checkReplica(t, a, s)
		checkStops(t, s)

		fork := a.startRestored(t, "--to-gtid", early)
		checkStanding(t, a, fork, early)
		a.end(t)
		a.srv.Stop()
		fork.follow("primary")
		fork.exec("INSERT INTO d.t (v) VALUES ('early')") // before it is archived
		a.archiveFork(t, fork)
		a.checkLeftBehind(t, standby)
	})
}

// await waits until all that the server has is archived.
func (a *archived) await(t *testing.T) {
	t.Helper()
	end := a.at()
	if err := a.d.Await(t.Context(), time.Minute, func(c harness.Status) bool { return c.Archived.GTID == end }); err != nil {
		t.Fatal(err)
	}
}

// checkStanding checks that a server stands as it should: detached, itself, and with nothing but the data.
func checkStanding(t *testing.T, a *archived, s *standing, position string) {
	t.Helper()
	r := s.report.Server
	if pid, err := os.ReadFile(r.PIDFile); err != nil || strings.TrimSpace(string(pid)) != strconv.Itoa(r.PID) {
		t.Errorf("the pid file holds %s, %v; the report says %d", pid, err, r.PID)
	}
	if sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(r.PID), 0, 0); errno != 0 || int(sid) != r.PID {
		t.Errorf("the server is in session %d, not its own %d: %v", sid, r.PID, errno)
	}
	replica := "SHOW SLAVE STATUS"
	if a.srv.Binaries.Flavor == servertest.MySQL {
		replica = "SHOW REPLICA STATUS"
	}
	for sql, want := range map[string]string{
		s.position:                                   position,
		"SELECT @@server_id":                         strconv.FormatUint(uint64(r.ServerID), 10),
		"SELECT @@max_connections":                   "77",
		"SELECT @@log_bin":                           "1",
		"SELECT @@log_bin_basename LIKE '%/binlog'":  "1",
		"SELECT @@innodb_flush_log_at_trx_commit":    "1",
		"SELECT CONCAT(@@bind_address, ':', @@port)": r.Address,
		replica: "",
		"SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark\\_%'": "0",
	} {
		if got := s.value(sql); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	if r.ServerID == 7 || s.report.GTID != position {
		t.Errorf("server_id %d, at %s, want another than 7 and %s", r.ServerID, s.report.GTID, position)
	}
	if out, err := exec.Command("sh", "-c", strings.Replace(r.Connect, "mariadb ", a.srv.Binaries.Client+" ", 1)+" -uroot -e 'SELECT 1'").CombinedOutput(); err != nil && a.srv.Binaries.Flavor == servertest.MariaDB {
		t.Errorf("%s: %v\n%s", r.Connect, err, out)
	}
}

// checkReplica joins a server to the living primary, which goes on writing, and promotes it.
func checkReplica(t *testing.T, a *archived, s *standing) {
	t.Helper()
	s.follow("replica", "HOST", "127.0.0.1", "PORT", strconv.Itoa(a.srv.Port), "USER", "repl", "PASSWORD", "repl")
	for i := range 20 {
		a.srv.Exec(fmt.Sprintf("INSERT INTO d.t (v) VALUES ('replicated %d')", i))
	}
	a.srv.Exec("CREATE TABLE d.more AS SELECT * FROM d.t")
	want := a.at()
	wait := fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)", want)
	show := "SHOW SLAVE STATUS"
	if a.srv.Binaries.Flavor == servertest.MySQL {
		wait, show = fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)", want), "SHOW REPLICA STATUS"
	}
	if got := s.value(wait); got != "0" {
		c, err := client.Connect(s.report.Server.Socket, "root", "", "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Execute(show)
		t.Fatalf("the replica is at %s after a minute, not at %s: %v %v", s.value(s.position), want, r, err)
	}
	for _, table := range []string{"d.t", "d.more"} {
		sql := "CHECKSUM TABLE " + table
		c, err := client.Connect(s.report.Server.Socket, "root", "", "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Execute(sql)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := r.GetString(0, 1); got != a.srv.Query(sql)[0][1] {
			t.Errorf("%s is another one on the replica", table)
		}
		c.Close()
	}
	if got := s.value("SELECT @@read_only"); got != "1" {
		t.Error("a replica takes writes")
	}
	s.follow("primary")
	s.exec("INSERT INTO d.t (v) VALUES ('written by the promoted one')")
	if got := s.value(show); got != "" {
		t.Errorf("it still replicates: %s", got)
	}
}

// checkStops stops a server and starts it again, as the report says.
func checkStops(t *testing.T, s *standing) {
	t.Helper()
	r := s.report.Server
	if out, err := exec.Command("sh", "-c", r.Stop).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", r.Stop, err, out)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c, err := client.Connect(r.Socket, "root", "", ""); err != nil {
			if _, err := os.Stat(r.PIDFile); os.IsNotExist(err) {
				break
			}
		} else {
			c.Close()
		}
		if time.Now().After(end) {
			t.Fatal("the server does not stop")
		}
	}
	again := exec.Command("sh", "-c", "exec "+r.Again)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Process.Kill(); _ = again.Wait() }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := client.Connect(r.Socket, "root", "", "")
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", r.Again, err)
		}
	}
	if got := s.value("SELECT @@server_id"); got != strconv.FormatUint(uint64(r.ServerID), 10) {
		t.Errorf("started again, it has server_id %s", got)
	}
}

// archiveFork archives a restored server under the same cluster name, and restores what it writes.
func (a *archived) archiveFork(t *testing.T, s *standing) {
	t.Helper()
	cfg, err := harness.Config{Dir: a.dir, Primary: s.report.Server.Address, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 200ms}\n    heartbeat: 1s\n    fork_grace: 1s\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(a.tool, cfg, filepath.Join(a.dir, "fork.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Kill)
	s.exec("INSERT INTO d.t (v) VALUES ('on the new timeline')")
	position := "SELECT IF(@@gtid_binlog_pos = '', @@gtid_slave_pos, @@gtid_binlog_pos)"
	if a.srv.Binaries.Flavor == servertest.MySQL {
		position = a.position
	}
	end := s.value(position)
	if err := d.Await(t.Context(), 2*time.Minute, func(c harness.Status) bool { return c.Archived.GTID == end }); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	content := "SELECT GROUP_CONCAT(v ORDER BY id) FROM d.t"
	want := s.value(content)
	again := a.startRestored(t)
	if got := again.value(content); got != want || !strings.Contains(want, "new timeline") || strings.Contains(want, "lost") || again.report.Timeline != 2 {
		t.Errorf("timeline %d holds %s, want %s", again.report.Timeline, got, want)
	}
	if old := a.startRestored(t, "--timeline", "1"); !strings.Contains(old.value(content), "lost 9") {
		t.Error("the old timeline lacks what was lost")
	}
}
