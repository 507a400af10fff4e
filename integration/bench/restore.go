package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// benchRestore applies the same log to the same base backup in three ways: by tidemark restore, at its
// defaults and with one applier; by the server itself, with all binlogs put into its relay log at once by
// hand; and by mariadb-binlog (mysqlbinlog) piped into the client of a server, as it is by default and with
// relaxed durability. The last, which is slow, gets the beginning of the log only and is compared by rate.
func benchRestore(args []string) error {
	fs := flag.NewFlagSet("restore", flag.ContinueOnError)
	count := fs.Int("transactions", 240000, "transactions in the log")
	piped := fs.Int("piped", 40000, "transactions that are piped into a client")
	rounds := fs.Int("rounds", 3, "how often each way is taken")
	ballast := fs.Int("ballast", 0, "MiB that the base backup holds beside the tables written to; with them the whole restore is measured too, MariaDB only")
	name := fs.String("server", "", "version of the server: mariadb-10.11, mariadb-11.8, mysql-9.7; empty: the system's")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &restoreBench{dir: dir}
	if b.bin, err = binaries(*name); err != nil {
		return err
	}
	defer b.close()
	if err := b.archive(min(*piped, *count), *count, *ballast); err != nil {
		return err
	}
	const ours, serial, hand, relaxed, durable, whole, wholeHand = "tidemark restore", "with --threads 0", "all at once by hand",
		"piped, relaxed durability", "piped, default durability", "whole restore", "whole restore by hand"
	ways := []string{ours, serial, hand, relaxed, durable}
	rates := map[string][]float64{} // transactions a second, or for a whole restore its inverse of seconds
	for round := range *rounds {
		for i := range ways {
			way := ways[(i+round)%len(ways)] // each is the first one once: what comes behind the pipes was seen to be slower
			var rate float64
			syscall.Sync() // what the way before has written is not this one's to wait for
			switch way {
			case ours, serial:
				var more []string
				if way == serial {
					more = []string{"--threads", "0"}
				}
				var r report
				if r, err = b.ours(more...); err != nil {
					break
				}
				if rate = r.Rate; way == ours {
					fmt.Printf("round %d: %d threads chosen\n", round+1, r.Threads)
					rates[whole] = append(rates[whole], 1/r.Seconds)
				}
			case hand:
				rate, err = b.byHand(*count)
			case relaxed:
				rate, err = b.piped("2", *piped)
			case durable:
				rate, err = b.piped("1", *piped)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", way, err)
			}
			fmt.Printf("round %d: %-26s %7.0f transactions/s\n", round+1, way, rate)
			rates[way] = append(rates[way], rate)
		}
		if *ballast > 0 {
			syscall.Sync()
			took, err := b.wholeByHand()
			if err != nil {
				return fmt.Errorf("%s: %w", wholeHand, err)
			}
			// The rest of the log at the rate at which its beginning was piped.
			rates[wholeHand] = append(rates[wholeHand], 1/(took+float64(*count)/rates[relaxed][round]))
		}
	}
	fmt.Printf("\n%d transactions, %d of them piped; medians of %d rounds, and the range of the ratios\n", *count, min(*piped, *count), *rounds)
	for _, way := range ways {
		fmt.Printf("%-26s %7.0f transactions/s\n", way, median(rates[way]))
	}
	for _, peer := range []string{durable, relaxed, hand, serial} {
		fmt.Printf("tidemark restore is %s as fast as %s\n", ratio(rates[ours], rates[peer]), peer)
	}
	if *ballast > 0 {
		fmt.Printf("the whole restore takes %s of what it takes by hand\n", ratio(rates[wholeHand], rates[whole]))
	}
	return nil
}

// ratio is the median and the range of the ratios of each round.
func ratio(a, b []float64) string {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return fmt.Sprintf("%.2fx (%.2f to %.2f)", median(r), slices.Min(r), slices.Max(r))
}

// binaries finds a version of the matrix, and lets tidemark find its programs.
func binaries(name string) (servertest.Binaries, error) {
	for _, v := range servertest.Versions() {
		if v.Name == name || name == "" {
			b, err := v.Find()
			if err == nil {
				err = os.Setenv("PATH", filepath.Dir(b.Mysqld)+string(os.PathListSeparator)+os.Getenv("PATH"))
			}
			return b, err
		}
	}
	return servertest.Binaries{}, fmt.Errorf("no server %q is known", name)
}

type restoreBench struct {
	bin     servertest.Binaries
	dir     string
	tool    kit.Tool
	config  string
	primary *servertest.Process
	daemon  *kit.Daemon
	base    moment // of the base backup
	half    moment // to where the log is piped
	end     moment
}

// moment is a position of the primary, and the checksum of its tables there.
type moment struct {
	gtid, file, offset, sum string
}

func (b *restoreBench) close() {
	if b.daemon != nil {
		_ = b.daemon.Stop()
	}
	if b.primary != nil {
		_ = b.primary.Close()
	}
}

// archive writes the log and archives it, behind a base backup of the tables as they begin.
func (b *restoreBench) archive(piped, count, ballast int) (err error) {
	if b.tool.Path, err = kit.Build(); err != nil {
		return err
	}
	if b.primary, err = servertest.Launch(servertest.Options{ServerID: 1, Binaries: b.bin, Extra: []string{"--max-binlog-size=64M", "--innodb-buffer-pool-size=512M"}}); err != nil {
		return err
	}
	if b.bin.Flavor == servertest.MySQL {
		if err := b.primary.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'"); err != nil {
			return err
		}
	}
	if err := b.primary.CreateUser(servertest.User, "secret"); err != nil {
		return err
	}
	if err := prepare(b.primary); err != nil {
		return err
	}
	if err := weigh(b.primary, ballast); err != nil {
		return err
	}
	b.config, err = kit.Config{Dir: b.dir, Primary: b.primary.Addr, User: servertest.User, Password: "secret"}.Write()
	if err != nil {
		return err
	}
	if b.daemon, err = kit.Start(b.tool, b.config, filepath.Join(b.dir, "run.log")); err != nil {
		return err
	}
	ctx := context.Background()
	if err := b.daemon.Await(ctx, time.Minute, func(s kit.Status) bool { return s.LastBackup.ID != "" }); err != nil {
		return err
	}
	if b.base, err = b.moment(); err != nil {
		return err
	}
	fmt.Printf("writing %d transactions\n", count)
	if err := fill(b.primary, 0, piped); err != nil {
		return err
	}
	if b.half, err = b.moment(); err != nil {
		return err
	}
	if count > piped {
		if err := fill(b.primary, 0, count-piped); err != nil {
			return err
		}
	}
	if b.end, err = b.moment(); err != nil {
		return err
	}
	if err := b.daemon.Await(ctx, 5*time.Minute, func(s kit.Status) bool { return s.Archived.GTID == b.end.gtid }); err != nil {
		return err
	}
	return b.daemon.Stop()
}

func (b *restoreBench) moment() (m moment, err error) {
	ask, show := "SELECT @@gtid_binlog_pos", "SHOW MASTER STATUS"
	if b.bin.Flavor == servertest.MySQL {
		ask, show = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')", "SHOW BINARY LOG STATUS"
	}
	if m.gtid, err = b.primary.Value(ask); err != nil {
		return m, err
	}
	rows, err := b.primary.Query(show)
	if err != nil {
		return m, err
	}
	m.file, m.offset = rows[0][0], rows[0][1]
	m.sum, err = checksum(b.primary)
	return m, err
}

// binlogs are the paths of the primary's files from one to another.
func (b *restoreBench) binlogs(from, to moment) (files []string, err error) {
	all, err := filepath.Glob(filepath.Join(b.primary.Datadir, "binlog.[0-9][0-9][0-9][0-9][0-9][0-9]"))
	for _, f := range all {
		if name := filepath.Base(f); name >= from.file && name <= to.file {
			files = append(files, f)
		}
	}
	return files, err
}

// report is what tidemark restore says.
type report struct {
	Transactions uint64
	Rate         float64 `json:"transactions_per_second"`
	Seconds      float64
	Threads      int
}

func (b *restoreBench) restore(target string, more ...string) (r report, err error) {
	var out bytes.Buffer
	cmd := b.tool.Command(append([]string{"restore", "--config", b.config, "--target-dir", target, "--json", "--quiet"}, more...)...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("tidemark restore: %w", err)
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

func (b *restoreBench) ours(more ...string) (report, error) {
	target := filepath.Join(b.dir, "ours")
	defer os.RemoveAll(target)
	r, err := b.restore(target, more...)
	if err != nil {
		return r, err
	}
	p, err := b.server(target, "2")
	if err != nil {
		return r, err
	}
	defer p.Close()
	return r, b.check(p, b.end)
}

// piped returns how many transactions a second mariadb-binlog | mariadb applies to the same base backup, in a
// server with this innodb_flush_log_at_trx_commit.
func (b *restoreBench) piped(flush string, count int) (float64, error) {
	target := filepath.Join(b.dir, "piped")
	defer os.RemoveAll(target)
	if _, err := b.restore(target, "--to-gtid", b.base.gtid); err != nil {
		return 0, err
	}
	p, err := b.server(target, flush)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	logs, err := b.binlogs(b.base, b.half)
	if err != nil {
		return 0, err
	}
	from := "--start-position=" + b.base.offset
	if b.bin.Flavor == servertest.MySQL {
		from = "--exclude-gtids=" + b.base.gtid
	}
	read := exec.Command(b.bin.Binlog, append([]string{"--no-defaults", from, "--stop-position=" + b.half.offset}, logs...)...)
	write := exec.Command(b.bin.Client, "--no-defaults", "--socket="+p.Socket, "--user=root", "--binary-mode", "--max-allowed-packet=1G")
	if write.Stdin, err = read.StdoutPipe(); err != nil {
		return 0, err
	}
	read.Stderr, write.Stdout, write.Stderr = os.Stderr, os.Stderr, os.Stderr
	start := time.Now()
	if err := read.Start(); err != nil {
		return 0, err
	}
	if err := write.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", b.bin.Client, err)
	}
	if err := read.Wait(); err != nil {
		return 0, fmt.Errorf("%s: %w", b.bin.Binlog, err)
	}
	took := since(start)
	return float64(count) / took, b.check(p, b.half)
}

// server starts a server with as much memory as the data needs.
func (b *restoreBench) server(datadir, flush string, more ...string) (*servertest.Process, error) {
	return servertest.Launch(servertest.Options{ServerID: 9, Binaries: b.bin, Datadir: datadir, Extra: append([]string{"--skip-log-bin",
		"--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=" + flush, "--max-allowed-packet=1G"}, more...)})
}

// check makes sure that all ways lead to the same data.
func (b *restoreBench) check(p *servertest.Process, at moment) error {
	sum, err := checksum(p)
	if err == nil && sum != at.sum {
		err = fmt.Errorf("the tables restored differ: %s, the primary had %s", sum, at.sum)
	}
	return err
}

func checksum(p *servertest.Process) (string, error) {
	var sum string
	for t := range workers {
		rows, err := p.Query(fmt.Sprintf("CHECKSUM TABLE bench.t%d", t))
		if err != nil {
			return "", err
		}
		sum += rows[0][1] + " "
	}
	return sum, nil
}
