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

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// benchBase takes base backups of one server by tidemark backup and by mariadb-backup | zstd, and unpacks them
// by tidemark restore and by zstd | mbstream.
func benchBase(args []string) error {
	fs := flag.NewFlagSet("base", flag.ContinueOnError)
	size := fs.Int("size", 2048, "MiB of data in the server")
	rounds := fs.Int("rounds", 4, "how often each way is taken")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &baseBench{dir: dir}
	defer b.close()
	if err := b.begin(*size); err != nil {
		return err
	}
	const ours, hand, unpack, unpackHand = "tidemark backup", "mariadb-backup | zstd", "tidemark restore, its fetching", "zstd | mbstream"
	ways := []struct {
		name string
		run  func() (float64, error)
	}{{hand, b.backupByHand}, {ours, b.backup}, {unpackHand, b.unpackByHand}, {unpack, b.fetch}}
	rates := map[string][]float64{}
	for round := range *rounds {
		if round > 0 { // who comes second finds memory that was used just before; that is worth something
			ways[0], ways[1], ways[2], ways[3] = ways[1], ways[0], ways[3], ways[2]
		}
		for _, way := range ways {
			took, err := way.run()
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			rate := float64(b.plain>>20) / took
			fmt.Printf("round %d: %-30s %6.0f MiB/s\n", round+1, way.name, rate)
			rates[way.name] = append(rates[way.name], rate)
		}
	}
	fmt.Printf("\n%d MiB, stored as %d MiB; medians of %d rounds, and the range of the ratios\n", b.plain>>20, b.stored>>20, *rounds)
	fmt.Printf("%s is %s as fast as %s\n", ours, ratio(rates[ours], rates[hand]), hand)
	fmt.Printf("%s, is %s as fast as %s\n", unpack, ratio(rates[unpack], rates[unpackHand]), unpackHand)
	return nil
}

type baseBench struct {
	dir, config   string
	tool          kit.Tool
	primary       *servertest.Process
	daemon        *kit.Daemon
	plain, stored uint64 // bytes of a base backup
}

func (b *baseBench) close() {
	if b.daemon != nil {
		_ = b.daemon.Stop()
	}
	if b.primary != nil {
		_ = b.primary.Close()
	}
}

// begin starts a server with data, and archives it.
func (b *baseBench) begin(mib int) (err error) {
	if b.tool.Path, err = kit.Build(); err != nil {
		return err
	}
	bin, err := binaries("")
	if err != nil {
		return err
	}
	if b.primary, err = servertest.Launch(servertest.Options{ServerID: 1, Binaries: bin, Extra: []string{"--innodb-buffer-pool-size=512M"}}); err != nil {
		return err
	}
	if err := errors.Join(b.primary.CreateUser(servertest.User, "secret"), prepare(b.primary), weigh(b.primary, mib)); err != nil {
		return err
	}
	b.config, err = kit.Config{Dir: b.dir, Primary: b.primary.Addr, User: servertest.User, Password: "secret"}.Write()
	if err != nil {
		return err
	}
	if b.daemon, err = kit.Start(b.tool, b.config, filepath.Join(b.dir, "run.log")); err != nil {
		return err
	}
	return b.daemon.Await(context.Background(), 5*time.Minute, func(s kit.Status) bool {
		b.plain, b.stored = s.LastBackup.Bytes, s.LastBackup.StoredBytes
		return s.LastBackup.ID != ""
	})
}

// backup returns the seconds that tidemark takes for a base backup.
func (b *baseBench) backup() (float64, error) {
	start := time.Now()
	out, err := b.tool.Command("backup", "--config", b.config, "--quiet").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	return since(start), nil
}

// backupByHand does it with the standard tools, with as many threads.
func (b *baseBench) backupByHand() (float64, error) {
	options := filepath.Join(b.dir, "client.cnf")
	if err := os.WriteFile(options, []byte("[client]\nuser="+servertest.User+"\npassword=secret\nsocket="+b.primary.Socket+"\n"), 0o600); err != nil {
		return 0, err
	}
	start := time.Now()
	err := script("mariadb-backup --defaults-file=$1 --backup --parallel=2 --stream=mbstream --datadir=$2 --target-dir=$3 2>$3.log | zstd -1 -T0 -qf -o $3; sync $3",
		options, b.primary.Datadir, filepath.Join(b.dir, "byhand"))
	return since(start), err
}

// fetch returns the seconds for which a restore fetches the base backup and unpacks it.
func (b *baseBench) fetch() (float64, error) {
	target := filepath.Join(b.dir, "restored")
	defer os.RemoveAll(target)
	var out, said bytes.Buffer
	cmd := b.tool.Command("restore", "--config", b.config, "--target-dir", target, "--json", "--quiet")
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, said.String())
	}
	var report struct {
		Phases []struct {
			Phase   string
			Seconds float64
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return 0, err
	}
	for _, p := range report.Phases {
		if p.Phase == "fetch" {
			return p.Seconds, nil
		}
	}
	return 0, errors.New("the report has no phase that fetches")
}

// unpackByHand unpacks what backupByHand has written.
func (b *baseBench) unpackByHand() (float64, error) {
	target := filepath.Join(b.dir, "unpacked")
	defer os.RemoveAll(target)
	start := time.Now()
	err := script("mkdir $2; zstd -dcq $1 | mbstream -x -C $2", filepath.Join(b.dir, "byhand"), target)
	return since(start), err
}

// script runs one of bash with arguments; any command of it that fails makes it fail.
func script(text string, args ...string) error {
	out, err := exec.Command("bash", append([]string{"-c", "set -e -o pipefail; " + text, "bench"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
