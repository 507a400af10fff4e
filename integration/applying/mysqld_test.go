package applying

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/confine"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// private starts a private server on the data of a stopped server of the test, owned by the account
// that servers run under.
func private(ctx context.Context, t *testing.T, srv *servertest.Server, args ...string) (*mysqld.Server, error) {
	t.Helper()
	return launch(ctx, t, srv, nil, args...)
}

// inherit is private for a server that inherits an open file.
func inherit(t *testing.T, srv *servertest.Server, f *os.File) (*mysqld.Server, error) {
	t.Helper()
	return launch(context.Background(), t, srv, f)
}

func launch(ctx context.Context, t *testing.T, srv *servertest.Server, f *os.File, args ...string) (*mysqld.Server, error) {
	t.Helper()
	recorded := map[string]string{"lower_case_table_names": "0", "div_precision_increment": "6", "system_time_zone": "UTC"}
	return launchWith(ctx, t, srv, f, recorded, args...)
}

// launchWith is launch with variables that were recorded.
func launchWith(ctx context.Context, t *testing.T, srv *servertest.Server, f *os.File, recorded map[string]string, args ...string) (*mysqld.Server, error) {
	t.Helper()
	user, err := mysqld.ServerUser()
	if err != nil {
		t.Fatal(err)
	}
	run := openDir(t)
	if err := os.Mkdir(filepath.Join(run, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(run, "data")
	if err := os.CopyFS(data, os.DirFS(srv.Datadir)); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(run, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return user.Own(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := mysqld.Start(ctx, mysqld.Options{
		Flavor: flavorOf(srv), Settings: recorded,
		Tools: mysqld.Tools{Mysqld: srv.Binaries.Mysqld}, User: user, Datadir: data, RunDir: run,
		LogFile: filepath.Join(run, "log"), ServerID: 77, Memory: 128 << 20,
		Args: args, Inherit: f,
	})
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

// openDir is a temporary directory that the account of the server may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPrivateServer(t *testing.T) {
	ctx := context.Background()
	srv := servertest.Start(t, servertest.Options{Binaries: kit.One(t, kit.Servers(1))})
	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (a INT)", "INSERT INTO d.t VALUES (1)")
	srv.Stop()

	s, err := private(ctx, t, srv)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	info, err := mysqld.Probe(conn)
	if err != nil || info.ServerID != 77 || info.LogBin || info.TimeZone != "UTC" || info.Version.Number != srv.Binaries.Version {
		t.Errorf("probe says %+v, %v", info, err)
	}
	if v, err := conn.Value("SELECT CONCAT(@@skip_networking+0, @@event_scheduler, @@div_precision_increment, COUNT(*)) FROM d.t"); err != nil || v != "1OFF61" {
		t.Errorf("server has %q, %v", v, err)
	}
	if err := conn.Exec("CREATE USER x IDENTIFIED BY 'secret' nonsense"); err == nil || strings.Contains(err.Error()[:40], "secret") {
		t.Errorf("a wrong statement gives %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(s.Socket()))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "init") {
			t.Errorf("%s is still there", e.Name())
		}
	}
	conn.Close()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(s.Socket())); !os.IsNotExist(err) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}

// TestPrivateServerConfined: a private server that is told to use files elsewhere can neither read nor make them, and the error says why.
func TestPrivateServerConfined(t *testing.T) {
	kit.Each(t, "", kit.Servers(1), func(t *testing.T, b servertest.Binaries) {
		if err := confine.Available(); err != nil {
			t.Skip(err)
		}
		far := openDir(t)
		srv := servertest.Start(t, servertest.Options{Binaries: b})
		srv.Stop()
		if err := os.Rename(filepath.Join(srv.Datadir, "ibdata1"), filepath.Join(far, "ibdata1")); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(filepath.Join(far, "ibdata1"))
		if err != nil {
			t.Fatal(err)
		}
		options := []string{"--innodb-data-home-dir=", "--innodb-data-file-path=" + far + "/ibdata1:12M:autoextend"}
		_, err = private(context.Background(), t, srv, options...)
		if err == nil || !strings.Contains(fault.HintOf(err), "It was confined: it could change files in ") {
			t.Errorf("a server on files elsewhere: %v; hint %q", err, fault.HintOf(err))
		}
		if after, err := os.ReadFile(filepath.Join(far, "ibdata1")); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the file outside is not what it was, %v", err)
		}
		if entries, err := os.ReadDir(far); err != nil || len(entries) != 1 {
			t.Errorf("outside there are %v, %v", entries, err)
		}
		srv.Restart(options...) // it is the server's
	})
}

// TestPrivateServerLeavesNoAccount looks at the data with another server.
func TestPrivateServerLeavesNoAccount(t *testing.T) {
	ctx := context.Background()
	srv := servertest.Start(t, servertest.Options{Binaries: kit.One(t, kit.Servers(1))})
	srv.Stop()
	s, err := private(ctx, t, srv)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(filepath.Dir(s.Log()), "data")
	again := servertest.Start(t, servertest.Options{Datadir: data, Binaries: srv.Binaries})
	if n := again.Value("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark%'"); n != "0" {
		t.Errorf("%s accounts of ours are left", n)
	}
}

func TestPrivateServerEnds(t *testing.T) {
	srv := servertest.Start(t, servertest.Options{Binaries: kit.One(t, kit.Servers(1))})
	srv.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := private(ctx, t, srv)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-s.Exited():
	case <-time.After(time.Minute):
		t.Fatal("the server lives on after its context")
	}
	if err := s.Stop(context.Background()); err == nil {
		t.Error("stopping a killed server is no error")
	}

	_, err = private(context.Background(), t, srv, "--innodb-page-size=nonsense", "--no-such-option")
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("a server that cannot start gives %v", err)
	}
}
