package stress

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/failpoint"
)

// TestFailpoints ends the program before and after each step on which durability rests, while commits wait
// for its acknowledgements. At once the archive reads well and, with the spool, has every commit that a
// client saw succeed; started again, it has the log of the primary, each transaction once, and restores to
// what the clients know. N= sets how often each moment is tried.
func TestFailpoints(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		most, every := 1000, 1
		if os.Getenv("TIDEMARK_N") == "" { // every day
			if every = 13; !b.System {
				most = 3
			}
		}
		for i := range harness.Count(t, 1) {
			t.Run(fmt.Sprintf("round %d", i+1), func(t *testing.T) { failpoints(t, b, most, every) })
		}
	})
}

// TestFailpointsOff: a program that is not built for it has none, and does not care.
func TestFailpointsOff(t *testing.T) {
	dir := t.TempDir()
	without, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	with, err := harness.BuildFailpoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tool, point string
		works, has  bool
	}{
		{without, "before:file-link:1", true, false},
		{without, "nonsense", true, false},
		{with, "before:file-link:1", false, true},
		{with, "after:file-link:2", true, true},
		{with, "nonsense", false, true},
	} {
		out := filepath.Join(t.TempDir(), "identity")
		cmd := exec.Command(c.tool, "keygen", "--output", out)
		cmd.Env = append(os.Environ(), "TIDEMARK_FAILPOINT="+c.point)
		said, err := cmd.CombinedOutput()
		if _, serr := os.Stat(out); (err == nil) != c.works || (serr == nil) != c.works {
			t.Errorf("%s, %s: %v, %v\n%s", filepath.Base(c.tool), c.point, err, serr, said)
		}
		symbols, err := exec.Command("go", "tool", "nm", c.tool).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, symbols)
		}
		if strings.Contains(string(symbols), "tidemark/internal/failpoint.") != c.has {
			t.Errorf("%s has symbols of failpoints: %v", filepath.Base(c.tool), !c.has)
		}
	}
}

// TestFailpointsDriven: no step is left out.
func TestFailpointsDriven(t *testing.T) {
	for _, s := range failpoint.Steps() {
		if !slices.ContainsFunc(driven, func(d drive) bool { return d.step == s }) {
			t.Errorf("no command is killed at %s", s)
		}
	}
}

// drive is a command that comes to a step, and is ended within so many times of it.
type drive struct {
	command string
	step    failpoint.Step
	most    int
}

var driven = []drive{
	{"run", failpoint.SpoolWrite, 20},
	{"run", failpoint.SpoolSync, 20},
	{"run", failpoint.SpoolRemove, 9},
	{"run", failpoint.SaveState, 4},
	{"run", failpoint.Ack, 20},
	{"run", failpoint.FileWrite, 20},
	{"run", failpoint.FileSync, 20},
	{"run", failpoint.FileRename, 16},
	{"run", failpoint.FileLink, 4},
	{"run", failpoint.PutData, 4},
	{"run", failpoint.PutManifest, 4},
	{"run", failpoint.PutHead, 1}, // as it ends, if not before
	{"backup", failpoint.PutData, 1},
	{"backup", failpoint.PutManifest, 1},
	{"compact", failpoint.PutData, 1},
	{"compact", failpoint.PutManifest, 1},
	{"compact", failpoint.Delete, 4},
	{"expire", failpoint.PutManifest, 1},
	{"expire", failpoint.Delete, 4},
}

// death is one end of the program.
type death struct {
	command string
	when    string
	step    failpoint.Step
	nth     int
	again   bool   // it is started, and dies there again the first time, perhaps while it recovers
	ack     string // what acknowledgements promise meanwhile
}

// point is how the environment says it.
func (d death) point() string { return fmt.Sprintf("%s:%s:%d", d.when, d.step, d.nth) }

// deaths are one at each moment, in random order.
func deaths(r *rand.Rand) (all []death) {
	for _, d := range driven {
		for _, when := range []string{"before", "after"} {
			all = append(all, death{d.command, when, d.step, 1 + r.IntN(d.most), d.command == "run" && r.IntN(3) == 0, []string{"spool", "archive"}[r.IntN(2)]})
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// failpoints tries each moment once, but at most so many, and restores after every so many of them.
func failpoints(t *testing.T, b servertest.Binaries, most, every int) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 8))
	all := deaths(r)
	all = all[:min(most, len(all))]
	t.Logf("seed %d, %d kills", seed, len(all))
	m := newMortal(t, b, seed)
	for i, d := range all {
		began := time.Now()
		switch m.death = d; d.command {
		case "run":
			m.archiving()
		case "backup":
			m.backingUp()
		case "compact":
			m.compacting()
		case "expire":
			m.expiring()
		}
		m.complete()
		m.readable(m.cfg)
		if i%every == every-1 || i == len(all)-1 {
			m.restored(m.cfg)
		}
		t.Logf("%2d: %-55s %5d commits, %.1f s", i+1, m.said(), m.commits(), time.Since(began).Seconds())
	}
}

// archiving ends `tidemark run`.
func (m *mortal) archiving() {
	m.setUp(m.death.ack)
	m.ledger.resume()
	m.die(m.cfg, "run")
	m.readable(m.cfg)
	m.nothingLost()
	if m.death.again {
		m.death.nth = 1
		m.die(m.cfg, "run")
		m.readable(m.cfg)
		m.nothingLost()
	}
	m.start()
	m.settle()
}

// backingUp ends `tidemark backup` while another process archives.
func (m *mortal) backingUp() {
	m.setUp(m.death.ack)
	m.start()
	m.ledger.resume()
	m.die(m.cfg, "backup", "shop")
	m.readable(m.cfg)
	m.backUp()
	m.settle()
}

// compacting ends `tidemark compact` when the archive has small segments.
func (m *mortal) compacting() {
	m.setUp(m.death.ack)
	m.start()
	m.grow()
	m.settle()
	m.die(m.cfg, "compact", "shop", "--grace", "0s")
	m.readable(m.cfg)
	m.complete()
	m.command(m.cfg, ok, "compact", "shop", "--grace", "0s")
}

// expiring ends `tidemark expire` on another archive that is as this one, and lets go of what all but the last base
// backup need.
func (m *mortal) expiring() {
	dir := m.t.TempDir()
	if out, err := exec.Command("cp", "-a", filepath.Join(m.dir, "archive"), dir).CombinedOutput(); err != nil {
		m.t.Fatalf("cp: %v\n%s", err, out)
	}
	cfg, err := (harness.Config{Dir: dir, Primary: m.srv.Addr, User: servertest.User, Password: "secret", More: "    retention: {min_backups: 1, max_backups: 1}\n"}).Write()
	if err != nil {
		m.t.Fatal(err)
	}
	m.die(cfg, "expire", "shop", "--grace", "0s")
	m.readable(cfg)
	m.command(cfg, ok, "expire", "shop", "--grace", "0s")
	m.readable(cfg)
	m.restored(cfg)
	if err := os.RemoveAll(dir); err != nil {
		m.t.Fatal(err)
	}
}
