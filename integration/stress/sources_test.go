package stress

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// TestSources archives servers that encrypt their binlog, compress it, or both, over connections that end
// at random; what is archived is what the server sends to its replicas, standard tools read it, and a
// restore from it is the primary.
func TestSources(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		encrypt, compress := []string{"--encrypt-binlog=ON"}, []string{"--log-bin-compress=ON", "--log-bin-compress-min-len=10"}
		if b.Flavor == servertest.MySQL {
			encrypt, compress = []string{"--binlog-encryption=ON"}, []string{"--binlog-transaction-compression=ON"}
		}
		t.Run("compressed", func(t *testing.T) { source(t, b, "", compress) })
		if b.Flavor == servertest.MariaDB && !b.System { // the plugins of that version are not installed
			return
		}
		t.Run("encrypted", func(t *testing.T) {
			with, plugins := b, ""
			options := encrypt
			if b.Flavor == servertest.MySQL {
				with = servertest.WithKeyring(t, b, t.TempDir())
			} else {
				var key []string
				plugins, key = servertest.WithFileKey(t, b, t.TempDir())
				options = append(key, encrypt...)
			}
			t.Run("plain", func(t *testing.T) { source(t, with, plugins, options) })
			t.Run("compressed", func(t *testing.T) { source(t, with, plugins, append(options, compress...)) })
		})
	})
}

func source(t *testing.T, b servertest.Binaries, plugins string, options []string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(t, b, append([]string{"--max-binlog-size=4M"}, options...), "", "    segment: {max_age: 200ms, max_size: 1MiB}\n    heartbeat: 1s\n")
	encrypted := strings.Contains(strings.Join(options, " "), "encrypt")
	said := w.run([]int{3}, "check", "shop")
	if warned := strings.Contains(said, "the server encrypts its binlog; the archive holds it in the clear"); warned != encrypted {
		t.Errorf("check warns of an encrypted binlog: %v\n%s", warned, said)
	}

	without := []workload.Group{workload.Recreated}
	if b.Flavor == servertest.MySQL {
		without = append(without, workload.NonTransactional)
	}
	load := workload.New(int64(seed>>1), workload.Options{Domains: 2, MaxBlob: 2 << 20, BigTransaction: 3 << 20, Without: without})
	if err := load.Setup(w.srv.Conn()); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.await("a base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- load.Run(ctx, w.dial, 2, 0) }()
	for range harness.Count(t, 3) {
		time.Sleep(time.Duration(300+r.IntN(1000)) * time.Millisecond)
		w.d.Kill()
		w.start()
	}
	time.Sleep(time.Second)
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	w.srv.Exec("FLUSH BINARY LOGS")
	w.archived(time.Minute)
	truth, err := workload.Take(w.srv.Conn(), "the end")
	if err != nil {
		t.Fatal(err)
	}
	w.archived(time.Minute)
	if err := w.d.Stop(); err != nil {
		t.Fatal(err)
	}
	w.run(ok, "verify", "shop", "--data")
	if encrypted {
		w.compareWith(copied(t, w.srv))
	} else {
		w.compare()
	}
	readable(t, b, filepath.Join(w.dir, "archive"))

	target := filepath.Join(w.dir, "restored")
	args := []string{"restore", "shop", "--target-dir", target}
	if plugins != "" {
		args = append(args, "--plugin-dir", plugins)
	}
	w.run(ok, args...)
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
	if err := workload.Compare(again.Conn(), truth); err != nil {
		t.Error(err)
	}
}

// copied lets the server's own tool copy its binlog files as it sends them, which is in the clear.
func copied(t *testing.T, srv *servertest.Server) string {
	t.Helper()
	dir := t.TempDir()
	defaults := filepath.Join(dir, "client.cnf")
	if err := os.WriteFile(defaults, fmt.Appendf(nil, "[client]\nuser=%s\npassword=secret\n", servertest.User), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(srv.Binaries.Binlog, "--defaults-file="+defaults, "--read-from-remote-server", "--raw", "--host=127.0.0.1",
		fmt.Sprintf("--port=%d", srv.Port), "--result-file="+dir+"/", "--to-last-log", "binlog.000001").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// readable reads all segments with zstd and the server's own tool.
func readable(t *testing.T, b servertest.Binaries, archive string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(archive, "shop/log/00000001/*.binlog.zst"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	for _, s := range segments {
		out, err := exec.Command("bash", "-c", "set -o pipefail; zstd -dc "+s+" | "+b.Binlog+" --verify-binlog-checksum -").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "End of log file") {
			t.Fatalf("%s: %v\n%s", s, err, out[max(0, len(out)-500):])
		}
	}
}
