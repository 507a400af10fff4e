package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// benchCommit measures how long commits take while they wait until they are safe in the spool (ack: spool),
// against the same server that does not wait, side by side, with some clients each of which writes as fast
// as it can: one row a transaction. The archiver runs in both. Server and spool sync every commit.
func benchCommit(args []string) error {
	fs := flag.NewFlagSet("commit", flag.ContinueOnError)
	name := fs.String("server", "", "version of the server: mariadb-10.11, mariadb-11.8, mysql-9.7; empty: the system's")
	rounds := fs.Int("rounds", 3, "runs of each")
	length := fs.Duration("time", 5*time.Second, "of each run")
	if err := fs.Parse(args); err != nil {
		return err
	}
	b, err := binaries(*name)
	if err != nil {
		return err
	}
	c := &commits{mysql: b.Flavor == servertest.MySQL, length: *length}
	options := []string{"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--max-connections=200"}
	if c.mysql {
		options = append(options, "--plugin-load-add=semisync_source.so", "--loose-rpl-semi-sync-source-wait-point=AFTER_SYNC", "--loose-rpl-semi-sync-source-enabled=ON")
	} else {
		options = append(options, "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-enabled=ON")
	}
	if c.p, err = servertest.Launch(servertest.Options{ServerID: 1, Binaries: b, Extra: options}); err != nil {
		return err
	}
	defer c.p.Close()
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := c.archive(dir); err != nil {
		return err
	}
	defer c.d.Kill()
	fmt.Printf("%s %s; a commit that waits for the spool, as a multiple of one that does not\n", b.Flavor, b.Version)
	for _, clients := range []int{1, 8, 64} {
		if err := c.compare(clients, *rounds); err != nil {
			return err
		}
	}
	return c.d.Stop()
}

// commits is a primary and the archiver beside it.
type commits struct {
	p      *servertest.Process
	d      *kit.Daemon
	mysql  bool
	length time.Duration
}

// archive starts tidemark.
func (c *commits) archive(dir string) error {
	if err := c.p.CreateUser(servertest.User, "secret"); err != nil {
		return err
	}
	if err := c.p.Exec("CREATE DATABASE bench", "CREATE TABLE bench.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v CHAR(100))"); err != nil {
		return err
	}
	tool, err := kit.Build()
	if err != nil {
		return err
	}
	cfg, err := kit.Config{Dir: dir, Primary: c.p.Addr, User: servertest.User, Password: "secret", More: "    ack: spool\n"}.Write()
	if err != nil {
		return err
	}
	if c.d, err = kit.Start(kit.Tool{Path: tool}, cfg, filepath.Join(dir, "run.log")); err != nil {
		return err
	}
	c.d.BackupsMayFail = true // a MySQL without the clone plugin has none, and none is needed
	return c.d.Await(context.Background(), time.Minute, func(s kit.Status) bool { return s.LastBackup.ID != "" || s.LastBackup.Error != "" })
}

// compare prints the medians of the ratios of a number of runs.
func (c *commits) compare(clients, rounds int) error {
	var half, most, rate []float64
	var syncs, waited uint64
	for range rounds {
		off, err := c.run(clients, false)
		if err != nil {
			return err
		}
		if err := c.enable(true); err != nil {
			return err
		}
		before := c.d.Last.Syncs
		on, err := c.run(clients, true)
		if err != nil {
			return err
		}
		if _, err := c.d.Status(); err != nil {
			return err
		}
		syncs, waited = syncs+c.d.Last.Syncs-before, waited+uint64(len(on))
		half = append(half, quantile(on, 0.5).Seconds()/quantile(off, 0.5).Seconds())
		most = append(most, quantile(on, 0.99).Seconds()/quantile(off, 0.99).Seconds())
		rate = append(rate, float64(len(on))/float64(len(off)))
		fmt.Printf("  %2d clients: p50 %v, without %v; p99 %v, without %v; %d commits, without %d\n", clients, quantile(on, 0.5), quantile(off, 0.5),
			quantile(on, 0.99), quantile(off, 0.99), len(on), len(off))
	}
	fmt.Printf("%2d clients: p50 %.2fx, p99 %.2fx, throughput %.2fx, %.3f syncs of the spool a commit\n", clients, median(half), median(most), median(rate),
		float64(syncs)/float64(waited))
	return nil
}

// enable lets commits wait, or not, and returns when it is so.
func (c *commits) enable(on bool) error {
	variable := "rpl_semi_sync_master_enabled"
	if c.mysql {
		variable = "rpl_semi_sync_source_enabled"
	}
	if err := c.p.Exec(fmt.Sprintf("SET GLOBAL %s=%v", variable, on)); err != nil || !on {
		return err
	}
	return c.d.Await(context.Background(), time.Minute, func(s kit.Status) bool {
		return c.p.Exec("INSERT INTO bench.t (v) VALUES ('')") == nil && s.SemiSync.Kept
	})
}

// run lets clients commit for a while and returns how long each commit took, sorted. With on, all must have
// been acknowledged.
func (c *commits) run(clients int, on bool) ([]time.Duration, error) {
	if err := c.enable(on); err != nil {
		return nil, err
	}
	unacknowledged := c.d.Last.SemiSync.Unacknowledged
	took, errs := make([][]time.Duration, clients), make([]error, clients)
	var wg sync.WaitGroup
	end := time.Now().Add(c.length)
	for i := range clients {
		wg.Go(func() { took[i], errs[i] = c.client(end) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if _, err := c.d.Status(); err != nil {
		return nil, err
	}
	if now := c.d.Last.SemiSync.Unacknowledged; on && (now != unacknowledged || !c.d.Last.SemiSync.Kept) {
		return nil, fmt.Errorf("%d commits went on without an acknowledgement: %s", now-unacknowledged, c.d.Last.SemiSync.Reason)
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, nil
}

func (c *commits) client(end time.Time) (took []time.Duration, err error) {
	conn, err := c.p.Conn()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for began := time.Now(); began.Before(end); {
		if _, err := conn.Execute("INSERT INTO bench.t (v) VALUES ('a row of a hundred bytes')"); err != nil {
			return nil, err
		}
		now := time.Now()
		took, began = append(took, now.Sub(began)), now
	}
	return took, nil
}

// quantile of durations that are sorted.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}
