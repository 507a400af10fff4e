// Package archive tests the way of the binlog from a real server into an archive.
package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"go.uber.org/zap/zaptest"

	"tidemark/integration/servertest"
	"tidemark/integration/workload"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/durable"
	"tidemark/storage"
	"tidemark/storage/file"
)

// TestStream archives a server under load in process and finds the server's own files in the archive.
func TestStream(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, stream, "mariadb-binlog")
}

func stream(t *testing.T, b servertest.Binaries) {
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=4M"}})
	srv.CreateUser(servertest.User, "secret")
	dir := t.TempDir()
	cfg := configure(t, srv, dir)
	remains := filepath.Join(dir, "archive", "shop", ".tmp~REMAINS") // of a run that was killed two days ago
	old := time.Now().Add(-48 * time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(remains), 0o700), os.WriteFile(remains, nil, 0o600), os.Chtimes(remains, old, old)); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Options{Config: cfg, Log: zaptest.NewLogger(t), Version: "test", Clock: clock.System{}, FS: durable.OS{},
			OpenStore: func(context.Context, string) (storage.Store, error) { return file.Open(filepath.Join(dir, "archive")) }})
	}()

	w := workload.New(1, workload.Options{Domains: 2, MaxBlob: 4 << 20, BigTransaction: 6 << 20})
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}
	load, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if err := w.Run(load, func() (*client.Conn, error) { return srv.Process.Conn() }, 4, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	srv.Exec("FLUSH BINARY LOGS")
	time.Sleep(time.Second)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(remains); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the remains of an interrupted write are there: %v", err)
	}
	compare(t, srv, filepath.Join(dir, "archive"))
	standardTools(t, b, filepath.Join(dir, "archive"))
}

// standardTools reads segments as the format promises: with zstd and mariadb-binlog alone.
func standardTools(t *testing.T, bins servertest.Binaries, archive string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(archive, "shop/log/00000001/*.binlog.zst"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, s := range segments[:min(len(segments), 8)] {
		out, err := exec.Command("bash", "-c", "set -o pipefail; zstd -dc "+s+" | "+bins.Binlog+" --verify-binlog-checksum -").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("End of log file")) {
			t.Errorf("%s: %v\n%s", s, err, out[max(0, len(out)-500):])
		}
	}
}

func configure(t *testing.T, srv *servertest.Server, dir string) *config.Config {
	t.Helper()
	pw := filepath.Join(dir, "password")
	if err := os.WriteFile(pw, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := "archive: file://" + dir + "/archive\nstate_dir: " + dir + "/state\nstatus: {listen: \"127.0.0.1:0\"}\n" +
		"clusters:\n  shop:\n    hosts: [\"" + srv.Addr + "\"]\n    user: " + servertest.User + "\n    password_file: " + pw +
		"\n    segment: {max_age: 1s, max_size: 2MiB}\n"
	path := filepath.Join(dir, "tidemark.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{File: path, Schemes: []string{"file"}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// compare rebuilds the archived source files and compares them with the server's own.
func compare(t *testing.T, srv *servertest.Server, archive string) {
	t.Helper()
	ctx := context.Background()
	store, err := file.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(ctx, store, "shop", "test")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	var segments, transactions uint64
	for s, err := range cat.Segments(ctx, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		segments++
		transactions += s.Transactions
		r, err := cat.OpenPlain(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		var plain bytes.Buffer
		if _, err := plain.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if files[s.Source.File] == nil {
			files[s.Source.File] = plain.Bytes()
		} else {
			files[s.Source.File] = append(files[s.Source.File], plain.Bytes()[s.HeadBytes:]...)
		}
	}
	t.Logf("%d segments, %d transactions, %d files", segments, transactions, len(files))
	rows := srv.Query("SHOW BINARY LOGS")
	for i, row := range rows {
		own, err := os.ReadFile(filepath.Join(srv.Datadir, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		own[4+17] &^= 1 // the in-use flag of the file still open
		got := files[row[0]]
		if i == len(rows)-1 && len(got) > 0 && len(got) < len(own) {
			own = own[:len(got)] // the server may have added to the file that is still open
		}
		if !bytes.Equal(got, own) {
			t.Errorf("%s: %d bytes archived, %d on the server, equal up to %d", row[0], len(got), len(own), common(got, own))
		}
	}
}

func common(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
