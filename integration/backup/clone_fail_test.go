package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/clone"
	"tidemark/internal/fault"
)

// after calls fn once when n bytes have passed.
type after struct {
	n  int
	fn func()
}

func (a *after) Write(p []byte) (int, error) {
	if a.n -= len(p); a.n <= 0 && a.fn != nil {
		a.fn()
		a.fn = nil
	}
	return len(p), nil
}

// TestCloneDonorLost kills the server, and its sessions, in the middle of a copy.
func TestCloneDonorLost(t *testing.T) { onMySQL(t, cloneDonorLost) }

func cloneDonorLost(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b)
	o.fill(20)
	kill := func(kind string) func() {
		return func() {
			rows := o.Query(fmt.Sprintf("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '%s' AND COMMAND LIKE 'Clone%%' ORDER BY ID", servertest.User))
			if len(rows) == 0 {
				t.Errorf("no session clones: %v", o.Query("SHOW PROCESSLIST"))
			}
			for _, row := range rows {
				_ = o.Process.Exec("KILL " + kind + row[0])
			}
		}
	}
	for _, c := range []struct {
		name string
		fn   func()
		want []string
	}{
		{"query killed", kill("QUERY "), []string{"error 1317:", "closed the connection"}},
		{"session killed", kill("CONNECTION "), []string{"error 1317:", "closed the connection"}},
		{"server killed", func() { o.Kill() }, []string{"closed the connection in the middle of the copy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			_, err := o.engine().Stream(context.Background(), &after{n: 10 << 20, fn: c.fn})
			if err == nil || !fault.Is(err, fault.Primary) || fault.HintOf(err) == "" || time.Since(begin) > time.Minute ||
				!slices.ContainsFunc(c.want, func(s string) bool { return strings.Contains(err.Error(), s) }) {
				t.Errorf("error: %v", err)
			}
			if o.Pid() != 0 {
				o.idle()
			}
		})
	}
	o.Restart()
	stream, _ := o.clone(nil) // no clone of before is in the way
	o.same(o.copied(stream))
}

// idle returns when the server has noticed that nobody takes its clone any more.
func (o *original) idle() {
	o.t.Helper()
	kit.Until(o.t, time.Minute, "no session clones any more", func() bool {
		return len(o.Query("SELECT * FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Clone%'")) == 0
	})
}

// TestCloneGivenUp ends the context, and fails the archive: soon the server takes the next copy.
func TestCloneGivenUp(t *testing.T) { onMySQL(t, cloneGivenUp) }

func cloneGivenUp(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b)
	o.fill(10)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := o.engine().Stream(ctx, &after{n: 10 << 20, fn: cancel}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	begin := time.Now()
	o.Exec("ALTER TABLE d.big FORCE", "RENAME TABLE d.big TO d.large", "TRUNCATE d.t")
	t.Logf("DDL after a copy that was given up: %s", time.Since(begin))
	o.idle()
	broken := errors.New("bucket gone")
	r, w := io.Pipe()
	go func() {
		_, _ = io.CopyN(io.Discard, r, 20<<20)
		r.CloseWithError(broken)
	}()
	if _, err := o.engine().Stream(context.Background(), w); !errors.Is(err, broken) || fault.Is(err, fault.Primary) {
		t.Errorf("the archive failed: %v", err)
	}
	o.idle()
	o.clone(nil)
}

// TestCloneRefused finds out before the first byte what would make a copy fail or be of no use.
func TestCloneRefused(t *testing.T) { onMySQL(t, cloneRefused) }

func cloneRefused(t *testing.T, b servertest.Binaries) {
	outside := t.TempDir()
	o := newOriginal(t, b, "--innodb-directories="+outside)
	refused := func(want, hint string) {
		t.Helper()
		n := 0
		err := o.engine().Check(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), hint) {
			t.Errorf("error: %v\nhint: %s\nwant: %s", err, fault.HintOf(err), want)
		}
		if _, err := o.engine().Stream(context.Background(), &after{n: 1, fn: func() { n++ }}); err == nil || n > 0 {
			t.Errorf("stream: %d bytes, %v", n, err)
		}
	}
	for _, privilege := range []string{"BACKUP_ADMIN ON *.*", "PROCESS ON *.*", "SHOW VIEW ON *.*", "SELECT ON performance_schema.log_status"} {
		o.Exec("REVOKE " + privilege + " FROM " + servertest.User)
		name, _, _ := strings.Cut(privilege, " ON")
		refused(name, "GRANT BACKUP_ADMIN, PROCESS, SHOW VIEW ON *.*")
		o.Exec("GRANT " + privilege + " TO " + servertest.User)
	}
	o.Exec("UNINSTALL PLUGIN clone")
	refused("the clone plugin is not loaded", "INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	o.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")

	o.Exec("CREATE TABLE d.my (id INT) ENGINE=MyISAM", "CREATE TABLE d.mem (id INT) ENGINE=MEMORY", "INSERT INTO d.my VALUES (1)")
	refused("2 tables are not InnoDB's, and would be empty in the copy: d.mem, d.my", "ENGINE=InnoDB")
	e := o.engine()
	e.AllowEmptyTables = true
	info, err := e.Stream(context.Background(), io.Discard)
	if err != nil || fmt.Sprint(info.EmptyTables) != "[d.mem d.my]" {
		t.Errorf("allowed: %v, %v", info.EmptyTables, err)
	}
	o.Exec("DROP TABLE d.my, d.mem")

	o.Exec("CREATE TABLE d.far (id INT PRIMARY KEY) DATA DIRECTORY '" + outside + "'")
	refused("lie outside its data directory: "+outside, "")
	o.Exec("DROP TABLE d.far")
	o.Exec("SET GLOBAL gtid_mode=ON_PERMISSIVE")
	refused("gtid_mode is ON_PERMISSIVE", "gtid_mode to ON")
	o.Exec("SET GLOBAL gtid_mode=ON")
	if err := o.engine().Check(context.Background()); err != nil {
		t.Error(err)
	}
	e = o.engine()
	e.Primary.Host = "192.0.2.1"
	if err := e.Check(context.Background()); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "not be encrypted") {
		t.Errorf("over a network: %v", err)
	}
	// One clone at a time is the server's rule; it is said clearly.
	_, err = o.engine().Stream(context.Background(), &after{n: 1, fn: func() {
		_, err := o.engine().Stream(context.Background(), io.Discard)
		var donor *clone.DonorError
		if !errors.As(err, &donor) {
			t.Errorf("a second clone: %v", err)
		}
		t.Logf("a second clone: %v", err)
	}})
	if err != nil {
		t.Error(err)
	}
}
