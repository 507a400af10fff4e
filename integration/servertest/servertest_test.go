package servertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/servertest"
)

func TestStartKillRestartStop(t *testing.T) {
	servertest.Require(t)
	begin := time.Now()
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Extra: []string{"--max-binlog-size=8192"}})
	if got := srv.Value("SELECT CONCAT_WS(' ', @@server_id, @@port, @@binlog_format, @@max_binlog_size)"); got != fmt.Sprintf("7 %d ROW 8192", srv.Port) {
		t.Errorf("server has %q", got)
	}
	t.Logf("%s %s: first answer after %s", srv.Binaries.Flavor, srv.Binaries.Version, time.Since(begin))

	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1), (2)")
	addr, pid := srv.Addr, srv.Pid()
	srv.Kill()
	if srv.Pid() != 0 || alive(pid) {
		t.Fatalf("process %d is alive after Kill", pid)
	}
	srv.Restart()
	srv.Exec("INSERT INTO d.t VALUES (3)")
	srv.Restart("--max-binlog-size=16384")
	if srv.Addr != addr {
		t.Errorf("address was %s, is %s", addr, srv.Addr)
	}
	if got := srv.Query("SELECT COUNT(*), @@max_binlog_size, NULL FROM d.t"); fmt.Sprint(got) != "[[3 16384 NULL]]" {
		t.Errorf("after restarts: %v", got)
	}
	pid = srv.Pid()
	srv.Stop()
	if alive(pid) {
		t.Errorf("process %d is alive after Stop", pid)
	}
	if _, err := os.Stat(filepath.Join(srv.Datadir, "binlog.000001")); err != nil {
		t.Error(err)
	}
}

// TestDatadir starts a server on the data of another one, as on restored data, in a
// directory whose name is too long for a socket.
func TestDatadir(t *testing.T) {
	first := servertest.Start(t, servertest.Options{})
	first.Exec("CREATE DATABASE d")
	first.Stop()
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	second := servertest.Start(t, servertest.Options{ServerID: 2, Datadir: first.Datadir, Dir: long})
	if got := second.Query("SHOW DATABASES LIKE 'd'"); len(got) != 1 {
		t.Errorf("databases: %v", got)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.Datadir); err != nil {
		t.Errorf("data that was given is gone: %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	b := servertest.Require(t)
	p, err := servertest.Launch(servertest.Options{Binaries: b})
	if err != nil {
		t.Fatal(err)
	}
	pid := p.Pid()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("process %d is alive", pid)
	}
	if _, err := os.Stat(p.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory is left: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	b := servertest.Require(t)
	_, err := servertest.Launch(servertest.Options{Binaries: b, Extra: []string{"--no-such-option"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("error does not show the server's log: %v", err)
	}
	var missing *servertest.Missing
	if _, err := servertest.Find(t.TempDir()); !errors.As(err, &missing) || missing.Program != "mariadbd" {
		t.Errorf("missing server: %v", err)
	}
}

// TestPrivileges archives with the account of CreateUser: everything works, and each
// privilege is needed by something.
func TestPrivileges(t *testing.T) {
	if b := servertest.Require(t); b.Flavor != "mariadb" {
		t.Skipf("the tools used here are MariaDB's, the server is %s", b.Flavor)
	}
	b := servertest.Require(t, "mariadb-backup", "mariadb-binlog", "mariadb")
	srv := servertest.Start(t, servertest.Options{Binaries: b})
	const password = `s'ec\ret`
	srv.CreateUser(servertest.User, password)
	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.m (id INT PRIMARY KEY) ENGINE=MyISAM",
		"CREATE TABLE d.a (id INT PRIMARY KEY) ENGINE=Aria TRANSACTIONAL=0", "CREATE TABLE d.i (id INT PRIMARY KEY)")

	conf := filepath.Join(t.TempDir(), "client.cnf")
	text := fmt.Sprintf("[client]\nuser=%s\npassword=\"%s\"\nhost=127.0.0.1\nport=%d\n", servertest.User, strings.ReplaceAll(password, `\`, `\\`), srv.Port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) error {
		cmd := exec.Command(program, append([]string{"--defaults-file=" + conf}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, stderr.String())
		}
		return nil
	}
	archive := func() error {
		return errors.Join(
			run(b.Client, "-e", "SHOW MASTER STATUS; SHOW BINARY LOGS; SELECT @@gtid_binlog_pos"),
			run(b.Binlog, "--read-from-remote-server", "--raw", "--result-file="+t.TempDir()+"/", "binlog.000001"),
			run(b.Backup, "--backup", "--stream=mbstream", "--datadir="+srv.Datadir))
	}
	if err := archive(); err != nil {
		t.Fatal(err)
	}
	for _, privilege := range strings.Split(servertest.Privileges("mariadb"), ", ") {
		srv.Exec(fmt.Sprintf("REVOKE %s ON *.* FROM %s", privilege, servertest.User))
		if err := archive(); err == nil {
			t.Errorf("%s is not needed", privilege)
		}
		srv.Exec(fmt.Sprintf("GRANT %s ON *.* TO %s", privilege, servertest.User))
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
