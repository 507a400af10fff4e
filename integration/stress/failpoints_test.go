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

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/failpoint"
)

// TestFailpoints ends the program before and after each step on which durability rests, while commits wait
// for its acknowledgements. At once the archive reads well and, with the spool, has every commit that a
// client saw succeed; started again, it has the log of the primary, each transaction once, and restores to
// what the clients know. N= sets how often each moment is tried.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		t.Parallel()
		for i := range kit.Count(t, 1) {
			t.Run(fmt.Sprintf("round %d", i+1), func(t *testing.T) { failpoints(t, b) })
		}
	})
}

// TestFailpointsOff: a program that is not built for it has none, and does not care.
func TestFailpointsOff(t *testing.T) {
	t.Parallel()
	without, err := kit.Build()
	if err != nil {
		t.Fatal(err)
	}
	with, err := kit.BuildFailpoints()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tool, point string
		works       bool
	}{
		{without, "before:file-link:1", true},
		{without, "nonsense", true},
		{with, "before:file-link:1", false},
		{with, "after:file-link:2", true},
		{with, "nonsense", false},
	} {
		out := filepath.Join(t.TempDir(), "identity")
		said, err := (kit.Tool{Path: c.tool}).With("TIDEMARK_FAILPOINT="+c.point).Command("keygen", "--output", out).CombinedOutput()
		if _, serr := os.Stat(out); (err == nil) != c.works || (serr == nil) != c.works {
			t.Errorf("%s, %s: %v, %v\n%s", filepath.Base(c.tool), c.point, err, serr, said)
		}
	}
	for tool, has := range map[string]bool{without: false, with: true} {
		symbols, err := exec.Command("go", "tool", "nm", tool).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, symbols)
		}
		if strings.Contains(string(symbols), "tidemark/internal/failpoint.") != has {
			t.Errorf("%s has symbols of failpoints: %v", filepath.Base(tool), !has)
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

// String names it, for the log of a test.
func (d death) String() string {
	again := ""
	if d.again {
		again = ", and again"
	}
	return fmt.Sprintf("%s %s%s, ack: %s", d.command, d.point(), again, d.ack)
}

// deaths are one at each moment, in random order.
func deaths(r *rand.Rand) (all []death) {
	for _, d := range driven {
		for _, when := range []string{"before", "after"} {
			all = append(all, death{command: d.command, when: when, step: d.step, nth: 1 + r.IntN(d.most),
				again: d.command == "run" && r.IntN(3) == 0, ack: []string{"spool", "archive"}[r.IntN(2)]})
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// partOf is how many kills one archive goes through.
const partOf = 13

// failpoints tries each moment once, every day on versions other than the system's only three, and restores after each,
// every day at the end of each part. Parts have servers of their own and run side by side.
func failpoints(t *testing.T, b servertest.Binaries) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	all, every := deaths(rand.New(rand.NewPCG(seed, 8))), 1
	if os.Getenv("TIDEMARK_N") == "" {
		if every = partOf; !b.System {
			all = all[:3]
		}
	}
	t.Logf("seed %d, %d kills", seed, len(all))
	part := 0
	for some := range slices.Chunk(all, partOf) {
		part++
		own := seed + uint64(part)
		t.Run(fmt.Sprintf("part %d", part), func(t *testing.T) {
			kit.Parallel(t, kit.Servers(2))
			dieOf(newMortal(t, b, own), some, every)
		})
	}
}

// dieOf ends the program in each of these ways, and restores after every so many of them.
func dieOf(m *mortal, all []death, every int) {
	for i, d := range all {
		m.death = d
		m.T.Logf("%2d: %s", i+1, d)
		began := time.Now()
		switch d.command {
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
		readable(m.World)
		if i%every == every-1 || i == len(all)-1 {
			m.restored(m.World)
		}
		m.T.Logf("%2d: %5d commits, %.1f s", i+1, m.commits(), time.Since(began).Seconds())
	}
}

// archiving ends `tidemark run`.
func (m *mortal) archiving() {
	m.setUp(m.death.ack)
	m.ledger.resume()
	m.die(m.World, "run")
	readable(m.World)
	m.nothingLost()
	if m.death.again {
		m.death.nth = 1
		m.die(m.World, "run")
		readable(m.World)
		m.nothingLost()
	}
	start(m.World)
	m.settle()
}

// backingUp ends `tidemark backup` while another process archives.
func (m *mortal) backingUp() {
	m.setUp(m.death.ack)
	start(m.World)
	m.ledger.resume()
	m.die(m.World, "backup", "shop")
	readable(m.World)
	m.backUp()
	m.settle()
}

// compacting ends `tidemark compact` when the archive has small segments.
func (m *mortal) compacting() {
	m.setUp(m.death.ack)
	start(m.World)
	m.grow()
	m.settle()
	m.die(m.World, "compact", "shop", "--grace", "0s")
	readable(m.World)
	m.complete()
	m.Run("compact", "shop", "--grace", "0s")
}

// expiring ends `tidemark expire` on another archive that is as this one, and lets go of what all but the last base
// backup need.
func (m *mortal) expiring() {
	other := kit.New(m.T, kit.Setup{Server: m.Server, Cluster: []string{"retention: {min_backups: 1, max_backups: 1}"}})
	if out, err := exec.Command("cp", "-a", filepath.Join(m.Dir, "archive"), other.Dir).CombinedOutput(); err != nil {
		m.T.Fatalf("cp: %v\n%s", err, out)
	}
	m.die(other, "expire", "shop", "--grace", "0s")
	readable(other)
	other.Run("expire", "shop", "--grace", "0s")
	readable(other)
	m.restored(other)
	if err := os.RemoveAll(other.Dir); err != nil {
		m.T.Fatal(err)
	}
}
