package stress

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/failpoint"
)

// mortal is a world whose program dies.
type mortal struct {
	*world
	seed    uint64
	failing string // the program with failpoints
	ledger  *ledger
	death   death
}

// newMortal archives a server with two base backups whose commits wait for the archiver. When it returns, the
// archiver is stopped and nothing is written.
func newMortal(t *testing.T, b servertest.Binaries, seed uint64) *mortal {
	t.Helper()
	options := []string{"--max-binlog-size=1M"}
	if b.Flavor == servertest.MySQL {
		options = append(options, "--plugin-load-add=semisync_source.so")
	}
	m := &mortal{world: newWorld(t, b, options, "", ""), seed: seed}
	var err error
	if m.failing, err = harness.BuildFailpoints(m.dir); err != nil {
		t.Fatal(err)
	}
	m.ledger = newLedger(t, m.srv, seed)
	m.setUp("spool")
	m.start()
	m.await("a base backup", 2*time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" })
	if err := semiSync(m.srv, true); err != nil {
		t.Fatal(err)
	}
	m.await("commits wait", time.Minute, func(s harness.Status) bool { return s.SemiSync.Kept })
	m.grow()
	m.backUp()
	m.settle()
	return m
}

// setUp configures what acknowledgements promise.
func (m *mortal) setUp(ack string) {
	m.t.Helper()
	m.configure("", "    segment: {max_age: 100ms}\n    heartbeat: 1s\n    ack: "+ack+"\n")
}

// grow has several segments of one file of the primary archived.
func (m *mortal) grow() {
	m.t.Helper()
	m.srv.Exec("FLUSH BINARY LOGS")
	m.ledger.resume()
	for n, next := 0, m.d.Last.Archived; n < 6; n++ {
		m.await("more is archived", time.Minute, func(s harness.Status) bool { return s.Archived != next })
		next = m.d.Last.Archived
	}
	m.ledger.pause()
	m.srv.Exec("FLUSH BINARY LOGS")
	m.ledger.resume()
}

// backUp takes a base backup. The server may take a killed one's copy for one that is still under way.
func (m *mortal) backUp() {
	m.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		out, err := exec.Command(m.tool, "backup", "shop", "--config", m.cfg).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.fatalf("tidemark backup: %v\n%s", err, out)
		}
	}
}

// settle lets no more be written, and stops archiving when all is archived.
func (m *mortal) settle() {
	m.t.Helper()
	m.ledger.pause()
	m.archived(time.Minute)
	if err := m.d.Stop(); err != nil {
		m.fatalf("%v", err)
	}
}

// die runs a command until its failpoint ends it. For the head that is put at an end it is asked to end when it has
// archived something.
func (m *mortal) die(cfg string, args ...string) {
	m.t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(m.failing, append(args, "--config", cfg)...)
	cmd.Env = append(os.Environ(), "TIDEMARK_FAILPOINT="+m.death.point())
	cmd.Stdout, cmd.Stderr = &said, &said
	limit, enough := time.Now().Add(time.Minute), m.commits()+20
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for asked := m.death.step != failpoint.PutHead; ; {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || !strings.Contains(said.String(), "failpoint: killed") {
				m.fatalf("it was not ended by its failpoint: %v\n%s", err, said.String())
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		switch {
		case time.Now().After(limit):
			_ = cmd.Process.Kill()
		case !asked && m.commits() > enough:
			_ = cmd.Process.Signal(syscall.SIGTERM) // at the second it would give up what it is at
			asked = true
		}
	}
}

// command runs a command that must end with one of the exit codes.
func (m *mortal) command(cfg string, codes []int, args ...string) {
	m.t.Helper()
	cmd := exec.Command(m.tool, append(args, "--config", cfg)...)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || !slices.Contains(codes, cmd.ProcessState.ExitCode()) {
		m.fatalf("tidemark %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// readable verifies every byte of an archive.
func (m *mortal) readable(cfg string) {
	m.t.Helper()
	m.command(cfg, []int{0}, "verify", "shop", "--data")
}

// nothingLost finds what clients saw succeed where it was promised to be.
func (m *mortal) nothingLost() {
	m.t.Helper()
	acked := m.ledger.succeeded()
	out := m.files()
	found := transactions(m.t, out)
	if m.death.ack == "spool" {
		spooled(m.t, found, filepath.Join(m.dir, "state", "shop", "spool"))
	}
	if lost := m.ledger.holds(found, acked); lost != "" {
		m.fatalf("with acknowledgements that promise the %s: %s", m.death.ack, lost)
	}
	_ = os.RemoveAll(out)
}

// complete compares the archive with the files of the primary, and finds each transaction of the ledger once.
func (m *mortal) complete() {
	m.t.Helper()
	out := m.files()
	rows := m.srv.Query("SHOW BINARY LOGS")
	for i, row := range rows {
		if _, err := sameFile(filepath.Join(out, row[0]), filepath.Join(m.srv.Datadir, row[0]), i == len(rows)-1); err != nil {
			m.fatalf("%s: %v", row[0], err)
		}
	}
	found := transactions(m.t, out)
	if lost := m.ledger.holds(found, m.ledger.succeeded()); lost != "" {
		m.fatalf("%s", lost)
	}
	for gtid, n := range found {
		if n != 1 {
			m.fatalf("%s is archived %d times", gtid, n)
		}
	}
	_ = os.RemoveAll(out)
}

// restored restores the end of an archive: the table is that of the primary, with all that clients saw succeed.
func (m *mortal) restored(cfg string) {
	m.t.Helper()
	target := filepath.Join(m.dir, "restored")
	m.command(cfg, ok, "restore", "shop", "--target-dir", target)
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: m.srv.Binaries})
	if err != nil {
		m.fatalf("%v", err)
	}
	have, err := sums(again.Value)
	_ = again.Close()
	if err == nil {
		err = os.RemoveAll(target)
	}
	if err != nil {
		m.fatalf("%v", err)
	}
	want, err := sums(m.srv.Process.Value)
	if err != nil {
		m.fatalf("%v", err)
	}
	for w, n := range m.ledger.succeeded() {
		if all := fmt.Sprintf("%d up to %d,", n, n); have[w] != want[w] || !strings.HasPrefix(have[w], all) {
			m.fatalf("writer %d, %d of whose commits succeeded, has %s on the restored server, and %s on the primary", w, n, have[w], want[w])
		}
	}
}

// commits is how many have succeeded.
func (m *mortal) commits() (n int64) {
	for _, k := range m.ledger.succeeded() {
		n += k
	}
	return n
}

// said names the death.
func (m *mortal) said() string {
	again := ""
	if m.death.again {
		again = ", and again"
	}
	return fmt.Sprintf("%s %s%s, ack: %s", m.death.command, m.death.point(), again, m.death.ack)
}

// fatalf ends the test with what led there.
func (m *mortal) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d, %s: %s", m.seed, m.said(), fmt.Sprintf(format, args...))
}
