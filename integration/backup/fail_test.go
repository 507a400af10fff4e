package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/basebackup"
	"tidemark/internal/fault"
)

// process is a running process as others see it.
type process struct {
	pid          int
	cmdline, env string
}

// tools returns the processes that have the state directory in their arguments.
func (s *site) running() (list []process) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != os.Getpid() && bytes.Contains(cmdline, []byte(s.state)) {
			env, _ := os.ReadFile(filepath.Join(dir, "environ"))
			list = append(list, process{pid, string(cmdline), string(env)})
		}
	}
	return list
}

// observe calls f again and again with the tool's processes, while there are any, until it returns
// false or stop is called.
func (s *site) observe(f func([]process) bool) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if list := s.running(); len(list) > 0 && !f(list) {
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// TestMain has passwords in the environment of every test, which must not come to the tool.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"TIDEMARK_PASSWORD": password, "MYSQL_PWD": "something else"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// TestPasswordHidden looks at the tool's processes as anyone on the machine can.
func TestPasswordHidden(t *testing.T) {
	s := oneSite(t)
	seen, files := 0, map[string]bool{}
	stop := s.observe(func(list []process) bool {
		for _, p := range list {
			seen++
			if strings.Contains(p.cmdline, password) {
				t.Errorf("the password is in the arguments: %q", p.cmdline)
			}
			if strings.Contains(p.env, "PASSWORD") || strings.Contains(p.env, "MYSQL_PWD") {
				t.Errorf("a password is in the environment: %q", p.env)
			}
		}
		options, _ := filepath.Glob(filepath.Join(s.state, "*.cnf"))
		for _, path := range options {
			info, err := os.Stat(path)
			if err == nil && info.Mode() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			files[path] = true
		}
		return true
	})
	o := s.options(s.engine())
	o.Progress = whenWaiting(s.archive)
	_, err := basebackup.Take(context.Background(), o)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 || len(files) != 1 {
		t.Errorf("%d processes seen, %d option files", seen, len(files))
	}
	s.leavesLogs(1)
}

// TestKilled kills the tool, or cancels the backup, at some moments.
func TestKilled(t *testing.T) {
	s := oneSite(t)
	for i := range 40 {
		s.srv.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d, 'x')", i))
	}
	hit := 0
	for _, wait := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 400 * time.Millisecond} {
		for _, how := range []string{"tool", "context"} {
			ctx, cancel := context.WithCancel(context.Background())
			stop := s.observe(func(list []process) bool {
				time.Sleep(wait)
				if how == "context" {
					cancel()
					return false
				}
				return syscall.Kill(list[0].pid, syscall.SIGKILL) != nil
			})
			begin := time.Now()
			o := s.options(s.engine())
			o.WaitCovered = 300 * time.Millisecond
			_, err := basebackup.Take(ctx, o)
			stop()
			cancel()
			s.none(err)
			switch {
			case how == "context" && errors.Is(err, context.Canceled), how == "tool" && strings.Contains(err.Error(), "signal: killed"):
				hit++
			case !strings.Contains(err.Error(), "does not reach"): // the copy was complete already
				t.Errorf("%s after %s: %v", how, wait, err)
			}
			if left := s.running(); len(left) > 0 {
				t.Errorf("%s after %s: %d processes are left", how, wait, len(left))
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("%s after %s: took %s", how, wait, took)
			}
		}
	}
	if t.Logf("%d of 10 were hit", hit); hit < 4 {
		t.Error("too few to show anything")
	}
	// Whatever lock it held is gone.
	s.srv.Exec("SET lock_wait_timeout=2", "CREATE TABLE d.after (id INT)", "INSERT INTO d.after VALUES (1)")
}

// TestRefused fails before or at the beginning of a copy, for reasons that the operator can mend.
func TestRefused(t *testing.T) {
	s := oneSite(t)
	root := func(context.Context) (*client.Conn, error) { return s.srv.Process.Conn() }
	for name, c := range map[string]struct {
		change     func(*basebackup.MariaDB)
		kind       fault.Kind
		want, hint string
	}{
		"password": {func(m *basebackup.MariaDB) { m.Primary.Password = "wrong" }, fault.Primary, "Access denied", "password file"},
		"password of the tool": {func(m *basebackup.MariaDB) { m.Primary.Password, m.Primary.Dial = "wrong", root }, fault.Other,
			"Access denied for user 'tidemark'", s.state},
		"privileges": {func(m *basebackup.MariaDB) { m.Primary.User, m.Primary.Password, m.Primary.Dial = "nobody", "", root }, fault.Other,
			"missing required privilege", s.state},
		"no server":    {func(m *basebackup.MariaDB) { m.Primary.Port = 1 }, fault.Primary, "connection refused", "tidemark check"},
		"no tool":      {func(m *basebackup.MariaDB) { m.Tool = "/nowhere/mariadb-backup" }, fault.Config, "/nowhere/mariadb-backup", "Install"},
		"not the tool": {func(m *basebackup.MariaDB) { m.Tool = "/bin/true" }, fault.Config, "no version number", "Install"},
		"no datadir":   {func(m *basebackup.MariaDB) { m.Datadir = "/nowhere" }, fault.Config, "/nowhere", "on the server's own host"},
		"old tool":     {func(m *basebackup.MariaDB) { m.Tool = s.script("10.6.5", "exit 1") }, fault.Config, "it is of version 10.6.5, and the server of", "install mariadb-backup"},
	} {
		t.Run(name, func(t *testing.T) {
			s.srv.Exec("CREATE OR REPLACE USER nobody@'%'")
			e := s.engine()
			c.change(e)
			_, err := basebackup.Take(context.Background(), s.options(e))
			s.none(err)
			if !strings.Contains(err.Error(), c.want) || !fault.Is(err, c.kind) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("kind %s: %v\nhint: %s", fault.KindOf(err), err, fault.HintOf(err))
			}
		})
	}
}

// script makes a tool of a version that runs a shell script; in it, "$TOOL" is the real one.
func (s *site) script(version, body string) string {
	path := filepath.Join(s.t.TempDir(), "mariadb-backup")
	text := fmt.Sprintf("#!/bin/sh\nTOOL=%s\nif [ \"$2\" = --version ]; then echo 'mariadb-backup based on MariaDB server %s-MariaDB'; exit 0; fi\n%s\n",
		s.srv.Binaries.Backup, version, body)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// TestBadTool copies with tools that lie, or die.
func TestBadTool(t *testing.T) {
	s := oneSite(t)
	version := s.srv.Binaries.Version
	for name, c := range map[string]struct{ body, want string }{
		"cut off":               {`"$TOOL" "$@" | head -c 9000000; echo 'completed OK!' >&2`, "the stream is cut off"},
		"empty":                 {`echo 'completed OK!' >&2`, "the stream is empty"},
		"garbage":               {`cat /bin/sh; echo 'completed OK!' >&2`, "no chunk begins there"},
		"failed":                {`"$TOOL" "$@"; echo 'it was bad' >&2; exit 3`, "exit status 3"},
		"shows its last words":  {`"$TOOL" "$@"; echo 'it was bad' >&2; exit 3`, "it was bad"},
		"does not say complete": {`"$TOOL" "$@"; echo 'bye' >&2`, "without saying that the copy is complete"},
		"says complete early":   {`echo 'completed OK!' >&2; echo 'but' >&2`, "without saying that the copy is complete"},
		"no info":               {`printf 'XBSTCK01\000E\001\000\000\000a'; echo 'completed OK!' >&2`, "the stream has no xtrabackup_binlog_info or mariadb_backup_binlog_info"},
		"damaged":               {`"$TOOL" "$@" | sed s/InnoDB/InnoDX/g; echo 'completed OK!' >&2`, "do not match their checksum"},
		"blocks commits": {`echo '[00] 2026-11-21 05:02:15 Acquired locks for BACKUP STAGE BLOCK_COMMIT' >&2; sleep 100 & wait; echo 'completed OK!' >&2`,
			"commits on the server were blocked for 200ms"},
		"copies what is written to": {`for a; do case "$a" in --datadir=*) dir=${a#*=};; esac; done; "$TOOL" "$@"; echo more >> "$dir/d/m.MYD"
echo '[00] Acquired locks for BACKUP STAGE BLOCK_DDL' >&2; echo 'completed OK!' >&2`, "the copy was made while these were written to: d/m.MYD"},
	} {
		t.Run(name, func(t *testing.T) {
			e := s.engine()
			e.Tool = s.script(version, c.body)
			e.BlockLimit = 200 * time.Millisecond
			if name != "blocks commits" {
				e.BlockLimit = time.Minute
			}
			_, err := basebackup.Take(context.Background(), s.options(e))
			s.none(err)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if left := s.running(); len(left) > 0 {
				t.Errorf("%d processes are left", len(left))
			}
		})
	}
	s.leavesLogs(10)
}
