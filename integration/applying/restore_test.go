// Package applying tests the parts of a restore together, in this process: private servers, and what they
// apply of an archive that a test has made.
package applying

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/forge"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/mysqld"
	"tidemark/restore"
	"tidemark/restore/archivetest"
)

// past is a server's history: an archive of it, and what it held at some moments.
type past struct {
	*forge.Archive
	srv    *servertest.Server
	points []workload.Checkpoint
	last   workload.Checkpoint
}

// live lets a server live for a while under a workload, with a base backup taken meanwhile.
func live(t *testing.T, points int, cut archivetest.Cut) *past {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := kit.New(t, kit.Setup{Binaries: kit.One(t, kit.Servers(2), tools...), Options: []string{"--max-binlog-size=4M"}})
	load := w.NewLoad(seed, workload.Options{Domains: 2, MaxBlob: 1 << 20, BigTransaction: 3 << 20})
	load.Begin(4)
	load.Wrote(400)
	base := forge.TakeBackup(t, w.Server)
	load.Rebuild()
	p := &past{srv: w.Server}
	conn := w.Server.Conn()
	for i := range points {
		load.Wrote(200)
		cp, err := load.CheckpointAt(conn, fmt.Sprintf("point %d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		p.points = append(p.points, cp)
	}
	load.Wrote(200)
	load.End()
	p.last = w.Truth("the end")
	w.Server.Stop()
	p.Archive = forge.Make(t, w.Server, cut, base)
	return p
}

// restore restores and compares with the truth.
func (p *past) restore(t *testing.T, target restore.Target, want workload.Checkpoint, o restore.Options) *restore.Report {
	t.Helper()
	ctx := context.Background()
	plan, err := restore.MakePlan(ctx, p.Catalog, restore.PlanOptions{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	o.TargetDir = filepath.Join(openDir(t), "data")
	report, err := restore.Run(ctx, p.Catalog, plan, with(p.srv, o))
	if err != nil {
		t.Fatalf("%v\n%s", err, mysqld.LogTail(o.TargetDir+".tidemark/server.log", 50))
	}
	t.Logf("%s: %d transactions, %d KiB in %d batches, %.0f a second, %v, warnings %q", target, report.Transactions, report.LogBytes>>10,
		report.Batches, report.Rate, report.Phases, report.Warnings)
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: o.TargetDir, Binaries: p.srv.Binaries})
	if err := workload.Compare(again.Conn(), want); err != nil {
		t.Errorf("%s: %v", target, err)
	}
	if pos := again.Value("SELECT @@gtid_slave_pos"); pos != want.GTIDPos || report.GTID != pos {
		t.Errorf("%s: GTID position %s restored, %s reported, %s expected", target, pos, report.GTID, want.GTIDPos)
	}
	if n := again.Value("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark%' AND host='localhost'"); n != "0" {
		t.Errorf("%s: the private account is left", target)
	}
	again.Stop()
	p.tidy(t, o.TargetDir)
	return report
}

// tidy checks what a restore leaves beside the data.
func (p *past) tidy(t *testing.T, target string) {
	t.Helper()
	for _, gone := range []string{".tidemark/run", ".tidemark/stage", "/.tidemark-restore"} {
		if _, err := os.Stat(target + gone); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", gone, err)
		}
	}
	if err := os.RemoveAll(target); err != nil {
		t.Error(err)
	}
}

func TestRestore(t *testing.T) {
	p := live(t, 5, archivetest.Cut{Every: 300_000})
	must := func(target restore.Target, err error) restore.Target {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	position := func(cp workload.Checkpoint) restore.Target {
		return must(restore.ToPosition(fmt.Sprintf("%s:%d", cp.File, cp.Pos)))
	}
	p.restore(t, restore.ToLatest(), p.last, restore.Options{})
	p.restore(t, restore.ToLatest(), p.last, restore.Options{Threads: 4, RelaySpace: 4 << 20})
	p.restore(t, restore.ToTime(p.points[0].Time), p.points[0], restore.Options{Threads: 4})
	p.restore(t, must(restore.ToGTID(p.points[1].GTIDPos)), p.points[1], restore.Options{RelaySpace: 1 << 20})
	p.restore(t, position(p.points[2]), p.points[2], restore.Options{Threads: 4, RelaySpace: 1 << 20})

	plan, err := restore.MakePlan(context.Background(), p.Catalog, restore.PlanOptions{Target: position(p.points[3])})
	if err != nil {
		t.Fatal(err)
	}
	p.restore(t, must(restore.BeforeGTID(plan.FirstNotApplied.GTID)), p.points[3], restore.Options{})
}
