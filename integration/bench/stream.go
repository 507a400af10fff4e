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
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"go.uber.org/zap"

	"tidemark/archiver"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/replica"
	"tidemark/storage/file"
)

// figures of one run of a child process.
type figures struct {
	wall, cpu float64 // seconds
	mib       int64   // largest resident set
}

// benchStream compares archiving a server's binlogs (checked, compressed, synced, committed) with
// copying them by mariadb-binlog, which does none of that.
func benchStream(args []string) error {
	fs := flag.NewFlagSet("stream", flag.ContinueOnError)
	size := config.Size(1 << 30)
	fs.Func("size", "bytes of binlog, as 1GiB", func(s string) error { return size.UnmarshalText([]byte(s)) })
	rounds := fs.Int("rounds", 5, "runs of each")
	encrypt := fs.Bool("encrypt", false, "archive once more each round, encrypted, and compare that with the archive that is not")
	profile := fs.String("profile", "", "file for a CPU profile of the last run of tidemark")
	if err := fs.Parse(args); err != nil {
		return err
	}
	p, err := servertest.Launch(servertest.Options{ServerID: 1, Extra: []string{"--max-binlog-size=256M", "--innodb-buffer-pool-size=512M"}})
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.CreateUser(servertest.User, "secret"); err != nil {
		return err
	}
	fmt.Printf("writing %v of binlog\n", size)
	if err := prepare(p); err != nil {
		return err
	}
	if err := fill(p, int64(size), 0); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	defaults := filepath.Join(dir, "client.cnf")
	if err := os.WriteFile(defaults, fmt.Appendf(nil, "[client]\nuser=%s\npassword=secret\n", servertest.User), 0o600); err != nil {
		return err
	}
	total, err := binlogBytes(p)
	if err != nil {
		return err
	}
	_, recipient, err := keys.Generate(false)
	if err != nil {
		return err
	}
	var ours, theirs, encrypted []figures
	var counts archiveCounts
	for i := range *rounds {
		out := filepath.Join(dir, fmt.Sprint(i))
		var stdout bytes.Buffer
		f, err := run(&stdout, self, "archive", "-addr", p.Addr, "-dir", filepath.Join(out, "ours"), "-profile", *profile)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(stdout.Bytes(), &counts); err != nil {
			return err
		}
		ours = append(ours, f)
		raw := filepath.Join(out, "raw") + "/"
		if err := os.MkdirAll(raw, 0o700); err != nil {
			return err
		}
		g, err := run(os.Stderr, p.Binaries.Binlog, "--defaults-file="+defaults, "--read-from-remote-server", "--raw", "--host=127.0.0.1",
			fmt.Sprintf("--port=%d", p.Port), "--result-file="+raw, "--to-last-log", "binlog.000001")
		if err != nil {
			return err
		}
		theirs = append(theirs, g)
		if *encrypt {
			e, err := run(new(bytes.Buffer), self, "archive", "-addr", p.Addr, "-dir", filepath.Join(out, "encrypted"), "-recipient", recipient)
			if err != nil {
				return err
			}
			encrypted = append(encrypted, e)
			fmt.Printf("round %d: encrypted %.2f s wall %.2f s cpu %d MiB\n", i+1, e.wall, e.cpu, e.mib)
		}
		fmt.Printf("round %d: tidemark %.2f s wall %.2f s cpu %d MiB; mariadb-binlog --raw %.2f s wall %.2f s cpu\n",
			i+1, f.wall, f.cpu, f.mib, g.wall, g.cpu)
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	wall, cpu := ratios(ours, theirs)
	fmt.Printf("\n%.2f GiB in %d events, %d transactions\n", float64(total)/(1<<30), counts.Events, counts.Transactions)
	fmt.Printf("wall  %.2fx of mariadb-binlog --raw (received, checked, synced, compressed, stored, committed)\n", wall)
	fmt.Printf("cpu   %.2fx\n", cpu)
	fmt.Printf("allocations per event  %.4f\n", counts.AllocsPerEvent)
	if *encrypt {
		wall, cpu := ratios(encrypted, ours)
		fmt.Printf("encrypted: wall %.2fx, cpu %.2fx of the same without\n", wall, cpu)
	}
	return nil
}

// ratios returns the medians of the pairwise ratios.
func ratios(a, b []figures) (wall, cpu float64) {
	var w, c []float64
	for i := range a {
		w = append(w, a[i].wall/b[i].wall)
		c = append(c, a[i].cpu/b[i].cpu)
	}
	return median(w), median(c)
}

func median(v []float64) float64 {
	return slices.Sorted(slices.Values(v))[len(v)/2]
}

func run(stdout interface{ Write([]byte) (int, error) }, name string, args ...string) (figures, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return figures{}, fmt.Errorf("%s: %w", name, err)
	}
	f := figures{wall: since(start), cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	f.mib = maxRSS(cmd.ProcessState)
	return f, nil
}

// archiveCounts is what the child says of its run.
type archiveCounts struct {
	Events, Transactions uint64
	AllocsPerEvent       float64
}

// archiveChild archives a server's binlogs up to where they end now, and exits.
func archiveChild(args []string) error {
	fs := flag.NewFlagSet("archive", flag.ContinueOnError)
	addr := fs.String("addr", "", "server")
	dir := fs.String("dir", "", "directory for spool and archive")
	recipient := fs.String("recipient", "", "encrypt for this key")
	profile := fs.String("profile", "", "file for a CPU profile")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := replica.Options{Host: *addr, User: servertest.User, Password: "secret"}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return err
	}
	end, _, err := replica.Position(conn, gtid.MariaDB)
	conn.Close()
	if err != nil {
		return err
	}
	store, err := file.Open(filepath.Join(*dir, "archive"))
	if err != nil {
		return err
	}
	cat, err := catalog.Create(ctx, store, "bench", "bench", gtid.MariaDB, time.Now())
	if err != nil {
		return err
	}
	var recipients *keys.Recipients
	if *recipient != "" {
		if recipients, err = keys.ParseRecipients([]string{*recipient}); err != nil {
			return err
		}
	}
	arch, err := archiver.Open(ctx, archiver.Options{Catalog: cat, Timeline: 1, Recipients: recipients, Dir: filepath.Join(*dir, "spool"), FS: durable.OS{},
		Clock: clock.System{}, Log: zap.NewNop(), Version: "bench", MaxAge: 5 * time.Second, MaxSize: 64 << 20, MaxSpool: 10 << 30, HeadAge: time.Minute})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- arch.Run(running) }()
	src, err := replica.Open(ctx, o, replica.Request{ServerID: 4200000001, UUID: arch.UUID(), Heartbeat: 5 * time.Second,
		From: binlog.Point{File: "binlog.000001", Offset: 4}}.Fixed, clock.System{})
	if err != nil {
		return err
	}
	defer src.Close()
	counted := &until{Stream: src, end: end}
	if err := arch.Stream(ctx, counted, archiver.Resume{Fresh: true}); !errors.Is(err, errEnd) {
		return err
	}
	stop()
	if err := <-ran; err != nil {
		return err
	}
	if err := arch.Close(ctx); err != nil {
		return err
	}
	s := arch.Stats()
	if s.Archived.Point != end {
		return fmt.Errorf("archived up to %s, the server is at %s", s.Archived.Point, end)
	}
	return json.NewEncoder(os.Stdout).Encode(archiveCounts{Events: s.ReceivedEvents, Transactions: s.ReceivedTransactions,
		AllocsPerEvent: counted.allocs()})
}

var errEnd = errors.New("the end that was there at the start is reached")

// until ends a stream at a position and counts the program's allocations while it ran, warm-up left out.
type until struct {
	*replica.Stream
	end     binlog.Point
	reached bool
	events  uint64
	from    runtime.MemStats
	to      runtime.MemStats
}

const warmUp = 100_000 // events

func (u *until) Next() (*binlog.Event, error) {
	if u.reached {
		runtime.ReadMemStats(&u.to)
		return nil, errEnd
	}
	ev, err := u.Stream.Next()
	if err != nil {
		return nil, err
	}
	if u.events++; u.events == warmUp {
		runtime.ReadMemStats(&u.from)
	}
	u.reached = ev.File == u.end.File && ev.EndOffset() == u.end.Offset && ev.Last
	return ev, nil
}

func (u *until) allocs() float64 {
	return float64(u.to.Mallocs-u.from.Mallocs) / float64(max(u.events, warmUp+1)-warmUp)
}
