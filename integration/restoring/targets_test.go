// Package restoring tests restores end to end: a real server, the tidemark program, and the truth.
package restoring

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

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
func TestTargets(t *testing.T) {
	servertest.Each(t, servertest.MariaDB, targets, "mariadb-backup", "mbstream")
}

func targets(t *testing.T, b servertest.Binaries) {
	harness.Use(t, b)
	n := harness.CountOn(t, b, 5, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d restores", seed, n)
	r := rand.New(rand.NewPCG(seed, 2))
	srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=8M"}})
	srv.CreateUser(servertest.User, "secret")
	srv.Exec("CREATE DATABASE marks", "CREATE TABLE marks.m (id INT AUTO_INCREMENT PRIMARY KEY)")
	dir := t.TempDir()
	tool, err := harness.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
		More: "    segment: {max_age: 500ms, max_size: 2MiB}\n    heartbeat: 1s\n"}.Write()
	if err != nil {
		t.Fatal(err)
	}
	w := workload.New(int64(seed>>1), workload.Options{Domains: 3, MaxBlob: 32 << 20, BigTransaction: 5 << 20,
		Without: []workload.Group{workload.Engines}}) // the backup would be refused if one changed while it is taken
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}
	d, err := harness.Start(tool, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- w.Run(ctx, func() (*client.Conn, error) { return srv.Process.Conn() }, 4, 0) }()
	if err := d.Await(ctx, 2*time.Minute, func(c harness.Status) bool { return c.LastBackup.ID != "" }); err != nil {
		t.Fatal(err)
	}

	points := make([]point, n)
	for i := range points {
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		points[i] = mark(t, w, srv, fmt.Sprintf("point %d", i+1))
	}
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	last := point{Checkpoint: take(t, srv, "the end")}
	if err := d.Await(context.Background(), time.Minute, func(c harness.Status) bool { return c.Archived == c.Primary && c.Archived.GTID == last.GTIDPos }); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}

	kinds := []func(point) []string{
		func(p point) []string { return []string{"--to-time", p.Time.Format(time.RFC3339)} },
		func(p point) []string { return []string{"--to-gtid", p.GTIDPos} },
		func(p point) []string { return []string{"--before-gtid", p.next} },
		func(p point) []string { return []string{"--to-position", p.File + ":" + strconv.FormatInt(p.Pos, 10)} },
	}
	restore := func(p point, args ...string) {
		t.Helper()
		target := filepath.Join(dir, "restored")
		args = append([]string{"restore", "shop", "--config", cfg, "--target-dir", target}, args...)
		start := time.Now()
		out, err := exec.Command(tool, args...).CombinedOutput()
		if err != nil && exitCode(err) != 3 { // 3: done, with something to look at, as prepared XA transactions
			t.Fatalf("tidemark %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("%s: tidemark %s: %.1f s", p.Name, strings.Join(args[6:], " "), time.Since(start).Seconds())
		again, err := servertest.Launch(servertest.Options{ServerID: 99, Datadir: target, Binaries: srv.Binaries})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := again.Close(); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(target); err != nil {
				t.Error(err)
			}
		}()
		conn, err := again.Conn()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := workload.Compare(conn, p.Checkpoint); err != nil {
			t.Errorf("tidemark %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		if pos, err := again.Value("SELECT @@gtid_slave_pos"); err != nil || pos != p.GTIDPos {
			t.Errorf("GTID position %s restored, %s expected, %v", pos, p.GTIDPos, err)
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
	for _, stmt := range []string{"INSERT INTO marks.m VALUES ()", "SELECT @@last_gtid"} {
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

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}
