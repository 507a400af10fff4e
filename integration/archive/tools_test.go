package archive

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestStandardTools reads an archive as docs/format.md says it can be read without tidemark: each
// segment with zstd and mariadb-binlog, and a base backup with zstd and mbstream.
func TestStandardTools(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(1), readByTools, "mariadb-binlog", "mariadb-backup", "mbstream")
}

func readByTools(t *testing.T, bin servertest.Binaries) {
	if _, err := exec.LookPath("zstd"); err != nil {
		if os.Getenv("TIDEMARK_MUST_RUN") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w := kit.New(t, kit.Setup{Binaries: bin, Options: []string{"--max-binlog-size=1M"},
		Cluster: []string{"segment: {max_age: 500ms, max_size: 64KiB}", "heartbeat: 1s"}})
	load := workload.New(1, workload.Options{Domains: 2, MaxBlob: 1 << 20})
	if err := load.Setup(w.Server.Conn()); err != nil {
		t.Fatal(err)
	}
	if err := load.Once(t.Context(), w.Dial); err != nil {
		t.Fatal(err)
	}
	if err := load.Run(t.Context(), w.Dial, 3, 900); err != nil {
		t.Fatal(err)
	}
	w.Start()
	w.AwaitBase()
	w.SettleFiles()
	w.Stop()

	cat, cluster := catalogOf(w), filepath.Join(w.Dir, "archive", "shop")
	segments, middle := 0, 0
	for s, err := range cat.Segments(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if segments++; s.HeadBytes > 4 {
			middle++
		}
		// As in the document, with the name of the object found by its number.
		out := shell(t, cluster, bin, fmt.Sprintf("zstd -dc log/00000001/%016d-%016d.*.binlog.zst | "+
			"mariadb-binlog --verify-binlog-checksum -", s.First, s.Last))
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
	copied := filepath.Join(w.Dir, "copied")
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
