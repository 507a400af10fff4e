package applying

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/forge"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/restore"
	"tidemark/restore/archivetest"
)

// tools are what a base backup is made and unpacked with.
var tools = []string{"mariadb-backup", "mbstream"}

// small is the history of a server with a base backup and n rows after it, in one table. The test runs
// beside others; most stop the server, and then a restore has one at a time.
func small(t *testing.T, n int, extra ...string) (*servertest.Server, forge.Backup) {
	t.Helper()
	return smallOn(t, kit.One(t, kit.Servers(1), tools...), n, extra...)
}

func smallOn(t *testing.T, b servertest.Binaries, n int, extra ...string) (*servertest.Server, forge.Backup) {
	t.Helper()
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: extra})
	srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY, b LONGBLOB)")
	base := forge.TakeBackup(t, srv)
	conn := srv.Conn()
	for i := range n {
		if _, err := conn.Execute(fmt.Sprintf("INSERT INTO d.t VALUES (%d, RANDOM_BYTES(1000))", i)); err != nil {
			t.Fatal(err)
		}
	}
	return srv, base
}

// run plans and carries out a restore to the end of the log.
func run(ctx context.Context, t *testing.T, srv *servertest.Server, c *catalog.Catalog, o restore.Options) (*restore.Report, error) {
	t.Helper()
	plan, err := restore.MakePlan(ctx, c, restore.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return restore.Run(ctx, c, plan, with(srv, o))
}

// with completes options: the programs of the server that was backed up, and little memory.
func with(srv *servertest.Server, o restore.Options) restore.Options {
	o.Memory = 256 << 20
	o.Tools = mysqld.Tools{Mysqld: srv.Binaries.Mysqld, Backup: srv.Binaries.Backup, Mbstream: srv.Binaries.Mbstream}
	return o
}

// rows counts the rows of d.t on restored data.
func rows(t *testing.T, srv *servertest.Server, dir string) string {
	t.Helper()
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: dir, Binaries: srv.Binaries})
	defer again.Stop()
	return again.Value("SELECT COUNT(*) FROM d.t")
}

// noServer checks that nothing runs on a directory any more.
func noServer(t *testing.T, dir string) {
	t.Helper()
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte("--datadir="+dir+"\x00")) {
			t.Errorf("%s still runs: %q", path, bytes.ReplaceAll(text, []byte{0}, []byte(" ")))
		}
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	srv, base := small(t, 200)
	srv.Stop()
	for _, c := range []struct {
		name string
		key  func(*forge.Archive) string
	}{
		{"segment", func(a *forge.Archive) string { return a.Segments[len(a.Segments)-2].Stored.Key }},
		{"part", func(a *forge.Archive) string { return catalog.PartKey("b1", 2, "mbstream") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := forge.Make(t, srv, archivetest.Cut{Every: 20_000}, base)
			key := c.key(a)
			path := filepath.Join(a.Dir, key)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			bad := bytes.Clone(good)
			bad[len(bad)/2] ^= 1
			target := filepath.Join(openDir(t), "data")
			for _, damage := range []func() error{
				func() error { return os.WriteFile(path, bad, 0o600) },
				func() error { return os.Remove(path) },
			} {
				plan, err := restore.MakePlan(context.Background(), a.Catalog, restore.PlanOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(); err != nil {
					t.Fatal(err)
				}
				report, err := restore.Run(context.Background(), a.Catalog, plan, with(srv, restore.Options{TargetDir: target, RelaySpace: 1 << 20}))
				if !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), key) || report.Done {
					t.Fatalf("done %v, %v", report.Done, err)
				}
				noServer(t, target)
				if err := os.WriteFile(path, good, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// Repaired, the same command succeeds.
			report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: target})
			if resumed := report.Resumed != nil; err != nil || resumed != (c.name == "segment") || report.Restarted == resumed {
				t.Fatalf("resumed %v, restarted %v, %v", resumed, report.Restarted, err)
			}
			if n := rows(t, srv, target); n != "200" {
				t.Errorf("%s rows are restored", n)
			}
			if _, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: target}); !fault.Is(err, fault.TargetNotEmpty) {
				t.Errorf("once more into the same directory: %v", err)
			}
		})
	}
}

// TestRestoreInterrupted cancels restores in every phase, and then lets one run to its end.
func TestRestoreInterrupted(t *testing.T) {
	srv, base := small(t, 500)
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{Every: 20_000}, base)
	target := filepath.Join(openDir(t), "data")
	for i, phase := range []restore.Phase{restore.Fetch, restore.Prepare, restore.Start, restore.Apply, restore.Finish} {
		ctx, cancel := context.WithCancel(context.Background())
		report, err := run(ctx, t, srv, a.Catalog, restore.Options{TargetDir: target, RelaySpace: 512 << 10, Progress: func(e restore.Event) {
			if e.Phase == phase {
				cancel()
			}
		}})
		cancel()
		resumed := report.Resumed != nil
		if !fault.Is(err, fault.Interrupted) || report.Done || resumed != (phase == restore.Finish) || report.Restarted != (i > 0 && !resumed) {
			t.Fatalf("interrupted in phase %s: done %v, resumed %v, restarted %v, %v", phase, report.Done, resumed, report.Restarted, err)
		}
		noServer(t, target)
	}
	report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: target})
	if err != nil || report.Restarted || report.Resumed == nil || report.Transactions != 500 {
		t.Fatalf("%+v, %v", report, err)
	}
	if n := rows(t, srv, target); n != "500" {
		t.Errorf("%s rows are restored", n)
	}
}

// TestRelaySpace watches what relay logs take.
func TestRelaySpace(t *testing.T) {
	srv, base := small(t, 3000, "--max-binlog-size=1M")
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{Every: 100_000}, base)
	target := filepath.Join(openDir(t), "data")
	const space = 1 << 20
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		for {
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(2 * time.Millisecond):
				// In this order, so that a file that is moved from one to the other is not counted twice.
				relay := size(target + ".tidemark/run/relay")
				peak = max(peak, relay+size(target+".tidemark/stage"))
			}
		}
	}()
	report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: target, RelaySpace: space})
	close(stop)
	peak := <-most
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB of log in %d batches took at most %d KiB", report.LogBytes>>10, report.Batches, peak>>10)
	if peak > space || report.Batches < 5 {
		t.Errorf("relay logs took %d bytes of %d, in %d batches", peak, space, report.Batches)
	}
	if n := rows(t, srv, target); n != "3000" {
		t.Errorf("%s rows are restored", n)
	}
}

func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // it comes and goes
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

func TestRestoreSaysWhatTheServerSays(t *testing.T) {
	srv, base := small(t, 10)
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{}, base)
	log := archivetest.NewLog(7, time.Now())
	log.Statement(gtid.GTID{Server: 7, Seq: 10_000}, time.Now(), "d", "INSERT INTO d.nowhere VALUES (1)")
	a.Append("binlog.000099", log.Bytes(), archivetest.Cut{})
	a.Head(time.Now())
	for _, threads := range []int{0, 2} {
		target := filepath.Join(openDir(t), "data")
		report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: target, Threads: threads})
		if err == nil || report.Done || !strings.Contains(err.Error(), "1146") || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("%d threads: done %v, %v", threads, report.Done, err)
		}
		noServer(t, target)
	}
}

func TestRestoreChecksVersions(t *testing.T) {
	srv, base := small(t, 1)
	srv.Stop()
	srv.Binaries.Version = "11.4.2"
	a := forge.Make(t, srv, archivetest.Cut{}, base)
	target := filepath.Join(openDir(t), "data")
	_, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: target})
	if err == nil || !strings.Contains(err.Error(), "11.4.2") || !strings.Contains(fault.HintOf(err), "11.4") {
		t.Errorf("data of another version: %v (%s)", err, fault.HintOf(err))
	}
	if _, err := os.Stat(target); !os.IsNotExist(err) {
		t.Errorf("the target was touched: %v", err)
	}
}

// TestRestorePreparedXA stops between XA PREPARE and XA COMMIT.
func TestRestorePreparedXA(t *testing.T) {
	srv, base := small(t, 3)
	conn := srv.Conn()
	for _, sql := range []string{"XA START 'a'", "INSERT INTO d.t VALUES (100, '')", "XA END 'a'", "XA PREPARE 'a'"} {
		if _, err := conn.Execute(sql); err != nil {
			t.Fatal(err)
		}
	}
	prepared := srv.Value("SELECT @@gtid_binlog_pos")
	if _, err := conn.Execute("XA COMMIT 'a'"); err != nil {
		t.Fatal(err)
	}
	srv.Exec("INSERT INTO d.t VALUES (101, '')", "CREATE EVENT d.e ON SCHEDULE EVERY 1 DAY DO DELETE FROM d.t")
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{}, base)
	for _, threads := range []int{0, 4} {
		target, err := restore.ToGTID(prepared)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := restore.MakePlan(context.Background(), a.Catalog, restore.PlanOptions{Target: target})
		if err != nil {
			t.Fatal(err)
		}
		if plan.LastApplied.What != "INSERT INTO `d`.`t`" || plan.FirstNotApplied.What != "XA COMMIT" {
			t.Errorf("around the stop: %s, %s", plan.LastApplied, plan.FirstNotApplied)
		}
		dir := filepath.Join(openDir(t), "data")
		report, err := restore.Run(context.Background(), a.Catalog, plan, with(srv, restore.Options{TargetDir: dir, Threads: threads}))
		if err != nil {
			t.Fatal(err)
		}
		if len(report.PreparedXA) != 1 || report.PreparedXA[0] != "'a'" || !report.HasWarnings() {
			t.Errorf("prepared %q, warnings %q", report.PreparedXA, report.Warnings)
		}
		if n := rows(t, srv, dir); n != "3" {
			t.Errorf("%s rows are restored", n)
		}
	}
	report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: filepath.Join(openDir(t), "data")})
	if err != nil || len(report.PreparedXA) != 0 || len(report.EventsDisabled) != 1 || report.EventsDisabled[0] != "`d`.`e`" {
		t.Errorf("to the end: prepared %q, events %q, %v", report.PreparedXA, report.EventsDisabled, err)
	}
}

// TestRestoreOddLogs restores logs whose GTIDs go up and down, without checksums, and compressed.
func TestRestoreOddLogs(t *testing.T) {
	t.Parallel()
	for _, extra := range [][]string{
		{"--gtid-strict-mode=OFF"},
		{"--binlog-checksum=NONE"},
		{"--log-bin-compress=ON", "--log-bin-compress-min-len=10", "--binlog-format=STATEMENT"},
	} {
		t.Run(strings.Join(extra, " "), func(t *testing.T) {
			srv, base := small(t, 5, extra...)
			for i, seq := range []int{500, 90, 91, 7000, 20, 21, 600} {
				srv.Exec(fmt.Sprintf("SET gtid_seq_no=%d", seq), fmt.Sprintf("INSERT INTO d.t VALUES (%d, REPEAT('x', 500))", 1000+i),
					fmt.Sprintf("INSERT INTO d.t VALUES (%d, REPEAT('x', 500))", 2000+i), "FLUSH BINARY LOGS")
			}
			pos := srv.Value("SELECT @@gtid_binlog_pos")
			srv.Stop()
			a := forge.Make(t, srv, archivetest.Cut{Every: 1}, base)
			for _, threads := range []int{0, 4} {
				dir := filepath.Join(openDir(t), "data")
				report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: dir, Threads: threads, RelaySpace: 1})
				if err != nil {
					t.Fatal(err)
				}
				if n := rows(t, srv, dir); n != "19" || report.GTID != pos {
					t.Errorf("%s rows are restored, to %s; the end is %s", n, report.GTID, pos)
				}
			}
		})
	}
}
