package stress

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestSources archives servers that encrypt their binlog, compress it, or both, over connections that end
// at random; what is archived is what the server sends to its replicas, standard tools read it, and a
// restore from it is the primary.
func TestSources(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		t.Parallel()
		t.Run("compressed", func(t *testing.T) { source(t, b, compress) })
		if b.Flavor == servertest.MariaDB && !b.System { // the plugins of that version are not installed
			return
		}
		t.Run("encrypted", func(t *testing.T) {
			t.Parallel()
			t.Run("plain", func(t *testing.T) { source(t, b, encrypt) })
			t.Run("compressed", func(t *testing.T) { source(t, b, encrypt, compress) })
		})
	})
}

// feature is how a server is told to treat its binlog.
type feature struct{ mariadb, mysql []string }

var (
	compress = feature{[]string{"--log-bin-compress=ON", "--log-bin-compress-min-len=10"}, []string{"--binlog-transaction-compression=ON"}}
	encrypt  = feature{[]string{"--encrypt-binlog=ON"}, []string{"--binlog-encryption=ON"}}
)

func source(t *testing.T, b servertest.Binaries, features ...feature) {
	kit.Parallel(t, kit.Servers(2))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	options := []string{"--max-binlog-size=4M"}
	for _, f := range features {
		if b.Flavor == servertest.MySQL {
			options = append(options, f.mysql...)
		} else {
			options = append(options, f.mariadb...)
		}
	}
	encrypted := strings.Contains(strings.Join(options, " "), "encrypt")
	var restoring []string // with what a restore has to know of the server
	if encrypted && b.Flavor == servertest.MySQL {
		restoring = []string{"--allow-path", filepath.Dir(filepath.Dir(b.Mysqld))} // to which its files are links
		b = servertest.WithKeyring(t, b, t.TempDir())
	} else if encrypted {
		plugins, key := servertest.WithFileKey(t, b, t.TempDir())
		options, restoring = slices.Concat(options, key), []string{"--plugin-dir", plugins}
	}
	w := kit.New(t, kit.Setup{Binaries: b, Options: options, Cluster: []string{"segment: {max_age: 200ms, max_size: 1MiB}", "heartbeat: 1s"}})
	said := w.RunTo([]int{3}, "check", "shop")
	if warned := strings.Contains(said, "the server encrypts its binlog; the archive holds it in the clear"); warned != encrypted {
		t.Errorf("check warns of an encrypted binlog: %v\n%s", warned, said)
	}

	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 2 << 20, BigTransaction: 3 << 20})
	start(w)
	w.AwaitBase()
	load.Begin(2)
	for range kit.Count(t, 3) {
		w.Await("the stream", streams)
		load.Wrote(50 + r.IntN(250))
		w.Daemon.Kill()
		start(w)
	}
	load.Wrote(250)
	load.End()
	w.Server.Rotate()
	truth := w.Truth("the end")
	w.SettleFiles()
	w.Stop()
	w.Run("verify", "shop", "--data")
	if encrypted {
		w.FilesEqualThose(copied(t, w.Server))
	} else {
		w.FilesEqual()
	}
	readByTools(t, b, filepath.Join(w.Dir, "archive"))
	w.RestoreEquals(truth, restoring...)
}

// copied lets the server's own tool copy its binlog files as it sends them, which is in the clear.
func copied(t *testing.T, srv *servertest.Server) string {
	t.Helper()
	dir := t.TempDir()
	defaults := filepath.Join(dir, "client.cnf")
	if err := os.WriteFile(defaults, fmt.Appendf(nil, "[client]\nuser=%s\npassword=%s\n", servertest.User, kit.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(srv.Binaries.Binlog, "--defaults-file="+defaults, "--read-from-remote-server", "--raw", "--host=127.0.0.1",
		fmt.Sprintf("--port=%d", srv.Port), "--result-file="+dir+"/", "--to-last-log", "binlog.000001").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// readByTools reads all segments with zstd and the server's own tool.
func readByTools(t *testing.T, b servertest.Binaries, archive string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(archive, "shop/log/00000001/*.binlog.zst"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, s := range segments {
		if _, err := kit.ReadSegment(b, s); err != nil {
			t.Fatal(err)
		}
	}
}
