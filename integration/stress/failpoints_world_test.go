package stress

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/failpoint"
)

// mortal is a world whose program dies.
type mortal struct {
	*kit.World
	failing kit.Tool // the program with failpoints
	ledger  *entries
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
	m := &mortal{World: kit.New(t, kit.Setup{Binaries: b, Options: options})}
	m.failing = m.Tool
	var err error
	if m.failing.Path, err = kit.BuildFailpoints(); err != nil {
		t.Fatal(err)
	}
	m.ledger = newEntries(t, m.Server, seed)
	m.setUp("spool")
	start(m.World)
	m.AwaitBase()
	if err := semiSync(m.Server, true); err != nil {
		t.Fatal(err)
	}
	m.Await("commits wait", func(s kit.Status) bool { return s.SemiSync.Kept })
	m.grow()
	m.backUp()
	m.settle()
	return m
}

// setUp configures what acknowledgements promise.
func (m *mortal) setUp(ack string) {
	m.T.Helper()
	m.Configure(func(s *kit.Setup) { s.Cluster = []string{"segment: {max_age: 100ms}", "heartbeat: 1s", "ack: " + ack} })
}

// grow has several segments of one file of the primary archived.
func (m *mortal) grow() {
	m.T.Helper()
	m.Server.Exec("FLUSH BINARY LOGS")
	m.ledger.resume()
	for n, next := 0, m.Daemon.Last.Archived; n < 6; n++ {
		m.Await("more is archived", func(s kit.Status) bool { return s.Archived != next })
		next = m.Daemon.Last.Archived
	}
	m.ledger.pause()
	m.Server.Exec("FLUSH BINARY LOGS")
	m.ledger.resume()
}

// backUp takes a base backup. The server may take a killed one's copy for one that is still under way.
func (m *mortal) backUp() {
	m.T.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := m.Command("backup", "shop").CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.T.Fatalf("tidemark backup: %v\n%s", err, out)
		}
	}
}

// settle lets no more be written, and stops archiving when all is archived.
func (m *mortal) settle() {
	m.T.Helper()
	m.ledger.pause()
	m.SettleFiles()
	m.Stop()
}

// die runs a command of a world until its failpoint ends it. For the head that is put at an end it is asked to end
// when it has archived something.
func (m *mortal) die(w *kit.World, args ...string) {
	m.T.Helper()
	var said bytes.Buffer
	cmd := m.failing.With("TIDEMARK_FAILPOINT=" + m.death.point()).Command(append(args, "--config", w.Config)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	limit, enough := time.Now().Add(time.Minute), m.commits()+20
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for asked := m.death.step != failpoint.PutHead; ; {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			if !killed || !strings.Contains(said.String(), "failpoint: killed") {
				m.T.Fatalf("it was not ended by its failpoint: %v\n%s", err, said.String())
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

// readable verifies every byte of an archive, of which it must have nothing to say.
func readable(w *kit.World) {
	w.T.Helper()
	w.RunTo([]int{0}, "verify", "shop", "--data")
}

// nothingLost finds what clients saw succeed where it was promised to be.
func (m *mortal) nothingLost() {
	m.T.Helper()
	acked := m.ledger.succeeded()
	out := m.Cat()
	found := transactions(m.T, out)
	if m.death.ack == "spool" {
		spooled(m.T, found, filepath.Join(m.Dir, "state", "shop", "spool"))
	}
	if lost := m.ledger.holds(found, acked); lost != "" {
		m.T.Fatalf("with acknowledgements that promise the %s: %s", m.death.ack, lost)
	}
	_ = os.RemoveAll(out)
}

// complete compares the archive with the files of the primary, and finds each transaction of the ledger once.
func (m *mortal) complete() {
	m.T.Helper()
	out := m.Cat()
	if m.SameFiles(out, m.Server.Datadir); m.T.Failed() {
		m.T.FailNow()
	}
	found := transactions(m.T, out)
	if lost := m.ledger.holds(found, m.ledger.succeeded()); lost != "" {
		m.T.Fatalf("%s", lost)
	}
	for gtid, n := range found {
		if n != 1 {
			m.T.Fatalf("%s is archived %d times", gtid, n)
		}
	}
	_ = os.RemoveAll(out)
}

// restored restores the end of a world's archive: the table is that of the primary, with all that clients saw succeed.
func (m *mortal) restored(w *kit.World) {
	m.T.Helper()
	target := filepath.Join(m.Dir, "restored")
	w.Run("restore", "shop", "--target-dir", target)
	again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: m.Server.Binaries})
	if err != nil {
		m.T.Fatalf("%v", err)
	}
	have, err := sums(again.Value)
	_ = again.Close()
	if err == nil {
		err = os.RemoveAll(target)
	}
	if err != nil {
		m.T.Fatalf("%v", err)
	}
	want, err := sums(m.Server.Process.Value)
	if err != nil {
		m.T.Fatalf("%v", err)
	}
	for w, n := range m.ledger.succeeded() {
		if all := fmt.Sprintf("%d up to %d,", n, n); have[w] != want[w] || !strings.HasPrefix(have[w], all) {
			m.T.Fatalf("writer %d, %d of whose commits succeeded, has %s on the restored server, and %s on the primary", w, n, have[w], want[w])
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
