package restoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/restore"
)

// follower is a `tidemark restore --follow` that runs.
type follower struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string // of its status
	out    bytes.Buffer
	log    *phaseLog
	ended  chan error
	target string
}

func follow(t *testing.T, tool, cfg, target string, args ...string) *follower {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, target: target, addr: l.Addr().String(), log: &phaseLog{reached: make(chan struct{})}, ended: make(chan error, 1)}
	_ = l.Close()
	f.cmd = exec.Command(tool, append([]string{"restore", "shop", "--config", cfg, "--target-dir", target, "--follow", "--status-listen", f.addr,
		"--relay-space", "8MiB", "--memory", "128MiB", "--json", "--quiet", "--log-level", "info", "--log-format", "json"}, args...)...)
	f.cmd.Stdout, f.cmd.Stderr = &f.out, f.log
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	go func() { f.ended <- f.cmd.Wait() }()
	return f
}

// standingBy is what the status says.
type standingBy struct {
	Phase           string
	Follows         bool
	DelaySeconds    float64
	BehindSeconds   float64
	LastApplied     string
	LastAppliedTime time.Time
	PhaseSeconds    float64
	Phases          []struct{ Phase string }
}

func (f *follower) status() (s standingBy) {
	f.t.Helper()
	r, err := http.Get("http://" + f.addr + "/status")
	if err != nil {
		return s
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	var m struct{ Restore standingBy }
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		f.t.Fatalf("%v\n%s", err, data)
	}
	return m.Restore
}

// await waits until the status is as wished.
func (f *follower) await(what string, ok func(standingBy) bool) {
	f.t.Helper()
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := f.status()
		if ok(s) {
			return
		}
		select {
		case err := <-f.ended:
			f.t.Fatalf("%s: it ended: %v\n%s", what, err, f.log)
		default:
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s: %+v\n%s", what, s, f.log)
		}
	}
}

// caughtUp waits until it has applied all that is archived by now.
func (f *follower) caughtUp() {
	f.t.Helper()
	since := -1.0
	f.await("caught up", func(s standingBy) bool {
		if since < 0 && s.Phase == "follow" {
			since = s.PhaseSeconds + 3 // it has looked again
		}
		return s.Phase == "follow" && s.PhaseSeconds > since && s.BehindSeconds == 0
	})
}

// kill ends it as a crash does.
func (f *follower) kill() {
	_ = f.cmd.Process.Kill()
	<-f.ended
}

// stop asks it to end, and returns its report.
func (f *follower) stop() restore.Report {
	f.t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
	return f.end()
}

// end waits until it has ended by itself.
func (f *follower) end() (report restore.Report) {
	f.t.Helper()
	select {
	case err := <-f.ended:
		if err != nil && harness.ExitCode(err) != 3 {
			f.t.Fatalf("%v\n%s", err, f.log)
		}
	case <-time.After(3 * time.Minute):
		f.t.Fatalf("it does not end\n%s", f.log)
	}
	if err := json.Unmarshal(f.out.Bytes(), &report); err != nil {
		f.t.Fatalf("%v\n%s", err, f.out.Bytes())
	}
	if pid := serverOn(f.target); pid != 0 {
		f.t.Errorf("process %d still runs on %s", pid, f.target)
	}
	return report
}

// TestFollow lets a standby follow the archive of a server that a workload writes to, kills it with
// `kill -9` meanwhile, stops it, lets it go on, and opens it: it equals the primary.
func TestFollow(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 5))
		o := transactional(b)
		o.Pause = 20 * time.Millisecond
		p := begin(t, b, seed, o)
		target := filepath.Join(p.dir, "standby")

		f := follow(t, p.tool, p.cfg, target)
		f.await("follow", func(s standingBy) bool { return s.Phase == "follow" && s.Follows })
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		f.kill()

		f = follow(t, p.tool, p.cfg, target)
		f.await("follow again", func(s standingBy) bool { return s.Phase == "follow" })
		if out := f.log.outcome(); !out.resumed || out.restarted {
			t.Errorf("killed while it followed, it began again: %s", out.why)
		}
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		if mid := f.stop(); !mid.Paused || mid.Done || mid.GTID == "" {
			t.Errorf("stopped, it reports %+v", mid)
		}

		f = follow(t, p.tool, p.cfg, target)
		last := p.end(t)
		f.caughtUp()
		if out := f.log.outcome(); !out.resumed || out.restarted {
			t.Errorf("stopped while it followed, it began again: %s", out.why)
		}
		report := f.stop()
		if !report.Paused || report.GTID != last.GTIDPos {
			t.Errorf("stopped at %s, paused %v; the primary was at %s", report.GTID, report.Paused, last.GTIDPos)
		}

		out, err := exec.Command(p.tool, "restore", "shop", "--config", p.cfg, "--target-dir", target, "--to-gtid", report.GTID, "--json").Output()
		if err != nil && harness.ExitCode(err) != 3 {
			t.Fatalf("%v\n%s", err, out)
		}
		var opened restore.Report
		if err := json.Unmarshal(out, &opened); err != nil || !opened.Done || opened.Resumed == nil || opened.Restarted || opened.GTID != last.GTIDPos {
			t.Errorf("opened: %v, %s", err, out)
		}
		p.compare(t, target, last)
	})
}

// TestFollowRest kills a standby that has applied all there is, lets it come back to rest without anything new, and go on:
// nothing is applied twice.
func TestFollowRest(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		a := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (v INT)")
		target := filepath.Join(a.dir, "standby")
		a.srv.Exec("INSERT INTO d.t VALUES (1), (2)", "INSERT INTO d.t VALUES (3)")
		a.settled(t)
		f := follow(t, a.tool, a.cfg, target)
		f.caughtUp()
		f.kill()
		f = follow(t, a.tool, a.cfg, target)
		f.caughtUp()
		a.srv.Exec("INSERT INTO d.t VALUES (4)")
		end := a.end(t)
		f.caughtUp()
		if report := f.stop(); report.GTID != end {
			t.Errorf("the primary is at %s, the standby at %s", end, report.GTID)
		}
		again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
		if got := again.Value("SELECT GROUP_CONCAT(v ORDER BY v) FROM d.t"); got != "1,2,3,4" {
			t.Errorf("rows %s", got)
		}
	})
}

// TestFollowDelay: a standby that lags by choice applies nothing that is younger than its delay, is not moved
// back by a longer one, ends at a time, and is opened before an accident.
func TestFollowDelay(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		const delay = 20 * time.Second
		a := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(99), at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6))")
		target := filepath.Join(a.dir, "standby")
		for end := time.Now().Add(delay + 2*time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			a.srv.Exec("INSERT INTO d.t (v) VALUES ('before')")
		}
		f := follow(t, a.tool, a.cfg, target, "--delay", delay.String())
		var last standingBy
		f.await("a transaction older than the delay", func(s standingBy) bool {
			a.srv.Exec("INSERT INTO d.t (v) VALUES ('meanwhile')")
			last = s
			return s.Phase == "follow" && s.LastApplied != "" && s.PhaseSeconds > 4
		})
		if age := time.Since(last.LastAppliedTime); age < delay-time.Second || last.BehindSeconds < 1 || last.DelaySeconds != delay.Seconds() {
			t.Errorf("the last transaction applied is %s old, with a delay of %s: %+v", age, delay, last)
		}
		stopped := f.stop()
		if !stopped.Paused {
			t.Errorf("stopped, it reports %+v", stopped)
		}

		// With a longer delay it waits where it is, and begins nothing again.
		f = follow(t, a.tool, a.cfg, target, "--delay", "1h")
		f.await("follow with a longer delay", func(s standingBy) bool { return s.Phase == "follow" })
		if out := f.log.outcome(); !out.resumed || out.restarted {
			t.Errorf("with a longer delay it began again: %s", out.why)
		}
		if again := f.stop(); again.GTID != stopped.GTID {
			t.Errorf("with a longer delay it went from %s to %s", stopped.GTID, again.GTID)
		}

		// It ends at a time by itself.
		time.Sleep(time.Second)
		at := time.Unix(a.clock(t)+2, 0).UTC()
		f = follow(t, a.tool, a.cfg, target, "--to-time", at.Format(time.RFC3339))
		for a.clock(t) <= at.Unix()+1 {
			a.srv.Exec("INSERT INTO d.t (v) VALUES ('around the end')")
			time.Sleep(100 * time.Millisecond)
		}
		a.end(t)
		want := a.srv.Value(fmt.Sprintf("SELECT COUNT(*) FROM d.t WHERE at < FROM_UNIXTIME(%d)", at.Unix()))
		if report := f.end(); !report.Done || report.Paused {
			t.Errorf("at the end it reports %+v", report)
		}
		again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: b})
		if got := again.Value("SELECT COUNT(*) FROM d.t"); got != want {
			t.Errorf("%s rows at %s, want %s", got, at, want)
		}
	})
}

// clock is the server's, in seconds.
func (a *archived) clock(t *testing.T) int64 {
	t.Helper()
	var seconds int64
	if _, err := fmt.Sscan(strings.TrimSpace(a.srv.Value("SELECT UNIX_TIMESTAMP()")), &seconds); err != nil {
		t.Fatal(err)
	}
	return seconds
}
