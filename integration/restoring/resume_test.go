package restoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
	"tidemark/restore"
)

// TestResume kills the restore of all that a binlog can hold: the program, or the private server that it
// has started, at random moments of every phase, with and without parallel apply. The same command
// again, as often as it takes, yields exactly what the primary held. N= sets how many kills.
func TestResume(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		// Without what a server killed in its midst may not survive: that is the server's own affair.
		resume(t, b, workload.Options{Domains: 3, MaxBlob: 1 << 20, BigTransaction: 5 << 20, Without: []workload.Group{workload.Fragile}}, session{}, false)
	})
}

// TestResumeTransactional is TestResume with a log of transactions only, and definitions on MySQL. None of
// them is interrupted such that a restore has to begin again, once it applies them.
func TestResumeTransactional(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		var more session
		if b.Flavor == servertest.MySQL {
			more = session{40 * time.Millisecond, []string{"CREATE TABLE marks.t# (a INT PRIMARY KEY, b INT)", "INSERT INTO marks.t# VALUES (1, #), (2, 2)",
				"ALTER TABLE marks.t# ADD COLUMN c# INT", "CREATE INDEX i# ON marks.t# (b)", "ALTER TABLE marks.t# MODIFY b BIGINT, ALGORITHM=COPY",
				"CREATE USER u#@localhost", "GRANT SELECT ON marks.* TO u#@localhost", "CREATE VIEW marks.v# AS SELECT a FROM marks.t#",
				"CREATE PROCEDURE marks.p#() SELECT 1", "CREATE TRIGGER marks.r# BEFORE INSERT ON marks.t# FOR EACH ROW SET NEW.b = 1",
				"CREATE TABLE marks.s# AS SELECT * FROM marks.t#", "TRUNCATE TABLE marks.t#", "RENAME TABLE marks.t# TO marks.n#",
				"INSERT INTO marks.n# (a) VALUES (3)", "DROP TABLE marks.s#", "DROP VIEW marks.v#", "DROP USER u#@localhost"}}
		}
		resume(t, b, transactional(b), more, true)
	})
}

// TestResumeMixed is TestResume with a log of transactions and a few other things a second.
func TestResumeMixed(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		resume(t, b, transactional(b), session{time.Second, []string{"CREATE TABLE marks.t# (a INT)", "ALTER TABLE marks.m ADD COLUMN c# INT",
			"CREATE TABLE marks.m# (a INT) ENGINE=MyISAM", "INSERT INTO marks.m# VALUES (#), (2)", "CREATE USER u#@localhost",
			"SET SESSION binlog_format='STATEMENT'", "CREATE TEMPORARY TABLE marks.temp (a INT)", "INSERT INTO marks.temp VALUES (#)",
			"INSERT INTO marks.m# SELECT a FROM marks.temp", "DROP TEMPORARY TABLE marks.temp", "SET SESSION binlog_format='ROW'",
			"XA START 'mixed#'", "INSERT INTO marks.t# VALUES (1)", "XA END 'mixed#'", "XA PREPARE 'mixed#'", "XA COMMIT 'mixed#'"}}, false)
	})
}

func transactional(b servertest.Binaries) workload.Options {
	o := workload.Options{Domains: 3, MaxBlob: 1 << 20, Without: []workload.Group{workload.Fragile, workload.Definitions, workload.Events,
		workload.NonTransactional, workload.Sequences, workload.Statements, workload.Tagged}} // tagged are definitions too
	if b.Flavor == servertest.MariaDB {
		o.Without = append(o.Without, workload.XA)
	}
	return o
}

// session is what another session does beside the workload: after each pause all the statements, in which #
// is a number.
type session struct {
	pause      time.Duration
	statements []string
}

// live runs the session for so long.
func (s session) live(t *testing.T, conn *client.Conn, long time.Duration) {
	t.Helper()
	pause := max(s.pause, 10*time.Millisecond)
	for i, end := 0, time.Now().Add(long); time.Now().Before(end); i++ {
		time.Sleep(pause)
		for _, sql := range s.statements {
			sql = strings.ReplaceAll(sql, "#", strconv.Itoa(i))
			if _, err := conn.Execute(sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
}

// resume lets a primary live, and restores what is archived then, with kills.
func resume(t *testing.T, b servertest.Binaries, o workload.Options, more session, transactional bool) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TIDEMARK_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	kills := harness.CountOn(t, b, 4, 3)
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 3))
	p := begin(t, b, seed, o)
	more.live(t, p.srv.Conn(), 6*time.Second)
	last := p.end(t)

	var tally tally
	phases := []restore.Phase{restore.Fetch, restore.Prepare, restore.Start, restore.Apply, restore.Apply, restore.Apply, restore.Apply, restore.Finish}
	for killed := 0; killed < kills; {
		target := filepath.Join(p.dir, "restored")
		a := &attempt{p: p, target: target, threads: []string{"0", "4"}[rng.IntN(2)]}
		began := time.Now()
		for again := 0; ; again++ {
			end := killed >= kills || again == 5
			if !end {
				a.server, a.phase = killed%3 == 2, phases[rng.IntN(len(phases))]
				if a.server {
					a.phase = phases[2+rng.IntN(len(phases)-2)] // there is one
				}
				if a.after = time.Duration(rng.IntN(1500)) * time.Millisecond; a.phase != restore.Apply {
					a.after /= 10
				}
			}
			out := a.run(t, end)
			tally.add(t, a, out, transactional)
			if out.done {
				break
			}
			killed++
		}
		p.compare(t, target, last)
		t.Logf("%s threads: equal to the primary after %.1f s", a.threads, time.Since(began).Seconds())
		for _, gone := range []string{".tidemark/run", ".tidemark/stage", "/.tidemark-restore"} {
			if _, err := os.Stat(target + gone); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", gone, err)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s: %s", b.Version, &tally)
}

// attempt is a run of the restore that is killed.
type attempt struct {
	p       *primary
	target  string
	threads string
	phase   restore.Phase // in which it is killed,
	after   time.Duration // so long after the phase began
	server  bool          // the private server instead, if it runs
}

// outcome is what became of it.
type outcome struct {
	done, resumed, restarted bool
	server                   bool // was killed, not the program
	why                      string
	at                       restore.Phase // the last one begun
	said                     string
}

func (a *attempt) run(t *testing.T, toTheEnd bool) outcome {
	t.Helper()
	cmd := exec.Command(a.p.tool, "restore", "shop", "--config", a.p.cfg, "--target-dir", a.target, "--threads", a.threads,
		"--relay-space", "8MiB", "--memory", "128MiB", "--json", "--log-level", "info", "--log-format", "json")
	var stdout bytes.Buffer
	log := &phaseLog{reached: make(chan struct{})}
	if !toTheEnd {
		log.until = a.phase
	}
	cmd.Stdout, cmd.Stderr = &stdout, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	server := false
	select {
	case err = <-ended:
	case <-log.reached:
		select {
		case err = <-ended:
		case <-time.After(a.after):
			pid := cmd.Process.Pid
			if on := serverOn(a.target); a.server && on != 0 {
				pid, server = on, true
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
			select {
			case err = <-ended:
			case <-time.After(2 * time.Minute):
				t.Fatalf("restore goes on for minutes after its server was killed:\n%s", log)
			}
		}
	}
	out := log.outcome()
	out.server = server
	switch code := harness.ExitCode(err); {
	case err == nil || code == 3:
		var report restore.Report
		if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
			t.Fatalf("%v\n%s", err, stdout.Bytes())
		}
		out.done = true
		if report.Restarted != out.restarted || (report.Resumed != nil) != out.resumed {
			if !out.restarted && !out.resumed && report.Done { // only tidying up was left
				break
			}
			t.Errorf("the report says %+v, the log\n%s", report, log)
		}
	case code != -1 && !server:
		t.Fatalf("restore: exit code %d\n%s", code, log)
	}
	return out
}

// serverOn returns the process that runs on a data directory, or 0.
func serverOn(dir string) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte("\x00--datadir="+dir+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

// phaseLog is a log that tells when a phase begins.
type phaseLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	until   restore.Phase
	once    sync.Once
	reached chan struct{}
}

func (l *phaseLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if l.until != "" && strings.Contains(l.text.String(), fmt.Sprintf(`"restore phase begins","phase":"%s"`, l.until)) {
		l.once.Do(func() { close(l.reached) })
	}
	return len(b), nil
}

func (l *phaseLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *phaseLog) outcome() outcome {
	o := outcome{said: l.String()}
	for _, line := range strings.Split(o.said, "\n") {
		var e struct{ Msg, Phase, Because string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		switch {
		case e.Msg == "restore phase begins":
			o.at = restore.Phase(e.Phase)
		case strings.HasPrefix(e.Msg, "an interrupted restore is resumed"):
			o.resumed = true
		case strings.HasPrefix(e.Msg, "an interrupted restore was found"):
			o.restarted, o.why = true, e.Because
		}
	}
	return o
}

// tally counts what became of interrupted restores.
type tally struct {
	tool, server       int // kills
	resumed, restarted int
	why                map[string]int
	last               outcome // of the attempt before
	mid                bool    // that was killed
}

func (c *tally) add(t *testing.T, a *attempt, out outcome, transactional bool) {
	t.Helper()
	if c.why == nil {
		c.why = map[string]int{}
	}
	if out.resumed {
		c.resumed++
	}
	if out.restarted {
		c.restarted++
		why, _, _ := strings.Cut(out.why, ", from")
		c.why[why]++
		if transactional && c.mid && (c.last.at == restore.Apply || c.last.at == restore.Finish) {
			t.Errorf("killed in phase %s, it began again: %s", c.last.at, out.why)
		}
	}
	if c.mid && !out.resumed && !out.restarted && !out.done && (out.at == restore.Apply || out.at == restore.Finish) {
		t.Errorf("killed in phase %s, the next one said nothing of it:\n%s", c.last.at, out.said)
	}
	if !out.done {
		if out.server {
			c.server++
		} else {
			c.tool++
		}
	}
	c.last, c.mid = out, !out.done
}

func (c *tally) String() string {
	return fmt.Sprintf("%d kills of the program, %d of the server; resumed %d times, began again %d times: %v", c.tool, c.server, c.resumed, c.restarted, c.why)
}
