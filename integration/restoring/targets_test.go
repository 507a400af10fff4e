package restoring

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// point is a moment whose truth is known.
type point struct {
	workload.Checkpoint
	next string // GTID of the first transaction after it
}

// TestTargets archives a server that does all that a binlog can hold, and restores it to random
// moments by every kind of target. Each restored server holds exactly what the primary held then:
// every table by checksum, every definition, and the GTID position. N= sets how many restores.
func TestTargets(t *testing.T) { kit.Each(t, "", kit.Servers(2), targets) }

func targets(t *testing.T, b servertest.Binaries) {
	n := kit.CountOn(t, b, 5, 3)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d restores", seed, n)
	r := rand.New(rand.NewPCG(seed, 2))
	w, load := busy(t, b, seed, workload.Options{Domains: 3, MaxBlob: 32 << 20, BigTransaction: 5 << 20})
	points := make([]point, n)
	for i := range points {
		load.Wrote(r.IntN(600))
		points[i] = mark(w, load, fmt.Sprintf("point %d", i+1))
	}
	last := finish(w, load)

	kinds := []func(point) []string{
		func(p point) []string { return []string{"--to-time", p.Time.Format(time.RFC3339)} },
		func(p point) []string { return []string{"--to-gtid", p.GTIDPos} },
		func(p point) []string { return []string{"--before-gtid", p.next} },
		func(p point) []string { return []string{"--to-position", p.File + ":" + strconv.FormatInt(p.Pos, 10)} },
	}
	restore := func(truth workload.Checkpoint, args ...string) {
		t.Helper()
		start := time.Now()
		w.RestoreEquals(truth, args...)
		t.Logf("%s: tidemark restore %s: %.1f s with the comparison", truth.Name, strings.Join(args, " "), time.Since(start).Seconds())
	}
	restore(last, "--threads", "4")
	for i, p := range points {
		args := kinds[i%len(kinds)](p)
		restore(p.Checkpoint, append(args, [][]string{nil, {"--threads", "4"}, {"--relay-space", "32MiB"}}[i%3]...)...)
	}
}

// mark records the truth while nothing is written, and the GTID of a transaction right after it.
func mark(w *kit.World, load *kit.Load, name string) point {
	w.T.Helper()
	defer load.Quiesce()()
	p := point{Checkpoint: w.Truth(name)}
	p.Time = nextSecond(w.Server)
	p.next = gtidOf(w, "INSERT INTO marks.m VALUES ()")
	return p
}
