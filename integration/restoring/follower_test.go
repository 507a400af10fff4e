package restoring

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/restore"
)

// follower is a `tidemark restore --follow` that runs.
type follower struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    bytes.Buffer
	log    *phaseLog
	ended  chan error
	target string
}

func follow(w *kit.World, target string, args ...string) *follower {
	w.T.Helper()
	f := &follower{t: w.T, target: target, log: &phaseLog{reached: make(chan struct{})}, ended: make(chan error, 1)}
	f.cmd = w.Command(append([]string{"restore", "shop", "--target-dir", target, "--follow", "--status-listen", "127.0.0.1:0",
		"--relay-space", "8MiB", "--json", "--quiet", "--log-level", "info", "--log-format", "json"}, args...)...)
	f.cmd.Stdout, f.cmd.Stderr = &f.out, f.log
	if err := f.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = f.cmd.Process.Kill() })
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

var listening = regexp.MustCompile(`status port listening.*?(127\.0\.0\.1:\d+)`)

func (f *follower) status() (s standingBy) {
	f.t.Helper()
	addr := listening.FindStringSubmatch(f.log.String())
	if addr == nil {
		return s
	}
	r, err := http.Get("http://" + addr[1] + "/status")
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
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
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

// applied waits until it has applied the last transaction that is archived, and looks for more.
func (f *follower) applied(gtid string) {
	f.t.Helper()
	f.await("apply "+gtid, func(s standingBy) bool { return s.Phase == "follow" && s.LastApplied == gtid && s.BehindSeconds == 0 })
}

// looks waits until it has looked for more so many times.
func (f *follower) looks(n int) {
	f.t.Helper()
	seen := map[float64]bool{} // each look is told with its time
	f.await("look for more", func(s standingBy) bool {
		if s.Phase == "follow" {
			seen[s.PhaseSeconds] = true
		}
		return len(seen) > n
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
		if err != nil && kit.ExitCode(err) != 3 {
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
