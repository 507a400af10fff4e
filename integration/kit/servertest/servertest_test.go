package servertest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

func TestStartKillRestartStop(t *testing.T) {
	kit.Each(t, "", kit.Servers(1), startKillRestartStop)
}

func startKillRestartStop(t *testing.T, b servertest.Binaries) {
	begin := time.Now()
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=8192"}})
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
	kit.Each(t, "", kit.Servers(1), datadir)
}

func datadir(t *testing.T, b servertest.Binaries) {
	first := servertest.Start(t, servertest.Options{Binaries: b})
	first.Exec("CREATE DATABASE d")
	first.Stop()
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	second := servertest.Start(t, servertest.Options{ServerID: 2, Binaries: b, Datadir: first.Datadir, Dir: long})
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
	b := kit.One(t, kit.Servers(1))
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
	b := kit.One(t, kit.Servers(1))
	_, err := servertest.Launch(servertest.Options{Binaries: b, Extra: []string{"--no-such-option"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("error does not show the server's log: %v", err)
	}
	var missing *servertest.Missing
	if _, err := servertest.Find(t.TempDir()); !errors.As(err, &missing) || !strings.Contains(missing.Program, "mysqld") {
		t.Errorf("missing server: %v", err)
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
