// Package restoring tests restores end to end: a real server, the tidemark program, and the truth.
package restoring

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
)

// point is a moment whose truth is known.
type point struct {
	workload.Checkpoint
	next string // GTID of the first transaction after it
}

// TestTargets archives a server that does all that a binlog can hold, and restores it to random
// moments by every kind of target. Each restored server holds exactly what the primary held then:
// every table by checksum, every definition, and the GTID position. N= sets how many restores.
func TestTargets(t *testing.T) { servertest.Each(t, "", targets) }

func targets(t *testing.T, b servertest.Binaries) {
	n := harness.CountOn(t, b, 5, 3)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d restores", seed, n)
	r := rand.New(rand.NewPCG(seed, 2))
	primary := begin(t, b, seed, workload.Options{Domains: 3, MaxBlob: 32 << 20, BigTransaction: 5 << 20})
	points := make([]point, n)
	for i := range points {
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		points[i] = mark(t, primary.load, primary.srv, fmt.Sprintf("point %d", i+1))
	}
	last := point{Checkpoint: primary.end(t)}

	kinds := []func(point) []string{
		func(p point) []string { return []string{"--to-time", p.Time.Format(time.RFC3339)} },
		func(p point) []string { return []string{"--to-gtid", p.GTIDPos} },
		func(p point) []string { return []string{"--before-gtid", p.next} },
		func(p point) []string { return []string{"--to-position", p.File + ":" + strconv.FormatInt(p.Pos, 10)} },
	}
	restore := func(p point, args ...string) {
		t.Helper()
		target := filepath.Join(primary.dir, "restored")
		args = append([]string{"restore", "shop", "--config", primary.cfg, "--target-dir", target}, args...)
		start := time.Now()
		out, err := exec.Command(primary.tool, args...).CombinedOutput()
		if err != nil && harness.ExitCode(err) != 3 { // 3: done, with something to look at, as prepared XA transactions
			t.Fatalf("tidemark %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("%s: tidemark %s: %.1f s", p.Name, strings.Join(args[6:], " "), time.Since(start).Seconds())
		primary.compare(t, target, p.Checkpoint)
		if t.Failed() {
			t.Fatalf("tidemark %s:\n%s", strings.Join(args, " "), out)
		}
		if err := os.RemoveAll(target); err != nil {
			t.Error(err)
		}
	}
	restore(last, "--threads", "4")
	for i, p := range points {
		args := kinds[i%len(kinds)](p)
		args = append(args, [][]string{nil, {"--threads", "4"}, {"--relay-space", "32MiB"}}[i%3]...)
		restore(p, args...)
	}
}

// mark records the truth while nothing is written, and the GTID of a transaction right after it.
func mark(t *testing.T, w *workload.Workload, srv *servertest.Server, name string) point {
	t.Helper()
	conn := srv.Conn()
	defer conn.Close()
	defer w.Quiesce()()
	p := point{Checkpoint: take(t, srv, name)}
	// All that the point holds was committed before the next whole second, all else at it or later.
	p.Time = time.Unix(p.Time.Unix()+1, 0).UTC()
	for srv.Value("SELECT UNIX_TIMESTAMP()") < strconv.FormatInt(p.Time.Unix(), 10) {
		time.Sleep(20 * time.Millisecond)
	}
	statements := []string{"INSERT INTO marks.m VALUES ()", "SELECT @@last_gtid"}
	if srv.Binaries.Flavor == servertest.MySQL {
		statements[1] = "SELECT GTID_SUBTRACT(REPLACE(@@GLOBAL.gtid_executed, '\n', ''), '" + p.GTIDPos + "')"
	}
	for _, stmt := range statements {
		r, err := conn.Execute(stmt)
		if err != nil {
			t.Fatal(err)
		}
		if r.Resultset != nil {
			p.next, _ = r.GetString(0, 0)
		}
	}
	return p
}

func take(t *testing.T, srv *servertest.Server, name string) workload.Checkpoint {
	t.Helper()
	conn := srv.Conn()
	defer conn.Close()
	cp, err := workload.Take(conn, name)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}
