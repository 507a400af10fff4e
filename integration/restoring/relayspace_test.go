package restoring

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestRelaySpace restores a log that is many times as large as the space for relay logs, and looks on all
// the while how much disk they take and how much memory the tool does. N= is the log's size in units of the
// relay space, of which one is 32 MiB; N=128 makes a log of 4 GiB.
func TestRelaySpace(t *testing.T) { kit.Each(t, "", kit.Servers(2), relaySpace) }

func relaySpace(t *testing.T, b servertest.Binaries) {
	const (
		space, transaction = 32 << 20, 1 << 20

		sum = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(v))) FROM big.t"
	)
	n := kit.CountOn(t, b, 8, 4)
	w := archive(t, b, "CREATE DATABASE big", "CREATE TABLE big.t (id INT AUTO_INCREMENT PRIMARY KEY, v LONGBLOB)",
		"SET GLOBAL max_binlog_size=104857600")
	for range n {
		for range space / transaction {
			w.Server.Exec(fmt.Sprintf("INSERT INTO big.t (v) VALUES (REPEAT(SHA2(RAND(), 256), %d))", transaction/64))
		}
		// The disk of the machine has its end too.
		w.Server.Exec("DELETE FROM big.t ORDER BY id LIMIT " + strconv.Itoa(space/transaction/2))
	}
	want := w.Server.Value(sum)
	w.End()
	target := within(t, "restored")
	cmd := w.Command("restore", "shop", "--target-dir", target, "--relay-space", "32MiB", "--memory", "256MiB")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var disk, memory int64
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; {
		disk = max(disk, relayBytes(target))
		if p, err := kit.Inspect(cmd.Process.Pid); err == nil {
			memory = max(memory, p.Peak)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			running = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Logf("a log of %d MiB: at most %.1f MiB of relay logs, %d MiB of memory", n*space>>20, float64(disk)/(1<<20), memory>>20)
	// The server decides when a file that it has read goes.
	if most := int64(space + space/8 + transaction); disk > most {
		t.Errorf("relay logs took %d bytes of %d, and %d at most are a file and a transaction more", disk, space, most)
	}
	if disk < space/4 {
		t.Errorf("relay logs took %d bytes only: this has looked in the wrong place", disk)
	}
	if memory > 256<<20 || memory == 0 {
		t.Errorf("the tool took %d MiB of memory", memory>>20)
	}
	open(w, target, func(again *servertest.Server) {
		if got := again.Value(sum); got != want {
			t.Errorf("the restored table holds %s, expected %s", got, want)
		}
	})
}

// relayBytes is the size of all files beside a target directory in which relay logs are. A file that is
// moved meanwhile counts once.
func relayBytes(target string) (sum int64) {
	seen := map[uint64]bool{}
	for _, dir := range []string{"stage", "run/relay"} {
		_ = filepath.WalkDir(filepath.Join(target+".tidemark", dir), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			info, err := e.Info()
			if err != nil { // it is gone already
				return nil
			}
			if inode := info.Sys().(*syscall.Stat_t).Ino; !seen[inode] {
				seen[inode] = true
				sum += info.Size()
			}
			return nil
		})
	}
	return sum
}
