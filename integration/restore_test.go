// Package integration tests the parts of the program together, against real servers.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/archivetest"
	"tidemark/integration/servertest"
	"tidemark/integration/workload"
	"tidemark/internal/mysqld"
	"tidemark/restore"
	kit "tidemark/restore/archivetest"
)

// past is a server's history: an archive of it, and what it held at some moments.
type past struct {
	*archivetest.Archive
	srv    *servertest.Server
	points []workload.Checkpoint
	last   workload.Checkpoint
}

// live lets a server live for a while under a workload, with a base backup taken meanwhile.
func live(t *testing.T, points int, cut kit.Cut) *past {
	t.Helper()
	servertest.Require(t, "mariadb-backup", "mbstream")
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	p := &past{srv: servertest.Start(t, servertest.Options{ServerID: 7, Extra: []string{"--max-binlog-size=4M"}})}
	w := workload.New(seed, workload.Options{Domains: 2, MaxBlob: 1 << 20, BigTransaction: 3 << 20,
		Without: []workload.Group{workload.Recreated}}) // the base backup is taken meanwhile
	conn := p.srv.Conn()
	if err := w.Setup(conn); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- w.Run(ctx, func() (*client.Conn, error) { return p.srv.Process.Conn() }, 4, 0) }()
	time.Sleep(time.Second)
	base := archivetest.TakeBackup(t, p.srv)
	w.Rebuild()
	for i := range points {
		time.Sleep(500 * time.Millisecond)
		cp, err := w.CheckpointAt(conn, fmt.Sprintf("point %d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		p.points = append(p.points, cp)
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	var err error
	if p.last, err = workload.Take(conn, "the end"); err != nil {
		t.Fatal(err)
	}
	p.srv.Stop()
	p.Archive = archivetest.Make(t, p.srv, cut, base)
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
	if n := again.Value("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'tidemark%'"); n != "0" {
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
	p := live(t, 5, kit.Cut{Every: 300_000})
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
