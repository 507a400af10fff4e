package stress

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/config"
)

// most is what a process of tidemark may have resident, whatever a transaction or an event measures.
const most = 128 << 20

// TestGiant archives a transaction that is larger than any memory should be, and an event that is, while
// small transactions follow in the same file; kills the daemon in its midst and behind it; reads all of it
// back by cat, verify and restore; and watches the memory of each. TIDEMARK_GIANT sets the sizes:
// TIDEMARK_GIANT=6GiB,512MiB takes the offsets of the file beyond 32 bits, half an hour and 40 GiB of disk.
func TestGiant(t *testing.T) {
	kit.Each(t, "", kit.Need{Servers: 2, Memory: 3}, giant)
}

// giantSizes are the bytes of the transaction and of the event.
func giantSizes(t *testing.T) (transaction, event config.Size) {
	t.Helper()
	transaction, event = 256<<20, 64<<20
	if text := os.Getenv("TIDEMARK_GIANT"); text != "" {
		first, second, _ := strings.Cut(text, ",")
		if transaction.UnmarshalText([]byte(first)) != nil || event.UnmarshalText([]byte(second)) != nil {
			t.Fatalf("TIDEMARK_GIANT=%q is not two sizes, as 6GiB,512MiB", text)
		}
	}
	return transaction, event
}

func giant(t *testing.T, b servertest.Binaries) {
	transaction, event := giantSizes(t)
	// What the primary itself makes of so much data is not what is tested: it is not synced, nor written twice.
	options := []string{"--max-binlog-size=1G", "--innodb-buffer-pool-size=512M", "--innodb-doublewrite=OFF", "--innodb-flush-method=nosync"}
	if b.Flavor == servertest.MySQL {
		options = append(options, "--innodb-redo-log-capacity=4G")
	} else {
		options = append(options, "--innodb-log-file-size=2G")
	}
	// A disk that writes gigabytes stalls everything that waits for it, the server's heartbeats too.
	w := kit.New(t, kit.Setup{Binaries: b, Options: options,
		Cluster: []string{"heartbeat: 10s", "spool: {max_size: 100GiB}", "segment: {max_age: 1s}"},
		SQL: []string{"CREATE DATABASE d", "CREATE TABLE d.small (id INT AUTO_INCREMENT PRIMARY KEY, session INT)",
			"CREATE TABLE d.large (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB) ROW_FORMAT=DYNAMIC"}})
	start(w)
	w.AwaitBase()
	watch := watched(w, "run, "+transaction.String()+" and "+event.String())

	// One commits the giant, others wait for it and share its group: they come behind it in the same file.
	const row = 1 << 20
	c := w.Server.Conn()
	exec := func(sql string) {
		t.Helper()
		if _, err := c.Execute(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("BEGIN")
	exec(fmt.Sprintf("INSERT INTO d.large (b) VALUES (REPEAT(RANDOM_BYTES(64), %d))", event/64))
	for done := config.Size(0); done < transaction-event; done += 16 * row {
		exec(fmt.Sprintf("INSERT INTO d.large (b) SELECT REPEAT(RANDOM_BYTES(64), %d) FROM (VALUES %s) AS v", row/64, rows(b, 16)))
	}
	together := "SET GLOBAL binlog_commit_wait_count=4, GLOBAL binlog_commit_wait_usec=60000000"
	apart := "SET GLOBAL binlog_commit_wait_count=0, GLOBAL binlog_commit_wait_usec=0"
	if b.Flavor == servertest.MySQL {
		together = "SET GLOBAL binlog_group_commit_sync_delay=1000000, GLOBAL binlog_group_commit_sync_no_delay_count=0"
		apart = "SET GLOBAL binlog_group_commit_sync_delay=0"
	}
	w.Server.Exec(together)
	var wg sync.WaitGroup
	commit := func() {
		if _, err := c.Execute("COMMIT"); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	wg.Go(commit)
	for i := range 3 {
		wg.Go(func() {
			time.Sleep(time.Duration(500+100*i) * time.Millisecond)
			if err := w.Server.Process.Exec(fmt.Sprintf("INSERT INTO d.small (session) VALUES (%d)", i)); err != nil {
				t.Errorf("small transaction %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	w.Server.Exec(apart)
	began := time.Now()
	time.Sleep(time.Second)
	watch()
	w.Daemon.Kill() // most likely in its midst
	start(w)
	watch = watched(w, "run, again")
	w.SettleFilesWithin(20 * time.Minute)
	t.Logf("archived %.0f s after the commit; from the beginning again: %d bytes twice", time.Since(began).Seconds(),
		w.Daemon.Last.DuplicateBytes)
	watch()
	w.Daemon.Kill() // behind it: it is compared when the stream goes on
	start(w)
	watch = watched(w, "run, behind it")
	w.Server.Exec("INSERT INTO d.small (session) VALUES (9)", "FLUSH BINARY LOGS", "INSERT INTO d.small (session) VALUES (10)")
	w.SettleFilesWithin(20 * time.Minute)
	watch()
	w.Stop()
	sameFiles(w)

	runWatched(w, "verify", "shop", "--data")
	target := filepath.Join(w.Dir, "restored")
	runWatched(w, "restore", "shop", "--target-dir", target)
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b, Extra: options})
	for _, sum := range []string{"SELECT COUNT(*), SUM(id * 10 + session) FROM d.small",
		"SELECT COUNT(*), SUM(LENGTH(b)), BIT_XOR(CRC32(b)) FROM d.large"} {
		if want, got := fmt.Sprint(w.Server.Query(sum)), fmt.Sprint(again.Query(sum)); got != want {
			t.Errorf("%s: restored %s, the primary has %s", sum, got, want)
		}
	}
}

// rows is a list of n rows, as VALUES has them.
func rows(b servertest.Binaries, n int) string {
	one := "(1)"
	if b.Flavor == servertest.MySQL {
		one = "ROW(1)"
	}
	list := one
	for range n - 1 {
		list += ", " + one
	}
	return list
}

// watched returns a function that checks the most memory that the daemon which runs now has had until then.
func watched(w *kit.World, name string) func() {
	pid := w.Daemon.Pid()
	return func() {
		w.T.Helper()
		p, err := kit.Inspect(pid)
		if err != nil {
			w.T.Error(err)
		}
		w.T.Logf("%s: at most %d MiB, %d MiB now, %d descriptors", name, p.Peak>>20, p.RSS>>20, p.Descriptors)
		if p.Peak > most {
			w.T.Errorf("%s: %d MiB were resident, of %d", name, p.Peak>>20, most>>20)
		}
	}
}

// runWatched runs tidemark and checks its memory.
func runWatched(w *kit.World, args ...string) {
	w.T.Helper()
	began := time.Now()
	peak, err := kit.RunWatched(w.Command(args...))
	if err != nil {
		w.T.Fatalf("tidemark %v: %v", args, err)
	}
	w.T.Logf("%s: at most %d MiB, %.0f s", args[0], peak>>20, time.Since(began).Seconds())
	if peak > most {
		w.T.Errorf("%s: %d MiB were resident, of %d", args[0], peak>>20, most>>20)
	}
}

// sameFiles compares the server's files with what cat writes to a pipe, and watches its memory.
func sameFiles(w *kit.World) {
	w.T.Helper()
	files := w.Server.Query("SHOW BINARY LOGS")
	for i, row := range files {
		own := filepath.Join(w.Server.Datadir, row[0])
		pipe, end, err := os.Pipe()
		if err != nil {
			w.T.Fatal(err)
		}
		cmd := w.Command("cat", "shop", "--from", row[0], "--to", row[0])
		cmd.Stdout = end
		type compared struct {
			bytes int64
			err   error
		}
		result := make(chan compared, 1)
		go func() {
			n, err := kit.SameFile(pipe, own, i == len(files)-1)
			_ = pipe.Close() // ends a cat that goes on
			result <- compared{n, err}
		}()
		peak, err := kit.RunWatched(cmd)
		_ = end.Close()
		if r := <-result; r.err != nil || err != nil {
			w.T.Errorf("file %d, %s: %v, %v", i+1, row[0], r.err, err)
		} else if w.T.Logf("cat %s: at most %d MiB for %d bytes, equal", row[0], peak>>20, r.bytes); peak > most {
			w.T.Errorf("cat: %d MiB were resident, of %d", peak>>20, most>>20)
		}
	}
}
