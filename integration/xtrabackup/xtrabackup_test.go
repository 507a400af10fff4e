// Package xtrabackup tests base backups of MySQL by xtrabackup. Where that is not installed a stand-in
// takes its place, which can copy a server that is not written to; the run of the real one is skipped.
package xtrabackup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/basebackup"
	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

const password = `pass"word\ #1`

// TestRealTool archives, backs up and restores with Percona's own program. It is the only test that
// may skip everywhere: no distribution that CI runs on has the program.
func TestRealTool(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		path, err := exec.LookPath("xtrabackup")
		if err != nil {
			t.Skip("xtrabackup is not installed: no run of Percona's own program")
		}
		roundTrip(t, b, filepath.Dir(path))
	})
}

// TestStandIn does the same with the stand-in.
func TestStandIn(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		dir, saw := install(t, b.Mysqld, b.Version, "")
		roundTrip(t, b, dir)
		text, err := os.ReadFile(saw)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, `["`) && strings.Contains(line, "#1") {
				t.Errorf("the password is in arguments or the environment: %s", line)
			}
		}
		if !strings.Contains(string(text), "[xtrabackup]\nuser=\"tidemark\"\npassword=") {
			t.Errorf("what the tool saw:\n%s", text)
		}
	})
}

// start runs a server that writes its pages at once, with an account that may back it up.
func start(t *testing.T, b servertest.Binaries) *servertest.Server {
	t.Helper()
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--innodb-max-dirty-pages-pct=0", "--innodb-max-dirty-pages-pct-lwm=0"}})
	srv.CreateUser(servertest.User, password)
	srv.Exec(basebackup.XtraBackupGrants(servertest.User)...)
	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, x VARCHAR(200))",
		"CREATE TABLE d.my (id INT PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO d.my VALUES (1), (2), (3)",
		"CREATE TABLE d.compressed (id INT PRIMARY KEY, x LONGTEXT) COMPRESSION='zlib'",
		"INSERT INTO d.t (x) VALUES ('before the base')")
	// A GTID set of two servers goes over two lines.
	srv.Exec("SET GTID_NEXT='99999999-2222-3333-4444-555555555555:1'", "BEGIN", "COMMIT", "SET GTID_NEXT=AUTOMATIC")
	for i := range 40 {
		srv.Exec(fmt.Sprintf("INSERT INTO d.compressed VALUES (%d, REPEAT('compressible ', 20000))", i))
	}
	const dirty = "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Innodb_buffer_pool_pages_dirty'"
	kit.Until(t, time.Minute, "no page is dirty", func() bool { return srv.Value(dirty) == "0" })
	return srv
}

func roundTrip(t *testing.T, b servertest.Binaries, tools string) {
	srv := start(t, b)
	w := kit.New(t, kit.Setup{Server: srv, Cluster: append(kit.Brisk, "base: {engine: xtrabackup}")})
	w.Tool = w.Tool.With("PATH=" + strings.Join([]string{tools, filepath.Dir(b.Mysqld), os.Getenv("PATH")}, string(os.PathListSeparator)))
	if err := os.WriteFile(filepath.Join(w.Dir, "password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := w.Command("check").CombinedOutput()
	if !strings.Contains(string(out), "xtrabackup is of the server's version") || strings.Contains(string(out), "lacks") {
		t.Errorf("check: %v\n%s", err, out)
	}
	w.Start()
	held, first := srv.Position(), srv.Query(checksums)
	w.AwaitBase() // the tool begins a new binlog in the end, and nothing need ever be written to it
	if parts, err := filepath.Glob(w.Dir + "/archive/shop/base/*/00001.xbstream.zst"); err != nil || len(parts) != 1 {
		t.Errorf("parts: %v, %v", parts, err)
	}
	for i := range 30 {
		srv.Exec(fmt.Sprintf("INSERT INTO d.t (x) VALUES ('behind the base %d')", i), fmt.Sprintf("INSERT INTO d.my VALUES (%d)", i+10))
		if i == 10 {
			srv.Exec("FLUSH BINARY LOGS", "ALTER TABLE d.t ADD y INT")
		}
	}
	last := srv.Query(checksums)
	end := w.End()
	self, err := os.Executable() // the stand-in is no installed program, and has its notes beside it
	if err != nil {
		t.Fatal(err)
	}
	reach := []string{"--allow-path", filepath.Dir(self), "--allow-path", tools}
	restored(w, end, last, reach...)
	restored(w, held, first, append(reach, "--to-gtid", held)...)
	w.RunTo([]int{0}, "verify", "shop", "--data")
}

// restored restores, and compares with what the source held.
func restored(w *kit.World, position string, sums [][]string, args ...string) {
	t := w.T
	t.Helper()
	target := filepath.Join(t.TempDir(), "restored")
	w.RunTo([]int{0}, append([]string{"restore", "shop", "--target-dir", target}, args...)...)
	if left, err := filepath.Glob(filepath.Join(target, "binlog.*")); err != nil || len(left) > 0 {
		t.Errorf("of the source's binlog there is %v, %v", left, err)
	}
	size, disk, err := blocks(filepath.Join(target, "d", "compressed.ibd"))
	if err != nil || disk >= size {
		t.Errorf("the page-compressed table has %d bytes and takes %d, %v", size, disk, err)
	}
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: w.Server.Binaries})
	defer again.Kill()
	if got := again.Position(); got != position {
		t.Errorf("restored to %s, not %s", got, position)
	}
	if got := again.Value("SELECT @@server_uuid"); got == w.Server.Value("SELECT @@server_uuid") {
		t.Errorf("restored with UUID %s", got)
	}
	if got := again.Query(checksums); fmt.Sprint(got) != fmt.Sprint(sums) {
		t.Errorf("restored %v, not %v", got, sums)
	}
}

const checksums = "CHECKSUM TABLE d.t, d.my, d.compressed, mysql.user"

// TestBadTool copies with a tool that is of another series, lies, or dies.
func TestBadTool(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(1), func(t *testing.T, b servertest.Binaries) {
		srv := start(t, b)
		for _, c := range []struct{ name, lie, version, want string }{
			{"other series", "", "8.0.35", "it is of version 8.0.35, and the server of " + b.Version},
			{"cut off", "cut", b.Version, "cut off inside a chunk"},
			{"damaged", "damaged", b.Version, "do not match their checksum"},
			{"no stream", "garbage", b.Version, "no chunk begins there"},
			{"dies", "failed", b.Version, "it was bad"},
			{"does not say complete", "silent", b.Version, "without saying that the copy is complete"},
			{"does not say where", "mute", b.Version, "read the position in its log"},
			{"positions differ", "info", b.Version, "its position is binlog"},
			{"no position", "noinfo", b.Version, "the stream has no xtrabackup_binlog_info"},
			{"another history", "gtid", b.Version, "the copy is of 11111111-"},
			{"partial", "partial", b.Version, "the copy is partial (Y)"},
			{"blocks commits", "blocks", b.Version, "commits on the server were blocked for 300ms"},
		} {
			t.Run(c.name, func(t *testing.T) {
				dir, _ := install(t, b.Mysqld, c.version, c.lie)
				x := &basebackup.XtraBackup{Tool: filepath.Join(dir, "xtrabackup"), StateDir: t.TempDir(), Clock: clock.System{}, FS: durable.OS{},
					Primary: basebackup.Primary{Host: "127.0.0.1", Port: srv.Port, User: servertest.User, Password: password}}
				if c.lie == "blocks" {
					x.BlockLimit = 300 * time.Millisecond
				}
				var w count
				_, err := x.Stream(context.Background(), &w)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v", err)
				}
				if c.version != b.Version && (w > 0 || !fault.Is(err, fault.Config) || !strings.Contains(fault.HintOf(err), "Percona XtraBackup")) {
					t.Errorf("%d bytes, hint %q", w, fault.HintOf(err))
				}
				left, _ := filepath.Glob(x.StateDir + "/*.cnf")
				if len(left) > 0 {
					t.Errorf("%v is left", left)
				}
			})
		}
		x := &basebackup.XtraBackup{Tool: "/nowhere/xtrabackup", Clock: clock.System{}, Datadir: "/nowhere",
			Primary: basebackup.Primary{Host: "127.0.0.1", Port: srv.Port, User: servertest.User, Password: password}}
		if err := x.Check(context.Background()); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "/nowhere") || !strings.Contains(fault.HintOf(err), "server's own host") {
			t.Errorf("no data directory: %v", err)
		}
		srv.Exec("CREATE TABLE d.mem (id INT) ENGINE=MEMORY")
		if err := x.Check(context.Background()); !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), "1 tables are not InnoDB's, and would be empty in the copy: d.mem") {
			t.Errorf("a table without files: %v", err)
		}
	})
}

// count counts what is written to it.
type count int

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}
