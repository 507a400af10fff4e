package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

const password = "demo-secret"

func (s *story) startArchiving() error {
	var err error
	s.config, err = kit.Config{Dir: s.dir, Primary: s.primary.Addr, User: servertest.User, Password: password,
		More: "    segment: {max_age: 1s}\n"}.Write()
	if err != nil {
		return err
	}
	yaml, err := os.ReadFile(s.config)
	if err != nil {
		return err
	}
	fmt.Printf("%s", yaml)
	s.shop.write()
	if s.daemon, err = kit.Start(s.tool, s.config, filepath.Join(s.dir, "run.log")); err != nil {
		return err
	}
	s.say("tidemark run: status port on %s", s.daemon.Addr)
	return s.daemon.Await(s.ctx, 20*time.Second, func(c kit.Status) bool { return c.ReceivedTransactions > 0 })
}

func (s *story) awaitBackup() error {
	err := s.daemon.Await(s.ctx, time.Minute, func(c kit.Status) bool { return c.LastBackup.ID != "" })
	if err != nil {
		return err
	}
	b := s.daemon.Last.LastBackup
	s.say("base backup %s: %s of data stored as %s, in %.1f s, %d orders written meanwhile and before", b.ID,
		size(b.Bytes), size(b.StoredBytes), b.Finished.Sub(b.Started).Seconds(), s.shop.orders())
	return nil
}

func (s *story) recordTruth() error {
	var worst, sum float64
	n := 0
	for end := time.Now().Add(s.load); time.Now().Before(end); n++ {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		time.Sleep(100 * time.Millisecond)
		c, err := s.daemon.Status()
		if err != nil {
			return err
		}
		worst, sum = max(worst, c.ArchivedLagSeconds), sum+c.ArchivedLagSeconds
	}
	if err := s.shop.stop(); err != nil {
		return err
	}
	s.say("%d orders in all; archived lag while writing: %.1f s on average, %.1f s at worst", s.shop.orders(), sum/float64(n), worst)
	var err error
	if s.truth, err = record(s.primary); err != nil {
		return err
	}
	s.say("the truth: %d tables, %d rows, at GTID %s", len(s.truth.tables), s.truth.rows, s.truth.gtid)
	return nil
}

func (s *story) drop() error {
	conn, err := s.primary.Conn()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Execute("DROP TABLE shop.orders"); err != nil {
		return err
	}
	r, err := conn.Execute("SELECT @@last_gtid")
	if err != nil {
		return err
	}
	if s.accident, err = r.GetString(0, 0); err != nil {
		return err
	}
	if _, err := conn.Execute("INSERT INTO shop.customers (name, balance) VALUES ('after the accident', 1)"); err != nil {
		return err
	}
	if r, err = conn.Execute("SELECT @@last_gtid"); err != nil {
		return err
	}
	end, _ := r.GetString(0, 0)
	s.say("it is transaction %s, and life goes on to %s", s.accident, end)
	start := time.Now()
	err = s.daemon.Await(s.ctx, 30*time.Second, func(c kit.Status) bool { return c.Archived.GTID == end })
	if err != nil {
		return err
	}
	s.say("archived %.1f s later; stopping tidemark run as a service manager would", time.Since(start).Seconds())
	return s.daemon.Stop()
}

func (s *story) plan() error {
	return s.command("restore", "shop", "--config", s.config, "--target-dir", s.target(), "--before-gtid", s.accident, "--dry-run")
}

func (s *story) restore() error {
	return s.command("restore", "shop", "--config", s.config, "--target-dir", s.target(), "--before-gtid", s.accident)
}

func (s *story) target() string { return filepath.Join(s.dir, "restored") }

func (s *story) compare() error {
	var err error
	s.restored, err = servertest.Launch(servertest.Options{ServerID: 2, Datadir: s.target()})
	if err != nil {
		return err
	}
	found, err := record(s.restored)
	if err != nil {
		return err
	}
	bad := 0
	for name, want := range s.truth.tables {
		verdict := "equal"
		if found.tables[name] != want {
			verdict = fmt.Sprintf("DIFFERENT: %v restored, %v expected", found.tables[name], want)
			bad++
		}
		s.say("%-20s %9d rows  checksum %-11s %s", name, want.rows, want.checksum, verdict)
	}
	for name := range found.tables {
		if _, known := s.truth.tables[name]; !known {
			s.say("%s is there and should not be", name)
			bad++
		}
	}
	if found.gtid != s.truth.gtid {
		s.say("GTID position %s, expected %s", found.gtid, s.truth.gtid)
		bad++
	}
	if bad > 0 {
		return errors.New("the restored server is not what it should be")
	}
	s.say("GTID position %s equal", found.gtid)
	return nil
}

// command runs tidemark with its output in ours. Interrupting the demo interrupts it too.
func (s *story) command(args ...string) error {
	cmd := exec.CommandContext(s.ctx, s.tool.Path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tidemark %s: %w", args[0], err)
	}
	return nil
}

func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
