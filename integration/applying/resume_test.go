package applying

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/forge"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/restore"
	"tidemark/restore/archivetest"
)

// TestResumeOrNot interrupts restores while they apply the log, changes something, and runs them again:
// what was applied is used if that is certain to be exact, and else the report says why it is not.
func TestResumeOrNot(t *testing.T) {
	srv, first := small(t, 400)
	second := forge.TakeBackup(t, srv)
	srv.Exec("INSERT INTO d.t VALUES (1000, '')")
	middle := srv.Value("SELECT @@gtid_binlog_pos")
	srv.Exec("INSERT INTO d.t VALUES (1001, '')")
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{Every: 20_000}, first, second)
	to := func(target restore.Target, err error) restore.Target {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	early := to(restore.ToGTID("0-7-20"))
	set := func(values map[string]any) func(*testing.T, string) {
		return func(t *testing.T, dir string) { edit(t, dir, values) }
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		before restore.Target // of the restore that is interrupted
		target restore.Target
		newest bool   // does not ask for the base backup that was begun with
		why    string // it begins again; "": it is resumed
		rows   string
	}{
		{name: "nothing", rows: "402"},
		{name: "a later target", before: to(restore.ToGTID(middle)), rows: "402"},
		{name: "an earlier target", target: early, why: "behind this target", rows: "18"},
		{name: "another base backup", newest: true, why: "began from base backup b1", rows: "402"},
		{name: "fragile", change: set(map[string]any{"fragile": "0-7-5"}), why: "from 0-7-5 on", rows: "402"},
		{name: "a restart of the machine", change: set(map[string]any{"boot_id": "x"}), rows: "402"},
		{name: "a restart of the machine after what is not transactional", change: set(map[string]any{"boot_id": "x", "unsynced": true}),
			why: "the machine was restarted", rows: "402"},
		{name: "another timeline", change: set(map[string]any{"timeline": 2}), why: "timelines 2 and 1 may differ there", rows: "402"},
		{name: "another version", change: set(map[string]any{"version": 1}), why: "another version", rows: "402"},
		{name: "repeated failures", change: set(map[string]any{"failures": 2, "failed": "no"}), why: "has failed repeatedly: no", rows: "402"},
		{name: "a program that still runs", change: linger, rows: "402"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(openDir(t), "data")
			again := func(ctx context.Context, target restore.Target, base string, o restore.Options) (*restore.Report, error) {
				t.Helper()
				plan, err := restore.MakePlan(ctx, a.Catalog, restore.PlanOptions{Target: target, Base: base})
				if err != nil {
					t.Fatal(err)
				}
				o.TargetDir, o.RelaySpace = dir, 1
				return restore.Run(ctx, a.Catalog, plan, with(srv, o))
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, err := again(ctx, c.before, "b1", restore.Options{Progress: func(e restore.Event) {
				if e.Phase == restore.Finish {
					cancel()
				}
			}})
			if !fault.Is(err, fault.Interrupted) || restore.InterruptedBase(dir) != "b1" {
				t.Fatalf("interrupted restore: %v, from %q", err, restore.InterruptedBase(dir))
			}
			if c.change != nil {
				c.change(t, dir)
			}
			base := restore.InterruptedBase(dir)
			if c.newest {
				base = ""
			}
			report, err := again(context.Background(), c.target, base, restore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if report.Restarted != (c.why != "") || (report.Resumed != nil) == report.Restarted || !strings.Contains(report.Why, c.why) {
				t.Errorf("resumed %+v, restarted %v because %q", report.Resumed, report.Restarted, report.Why)
			}
			if n := rows(t, srv, dir); n != c.rows {
				t.Errorf("%s rows are restored, not %s", n, c.rows)
			}
		})
	}
}

// TestInterruptedFragile cancels a restore while the server applies changes that are not transactional: it
// comes to rest before it ends, so that the restore can be resumed.
func TestInterruptedFragile(t *testing.T) {
	srv, base := small(t, 1)
	conn := srv.Conn()
	const n = 3000
	for i := range n {
		sql := fmt.Sprintf("INSERT INTO d.m VALUES (%d)", i)
		if i == 0 {
			sql = "CREATE TABLE d.m (a INT) ENGINE=MyISAM"
		}
		if _, err := conn.Execute(sql); err != nil {
			t.Fatal(err)
		}
	}
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{Every: 20_000}, base)
	for _, threads := range []int{0, 4} {
		dir := filepath.Join(openDir(t), "data")
		interrupted, resumed := 0, 0
		for i := range 6 {
			ctx, cancel := context.WithCancel(context.Background())
			report, err := run(ctx, t, srv, a.Catalog, restore.Options{TargetDir: dir, Threads: threads, RelaySpace: 1, Progress: func(e restore.Event) {
				if e.Phase == restore.Apply && e.Kind == restore.Started && i < 5 {
					time.AfterFunc(time.Duration(10+20*i)*time.Millisecond, cancel)
				}
			}})
			cancel()
			if report.Restarted {
				t.Errorf("began again: %s", report.Why)
			}
			if report.Resumed != nil {
				resumed++
			}
			if err == nil {
				break
			}
			if interrupted++; !fault.Is(err, fault.Interrupted) {
				t.Fatal(err)
			}
		}
		t.Logf("interrupted %d times, resumed %d times", interrupted, resumed)
		if interrupted == 0 || resumed != interrupted {
			t.Errorf("interrupted %d times, resumed %d times", interrupted, resumed)
		}
		again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: dir, Binaries: srv.Binaries})
		if got := again.Value("SELECT CONCAT(COUNT(*), ' ', COUNT(DISTINCT a)) FROM d.m"); got != fmt.Sprintf("%d %[1]d", n-1) {
			t.Errorf("restored %s rows of %d", got, n-1)
		}
		again.Stop()
	}
}

// TestInterruptedXA ends a restore's server between the two halves of an XA transaction: it recovers the
// first, and the second ends it.
func TestInterruptedXA(t *testing.T) {
	srv, base := small(t, 0)
	conn := srv.Conn()
	const n = 6000
	for i := range n {
		var statements []string
		switch i {
		case 0:
			statements = []string{"XA START 'a'", "INSERT INTO d.t VALUES (10000, 'xa')", "XA END 'a'", "XA PREPARE 'a'"}
		case n - 1:
			statements = []string{"XA COMMIT 'a'"}
			conn = srv.Conn()
		default:
			if i == 1 {
				conn.Close()
				conn = srv.Conn()
			}
			statements = []string{fmt.Sprintf("INSERT INTO d.t VALUES (%d, RANDOM_BYTES(1000))", i)}
		}
		for _, sql := range statements {
			if _, err := conn.Execute(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{Every: 100_000}, base)
	for _, threads := range []int{0, 4} {
		dir := filepath.Join(openDir(t), "data")
		ctx, cancel := context.WithCancel(context.Background())
		_, err := run(ctx, t, srv, a.Catalog, restore.Options{TargetDir: dir, Threads: threads, RelaySpace: 1, Progress: func(e restore.Event) {
			if e.Phase == restore.Apply && e.Transactions > n/2 {
				cancel()
			}
		}})
		cancel()
		if !fault.Is(err, fault.Interrupted) {
			t.Fatal(err)
		}
		report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: dir, Threads: threads})
		if err != nil || report.Resumed == nil || report.Resumed.Transactions < n/4 || len(report.PreparedXA) != 0 {
			t.Fatalf("%+v, %+v, %v", report, report.Resumed, err)
		}
		t.Logf("resumed at %s, with %d transactions", report.Resumed.GTID, report.Resumed.Transactions)
		if got := rows(t, srv, dir); got != fmt.Sprint(n-1) {
			t.Errorf("%s rows are restored", got)
		}
	}
}

// edit changes values of a restore's state.
func edit(t *testing.T, dir string, values map[string]any) {
	t.Helper()
	path := dir + ".tidemark/state.json"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	state := make(map[string]any)
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		if _, ok := state[name]; !ok {
			t.Fatalf("the state has no %q", name)
		}
		state[name] = value
	}
	if text, err = json.Marshal(state); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// linger holds the lock of a restore's programs for a while, as a server does that takes its time to die.
func linger(t *testing.T, dir string) {
	t.Helper()
	lock, err := durable.TryLock(dir + ".tidemark/processes.lock")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, lock.Release)
}

// TestDoneButNotTidied ends a restore between the record that it is done and the end of tidying up.
func TestDoneButNotTidied(t *testing.T) {
	srv, base := small(t, 5)
	srv.Stop()
	a := forge.Make(t, srv, archivetest.Cut{}, base)
	dir := filepath.Join(openDir(t), "data")
	report, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ ID string }
	text, err := os.ReadFile(dir + ".tidemark/state.json")
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ".tidemark-restore"), []byte(state.ID+"\n"), 0o600)
	}
	if err == nil {
		err = os.Mkdir(dir+".tidemark/run", 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: dir})
	if err != nil || !again.Done || again.Restarted || again.GTID != report.GTID || again.Transactions != 5 {
		t.Errorf("%+v, %v", again, err)
	}
	for _, gone := range []string{dir + ".tidemark/run", dir + "/.tidemark-restore"} {
		if _, err := os.Stat(gone); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", gone, err)
		}
	}
	if _, err := run(context.Background(), t, srv, a.Catalog, restore.Options{TargetDir: dir}); !fault.Is(err, fault.TargetNotEmpty) {
		t.Errorf("once more: %v", err)
	}
	if n := rows(t, srv, dir); n != "5" {
		t.Errorf("%s rows are restored", n)
	}
}

// TestPrivateServerHoldsLock shows that a lock lasts as long as the server that inherits it.
func TestPrivateServerHoldsLock(t *testing.T) {
	kit.Each(t, "", kit.Servers(1), func(t *testing.T, b servertest.Binaries) {
		srv := servertest.Start(t, servertest.Options{Binaries: b})
		srv.Stop()
		path := filepath.Join(t.TempDir(), "lock")
		lock, err := durable.TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := inherit(t, srv, lock.File())
		lock.Release()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := durable.TryLock(path); err == nil {
			t.Error("the lock is free while the server runs")
		}
		s.Close()
		if lock, err = durable.TryLock(path); err != nil {
			t.Fatalf("the server has ended: %v", err)
		}
		lock.Release()
	})
}
