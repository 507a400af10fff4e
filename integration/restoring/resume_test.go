package restoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/fault"
	"tidemark/restore"
)

// TestResume kills the restore of all that a binlog can hold: the program, or the private server that it
// has started, at random moments of every phase, with and without parallel apply. The same command
// again, as often as it takes, yields exactly what the primary held. N= sets how many kills.
func TestResume(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		// Without what a server killed in its midst may not survive: that is the server's own affair.
		resume(t, b, life{Options: workload.Options{Domains: 3, MaxBlob: 1 << 20, BigTransaction: 5 << 20,
			Without: []workload.Group{workload.Fragile}}})
	})
}

// TestResumeTransactional is TestResume with a log of transactions only, and definitions on MySQL. None of
// them is interrupted such that a restore has to begin again, once it applies them.
func TestResumeTransactional(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		l := life{Options: transactional(b), goesOn: true}
		if b.Flavor == servertest.MySQL {
			l.every = 60
			l.beside = []string{"CREATE TABLE marks.t# (a INT PRIMARY KEY, b INT)", "INSERT INTO marks.t# VALUES (1, #), (2, 2)",
				"ALTER TABLE marks.t# ADD COLUMN c# INT", "CREATE INDEX i# ON marks.t# (b)",
				"ALTER TABLE marks.t# MODIFY b BIGINT, ALGORITHM=COPY",
				"CREATE USER u#@localhost", "GRANT SELECT ON marks.* TO u#@localhost", "CREATE VIEW marks.v# AS SELECT a FROM marks.t#",
				"CREATE PROCEDURE marks.p#() SELECT 1", "CREATE TRIGGER marks.r# BEFORE INSERT ON marks.t# FOR EACH ROW SET NEW.b = 1",
				"CREATE TABLE marks.s# AS SELECT * FROM marks.t#", "TRUNCATE TABLE marks.t#", "RENAME TABLE marks.t# TO marks.n#",
				"INSERT INTO marks.n# (a) VALUES (3)", "DROP TABLE marks.s#", "DROP VIEW marks.v#", "DROP USER u#@localhost"}
		}
		resume(t, b, l)
	})
}

// TestResumeMixed is TestResume with a log of transactions and now and then a few other things.
func TestResumeMixed(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		resume(t, b, life{Options: transactional(b), every: 300, beside: []string{
			"CREATE TABLE marks.t# (a INT)", "ALTER TABLE marks.m ADD COLUMN c# INT",
			"CREATE TABLE marks.m# (a INT) ENGINE=MyISAM", "INSERT INTO marks.m# VALUES (#), (2)", "CREATE USER u#@localhost",
			"SET SESSION binlog_format='STATEMENT'", "CREATE TEMPORARY TABLE marks.temp (a INT)", "INSERT INTO marks.temp VALUES (#)",
			"INSERT INTO marks.m# SELECT a FROM marks.temp", "DROP TEMPORARY TABLE marks.temp", "SET SESSION binlog_format='ROW'",
			"XA START 'mixed#'", "INSERT INTO marks.t# VALUES (1)", "XA END 'mixed#'", "XA PREPARE 'mixed#'", "XA COMMIT 'mixed#'"}})
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

// life is what is written to a primary behind its base backup.
type life struct {
	workload.Options
	every  int      // after so many transactions of the workload
	beside []string // another session executes these, in which # is a number
	goesOn bool     // a restore that was killed while it applied the log goes on
}

// live writes to the primary as much as it takes to apply a log for some seconds.
func (l life) live(w *kit.World, load *kit.Load) {
	w.T.Helper()
	const transactions = 1800
	if l.every == 0 {
		load.Wrote(transactions)
		return
	}
	conn := w.Server.Conn()
	defer conn.Close()
	for i := range transactions / l.every {
		load.Wrote(l.every)
		for _, sql := range l.beside {
			execute(w.T, conn, strings.ReplaceAll(sql, "#", strconv.Itoa(i)))
		}
	}
}

// resume lets a primary live, and restores what is archived then, with kills.
func resume(t *testing.T, b servertest.Binaries, l life) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TIDEMARK_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	kills := kit.CountOn(t, b, 4, 3)
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 3))
	w, load := busy(t, b, seed, l.Options)
	l.live(w, load)
	last := finish(w, load)

	var tally tally
	phases := []restore.Phase{restore.Fetch, restore.Prepare, restore.Start,
		restore.Apply, restore.Apply, restore.Apply, restore.Apply, restore.Finish}
	for killed := 0; killed < kills; {
		target := within(t, "restored")
		a := &attempt{w: w, target: target, threads: []string{"0", "4"}[rng.IntN(2)]}
		began := time.Now()
		for again := 0; ; again++ {
			if a.phase = ""; killed < kills && again < 5 {
				a.server, a.phase = killed%3 == 2, phases[rng.IntN(len(phases))]
				if a.server {
					a.phase = phases[2+rng.IntN(len(phases)-2)] // there is one
				}
				if a.after = time.Duration(rng.IntN(1500)) * time.Millisecond; a.phase != restore.Apply {
					a.after /= 10
				}
			}
			out := a.run(t)
			tally.add(t, out, l.goesOn)
			if out.done {
				break
			}
			killed++
		}
		w.TargetEquals(target, last)
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
	w       *kit.World
	target  string
	threads string
	phase   restore.Phase // in which it is killed, "" if it is not,
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

func (a *attempt) run(t *testing.T) outcome {
	t.Helper()
	cmd := a.w.Command("restore", "shop", "--target-dir", a.target, "--threads", a.threads,
		"--relay-space", "8MiB", "--json", "--log-level", "info", "--log-format", "json")
	var stdout bytes.Buffer
	log := &phaseLog{until: a.phase, reached: make(chan struct{})}
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
	switch code := kit.ExitCode(err); {
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
	case code == fault.TargetNotEmpty.ExitCode() && strings.Contains(log.String(), "restore that is complete"):
		out.done = true // the one before was killed behind its very last step
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

func (c *tally) add(t *testing.T, out outcome, goesOn bool) {
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
		if goesOn && c.mid && (c.last.at == restore.Apply || c.last.at == restore.Finish) {
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
	return fmt.Sprintf("%d kills of the program, %d of the server; resumed %d times, began again %d times: %v",
		c.tool, c.server, c.resumed, c.restarted, c.why)
}
