package archive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
	"tidemark/internal/catalog"
	"tidemark/storage/file"
)

// TestStandardTools reads an archive as docs/format.md says it can be read without tidemark: each
// segment with zstd and mariadb-binlog, and a base backup with zstd and mbstream.
func TestStandardTools(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, readByTools, "mariadb-binlog", "mariadb-backup", "mbstream")
}

func readByTools(t *testing.T, bin servertest.Binaries) {
	harness.Use(t, bin)
	if _, err := exec.LookPath("zstd"); err != nil {
		if os.Getenv("TIDEMARK_MUST_RUN") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: bin, Extra: []string{"--max-binlog-size=1M"}})
	srv.CreateUser(servertest.User, "secret")
	w := workload.New(1, workload.Options{Domains: 2, MaxBlob: 1 << 20})
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}
	dial := func() (*client.Conn, error) { return srv.Process.Conn() }
	if err := w.Once(t.Context(), dial); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context(), dial, 3, 900); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archived(t, srv, dir)

	store, err := file.Open(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(t.Context(), store, "shop", "test")
	if err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Join(dir, "archive", "shop")
	segments, middle := 0, 0
	for s, err := range cat.Segments(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if segments++; s.HeadBytes > 4 {
			middle++
		}
		// As in the document, with the name of the object found by its number.
		out := shell(t, cluster, bin, fmt.Sprintf("zstd -dc log/00000001/%016d-%016d.*.binlog.zst | mariadb-binlog --verify-binlog-checksum -", s.First, s.Last))
		if n := len(gtids.FindAll(out, -1)); uint64(n) != s.Transactions {
			t.Errorf("segment %s: mariadb-binlog shows %d transactions, there are %d", s.Name(), n, s.Transactions)
		}
		if bytes.Contains(out, []byte("Warning")) || bytes.Contains(out, []byte("ERROR")) {
			t.Errorf("segment %s: mariadb-binlog is not content:\n%.2000s", s.Name(), out)
		}
	}
	if segments < 5 || middle < 2 {
		t.Errorf("%d segments, %d that begin in the middle of a file", segments, middle)
	}

	bases, err := cat.Bases(t.Context())
	if err != nil || len(bases) != 1 {
		t.Fatalf("base backups: %v, %v", bases, err)
	}
	copied := filepath.Join(dir, "copied")
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	shell(t, cluster, bin, fmt.Sprintf(`for p in base/%s/*.mbstream.zst; do zstd -dc "$p"; done | mbstream -x -C %s`, bases[0].ID, copied))
	// A tablespace that came into being while it was copied has the suffix new until it is prepared.
	for _, name := range []string{"ibdata1", "wl_0/account.[in][be][dw]", "wl_0/account.frm", "mysql/global_priv.MAD"} {
		files, err := filepath.Glob(filepath.Join(copied, name))
		if err != nil || len(files) != 1 {
			t.Errorf("%s of the copy: %v, %v", name, files, err)
			continue
		}
		if info, err := os.Stat(files[0]); err != nil || info.Size() == 0 {
			t.Errorf("%s of the copy: %v", name, err)
		}
	}
}

// gtids are the lines with which mariadb-binlog begins transactions.
var gtids = regexp.MustCompile(`(?m)^#.*\tGTID \d+-\d+-\d+`)

// archived archives all that a server has, with a base backup, and stops.
func archived(t *testing.T, srv *servertest.Server, dir string) {
	t.Helper()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 500ms, max_size: 64KiB}\n    heartbeat: 1s\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	if err := d.Await(context.Background(), time.Minute, func(s harness.Status) bool {
		return s.LastBackup.ID != "" && s.Primary.File != "" && s.Archived.File == s.Primary.File && s.Archived.Offset == s.Primary.Offset
	}); err != nil {
		t.Fatalf("%v\n%s", err, d.Tail())
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
}

// shell runs a pipeline in a directory, with the programs of the server in the path, and returns what
// it prints, errors included.
func shell(t *testing.T, dir string, bin servertest.Binaries, command string) []byte {
	t.Helper()
	cmd := exec.Command("bash", "-c", "set -euo pipefail; "+command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+strings.Join([]string{filepath.Dir(bin.Binlog), os.Getenv("PATH")}, ":"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%.2000s", command, err, out)
	}
	return out
}
