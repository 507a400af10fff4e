package archive

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// TestCompaction lets the daemon compact an encrypted archive under load, without a key that opens it, and kills it
// meanwhile. What list, verify, cat and a restore say of a past moment is the same before the segments there are
// compacted, beside their members, and when these are gone; and in the end every byte of the server's binlogs is in
// the archive once.
func TestCompaction(t *testing.T) {
	kit.OnSystem(t, kit.Servers(2), compaction)
}

func compaction(t *testing.T, b servertest.Binaries) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	w := kit.New(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=8M"}, Encrypted: true, Cluster: compactingAfter("1h")})
	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 50 << 10})
	w.Start()
	w.AwaitBase()
	load.Begin(2)
	load.Wrote(300)
	past, err := load.Checkpoint(w.Server.Conn(), "past")
	if err != nil {
		t.Fatal(err)
	}
	w.Server.Exec("FLUSH BINARY LOGS")
	w.Await("the past is archived", func(s kit.Status) bool { return s.Archived.File > past.File })
	before := digests(w, past)
	look(w, "before", past, before)

	for range 3 {
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		w.Daemon.Kill()
		w.Start()
	}
	w.Await("segments are compacted", func(s kit.Status) bool { return s.Compaction.Into > 0 && s.Archived.File != "" })
	look(w, "beside the members", past, before)
	restartCompacting(w, "0s") // nobody reads meanwhile, for whom they would have to stay
	w.Await("members are removed", func(s kit.Status) bool { return s.Compaction.RemovedObjects > 0 && s.Compaction.Error == "" })
	restartCompacting(w, "1h")
	look(w, "without the members", past, before)

	load.End()
	w.Server.Rotate()
	w.SettleFiles()
	t.Logf("compaction: %+v", w.Daemon.Last.Compaction)
	w.Stop()
	w.RunTo([]int{0}, "verify", "shop", "--data", "--identity", w.Identity)
	w.FilesEqual("--identity", w.Identity)
}

// compactingAfter lets the daemon compact what is a second old, and remove what that replaces so much later.
func compactingAfter(grace string) []string {
	return []string{"segment: {max_age: 100ms}", "heartbeat: 1s", "compaction: {size: 8MiB, age: 1s, grace: " + grace + "}"}
}

// restartCompacting ends the daemon and starts it with another grace.
func restartCompacting(w *kit.World, grace string) {
	w.T.Helper()
	w.Stop()
	w.Configure(func(s *kit.Setup) { s.Cluster = compactingAfter(grace) })
	w.Start()
}

// digests are those of the files up to a moment.
func digests(w *kit.World, past workload.Checkpoint) string {
	w.T.Helper()
	dir := w.Cat("--to", past.File, "--identity", w.Identity)
	defer os.RemoveAll(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.T.Fatal(err)
	}
	var sums strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			w.T.Fatal(err)
		}
		fmt.Fprintf(&sums, "%s %d %x\n", e.Name(), len(data), sha256.Sum256(data))
	}
	return sums.String()
}

// look reads the archive in all ways while it is written to, and compares what it says of the past.
func look(w *kit.World, when string, past workload.Checkpoint, want string) {
	w.T.Helper()
	w.T.Logf("%s: compaction: %+v", when, w.Daemon.Last.Compaction)
	if got := digests(w, past); got != want {
		w.T.Errorf("%s: cat gives\n%s\nand gave\n%s", when, got, want)
	}
	w.RunTo([]int{0}, "list", "shop", "--segments")
	w.RunTo([]int{0}, "verify", "shop", "--data", "--identity", w.Identity)
	w.RestoreEquals(past, "--to-gtid", past.GTIDPos, "--identity", w.Identity)
}
