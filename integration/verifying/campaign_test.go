// Package verifying tests that verify finds whatever befalls an archive, cries wolf never, and that no
// restore of a damaged archive gives anything but what was archived.
package verifying

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/fault"
	"tidemark/internal/verify"
	"tidemark/restore"
)

// TestDamages damages archives of a real server, a plain and an encrypted one, at random. Each damage is
// found by verify --data with what is damaged named; what is missing, cut or in another's place, by
// the quick check too. A restore from what is left is refused, or gives what was archived. N= sets how
// many (make test N=1000); every tenth time the archive is checked as it should be, without a finding.
func TestDamages(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		n := kit.CountOn(t, b, 60, 20)
		seed := uint64(time.Now().UnixNano())
		if v, err := strconv.ParseUint(os.Getenv("TIDEMARK_SEED"), 10, 64); err == nil {
			seed = v
		}
		t.Logf("seed %d", seed)
		w := newWorld(t, b, seed)
		c := campaign{t: t, refused: map[bool]int{}, kinds: map[string]int{}}
		r := rand.New(rand.NewPCG(seed, 1))
		for i := range n {
			a := w.archives[i%2]
			d := w.damage(a, r)
			c.try(a, d, fmt.Sprintf("seed %d, damage %d of %s: %s", seed, i+1, a.name, d.what))
			if i%10 == 0 {
				c.clean(a, i%20 == 0)
			}
		}
		t.Logf("%d damages: %v", n, c.kinds)
		t.Logf("of %d restores %d were refused and %d gave what was archived; %d clean checks", 2*n, c.refused[true], c.refused[false], c.cleaned)
		w.programs(r, max(2, min(n/50, 10)))
	})
}

// damage makes one at random.
func (w *world) damage(a *archive, r *rand.Rand) damage {
	for {
		i := r.IntN(len(kinds))
		if d := kinds[i].make(a, r); len(d.changes) > 0 {
			d.kind = kinds[i].name
			return d
		}
	}
}

// campaign counts.
type campaign struct {
	t       *testing.T
	refused map[bool]int
	kinds   map[string]int
	cleaned int
}

// try makes one damage and undoes it.
func (c *campaign) try(a *archive, d damage, name string) {
	c.t.Helper()
	a.put(d.changes)
	defer a.mend(d.changes)
	for _, data := range []bool{false, true} {
		r, err := a.verify(data)
		k := fault.KindOf(err)
		if err == nil && (data || d.quick) || err != nil && k != fault.Integrity && k != fault.Warnings && k != fault.NoArchive {
			c.t.Errorf("%s: data %v: verify says %v", name, data, err)
			continue
		}
		if !data && !d.quick {
			continue
		}
		for _, key := range d.mustName() {
			if !mentioned(r, err, key) {
				c.t.Errorf("%s: data %v: %s is not named by %v, %+v", name, data, key, err, findings(r))
			}
		}
	}
	end, err := restore.ToGTID(a.end)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, target := range []restore.Target{restore.ToLatest(), end} {
		got, plan, err := a.restore(restore.PlanOptions{Target: target})
		c.refused[err != nil]++
		switch k := fault.KindOf(err); {
		case err != nil:
			if k != fault.Integrity && k != fault.Unreachable && k != fault.NoArchive {
				c.t.Errorf("%s: the restore to %s is refused with %v", name, target, err)
			}
		case i > 0 || !d.lost:
			if why := differs(got, a.whole[plan.Base.ID]); why != "" {
				c.t.Errorf("%s: WRONG RESTORE to %s: %s", name, target, why)
			}
		default: // it cannot know that there was more; but what it gives must be part of that
			want, until := a.whole[plan.Base.ID], a.upTo(got.stop)
			// A server passes over what its base backup holds, so the log may begin before the end of that.
			if late := len(until)-len(got.log) > len(a.log)-len(want.log); late || got.base != want.base || !bytes.HasSuffix(until, got.log) {
				c.t.Errorf("%s: WRONG RESTORE to %s", name, target)
			}
		}
	}
	c.kinds[d.kind]++
}

// clean checks an archive that nothing has befallen.
func (c *campaign) clean(a *archive, data bool) {
	c.t.Helper()
	c.cleaned++
	if r, err := a.verify(data); err != nil || len(r.Findings) > 0 {
		c.t.Errorf("a false alarm: %v, %+v", err, findings(r))
	}
}

// mustName returns the keys that a check has to name.
func (d damage) mustName() []string {
	if d.named != nil {
		return d.named
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(d.changes)), d.shadowed)
}

var numbers = regexp.MustCompile(`^log/\d+/(\d+)-`)

// mentioned reports whether a check names an object: by its key, or as the segment that it belongs to.
func mentioned(r *verify.Report, err error, key string) bool {
	if r == nil { // it could not begin
		return err != nil && (strings.Contains(err.Error(), key) || key == "cluster.json" && fault.Is(err, fault.NoArchive))
	}
	segment := regexp.MustCompile(`^$`)
	if m := numbers.FindStringSubmatch(key); m != nil {
		n, _ := strconv.Atoi(m[1])
		segment = regexp.MustCompile(fmt.Sprintf(`\bsegment %d\b`, n))
	}
	return slices.ContainsFunc(r.Findings, func(f verify.Finding) bool {
		return f.Object == key || strings.Contains(f.Problem, key) || segment.MatchString(f.Problem)
	})
}

func findings(r *verify.Report) []verify.Finding {
	if r == nil {
		return nil
	}
	return r.Findings
}

func differs(got, want result) string {
	switch {
	case got.stop != want.stop:
		return fmt.Sprintf("it stops at %+v, not at %+v", got.stop, want.stop)
	case got.base != want.base:
		return "the base backup is another one"
	case string(got.log) != string(want.log):
		return "the log is another one"
	}
	return ""
}

// programs lets the program itself restore damaged archives, n times, and find that the end was lost.
func (w *world) programs(r *rand.Rand, n int) {
	w.t.Helper()
	refused := 0
	for i := range n {
		a := w.archives[i%2]
		d := w.damage(a, r)
		for d.lost {
			d = w.damage(a, r)
		}
		a.put(d.changes)
		target := filepath.Join(w.t.TempDir(), "restored")
		out, err := a.Command("restore", "shop", "--target-dir", target).CombinedOutput()
		a.mend(d.changes)
		switch code := kit.ExitCode(err); code {
		case fault.Integrity.ExitCode(), fault.Unreachable.ExitCode(), fault.NoArchive.ExitCode():
			refused++
		case 0, fault.Warnings.ExitCode():
			again := servertest.Start(w.t, servertest.Options{ServerID: 99, Datadir: target, Binaries: w.srv.Binaries})
			if err := workload.Compare(again.Conn(), w.truth); err != nil {
				w.t.Errorf("%s: WRONG RESTORE: %v\n%s", d.what, err, out)
			}
			again.Kill()
		default:
			w.t.Errorf("%s: restore ends with %d\n%s", d.what, code, out)
		}
	}
	w.t.Logf("of %d restores to a server %d were refused, and the others hold what was archived", n, refused)

	a := w.archives[r.IntN(2)]
	d := removeTail(a, r)
	for !d.lost {
		d = removeTail(a, r)
	}
	a.put(d.changes)
	defer a.mend(d.changes)
	end := a.segments[len(a.segments)-1]
	if out := a.Refused(fault.Integrity.ExitCode(), "verify"); !strings.Contains(out, fmt.Sprintf("segment %d", end.Last)) {
		w.t.Errorf("%s: verify says\n%s", d.what, out)
	}
}
