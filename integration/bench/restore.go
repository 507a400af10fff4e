package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
)

// benchRestore applies the same log to the same base backup in two ways: by tidemark restore, with one
// applier and with several, and by mariadb-binlog (mysqlbinlog) piped into the client of a server, as it
// is by default and with relaxed durability.
func benchRestore(args []string) error {
	fs := flag.NewFlagSet("restore", flag.ContinueOnError)
	count := fs.Int("transactions", 60000, "transactions in the log")
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
	if err := b.archive(*count); err != nil {
		return err
	}
	ours, err := b.ours("ours")
	if err != nil {
		return err
	}
	var parallel []report
	threads := []string{"1", "4"}
	for _, n := range threads {
		r, err := b.ours("ours-"+n, "--threads", n)
		if err != nil {
			return err
		}
		parallel = append(parallel, r)
	}
	relaxed, err := b.theirs("2")
	if err != nil {
		return err
	}
	durable, err := b.theirs("1")
	if err != nil {
		return err
	}
	fmt.Printf("\n%d transactions\n", ours.Transactions)
	fmt.Printf("tidemark restore         %6.1f s to apply, %6.0f transactions/s (%.1f s with fetching, preparing and all else)\n",
		ours.apply(), ours.Rate, ours.Seconds)
	for i, r := range parallel {
		fmt.Printf("with --threads %s         %6.1f s to apply, %6.0f transactions/s\n", threads[i], r.apply(), r.Rate)
	}
	for _, peer := range []struct {
		name string
		took float64
	}{{"server as it is by default", durable}, {"server with relaxed durability", relaxed}} {
		fmt.Printf(filepath.Base(b.bin.Binlog)+" | "+filepath.Base(b.bin.Client)+" %6.1f s to apply, %6.0f transactions/s, %s\n", peer.took, float64(ours.Transactions)/peer.took, peer.name)
	}
	fmt.Printf("apply  %.1fx as fast as into a server as it is by default\n", durable/ours.apply())
	fmt.Printf("apply  %.1fx as fast as into a server with the durability relaxed by hand as a restore does\n", relaxed/ours.apply())
	return nil
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
	tool    string
	config  string
	primary *servertest.Process
	daemon  *harness.Daemon
	base    string // GTID position of the base backup
	sum     string // of the tables at the end
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
func (b *restoreBench) archive(count int) (err error) {
	if b.tool, err = harness.Build(b.dir); err != nil {
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
	b.config, err = harness.Config{Dir: b.dir, Primary: b.primary.Addr, User: servertest.User, Password: "secret"}.Write()
	if err != nil {
		return err
	}
	if b.daemon, err = harness.Start(b.tool, b.config, filepath.Join(b.dir, "run.log")); err != nil {
		return err
	}
	ctx := context.Background()
	if err := b.daemon.Await(ctx, time.Minute, func(s harness.Status) bool { return s.LastBackup.ID != "" }); err != nil {
		return err
	}
	if b.base, err = b.position(); err != nil {
		return err
	}
	fmt.Printf("writing %d transactions\n", count)
	if err := fill(b.primary, 0, count); err != nil {
		return err
	}
	end, err := b.position()
	if err != nil {
		return err
	}
	if b.sum, err = checksum(b.primary); err != nil {
		return err
	}
	if err := b.daemon.Await(ctx, 5*time.Minute, func(s harness.Status) bool { return s.Archived.GTID == end }); err != nil {
		return err
	}
	return b.daemon.Stop()
}

func (b *restoreBench) position() (string, error) {
	if b.bin.Flavor == servertest.MySQL {
		return b.primary.Value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	}
	return b.primary.Value("SELECT @@gtid_binlog_pos")
}

// report is what tidemark restore says.
type report struct {
	Transactions uint64
	Rate         float64 `json:"transactions_per_second"`
	Seconds      float64
	Phases       []struct {
		Phase   string
		Seconds float64
	}
}

func (r report) apply() float64 {
	for _, p := range r.Phases {
		if p.Phase == "apply" {
			return p.Seconds
		}
	}
	return r.Seconds
}

func (b *restoreBench) restore(target string, more ...string) (r report, err error) {
	var out bytes.Buffer
	cmd := exec.Command(b.tool, append([]string{"restore", "--config", b.config, "--target-dir", target, "--json", "--quiet"}, more...)...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("tidemark restore: %w", err)
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

func (b *restoreBench) ours(name string, more ...string) (report, error) {
	target := filepath.Join(b.dir, name)
	r, err := b.restore(target, more...)
	if err != nil {
		return r, err
	}
	p, err := b.server(target, "2")
	if err != nil {
		return r, err
	}
	defer p.Close()
	return r, b.check(p)
}

// theirs returns the seconds that mariadb-binlog | mariadb takes for the same transactions, into a
// server with this innodb_flush_log_at_trx_commit.
func (b *restoreBench) theirs(flush string) (float64, error) {
	target := filepath.Join(b.dir, "theirs-"+flush)
	if _, err := b.restore(target, "--to-gtid", b.base); err != nil {
		return 0, err
	}
	p, err := b.server(target, flush)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	logs, err := filepath.Glob(filepath.Join(b.primary.Datadir, "binlog.0*"))
	if err != nil || len(logs) == 0 {
		return 0, errors.Join(err, errors.New("no binlogs of the primary found"))
	}
	from := "--start-position=" + b.base
	if b.bin.Flavor == servertest.MySQL {
		from = "--exclude-gtids=" + b.base
	}
	read := exec.Command(b.bin.Binlog, append([]string{"--no-defaults", from}, logs...)...)
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
	return took, b.check(p)
}

// server starts a server with as much memory as the data needs.
func (b *restoreBench) server(datadir, flush string) (*servertest.Process, error) {
	return servertest.Launch(servertest.Options{ServerID: 9, Binaries: b.bin, Datadir: datadir, Extra: []string{"--skip-log-bin",
		"--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=" + flush, "--max-allowed-packet=1G"}})
}

// check makes sure that both ways lead to the same data.
func (b *restoreBench) check(p *servertest.Process) error {
	sum, err := checksum(p)
	if err == nil && sum != b.sum {
		err = fmt.Errorf("the tables restored differ: %s, the primary has %s", sum, b.sum)
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
