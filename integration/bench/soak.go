package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// benchSoak lets a server write as fast as it can, for minutes, and looks at the archiver beside it: memory,
// goroutines and descriptors must not grow. The first fifth of the time is for both to warm up.
func benchSoak(args []string) error {
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	length := fs.Duration("time", 10*time.Minute, "how long")
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
	if err := prepare(p); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tool, err := kit.Build()
	if err != nil {
		return err
	}
	cfg, err := kit.Config{Dir: dir, Primary: p.Addr, User: servertest.User, Password: "secret"}.Write()
	if err != nil {
		return err
	}
	d, err := kit.Start(kit.Tool{Path: tool}, cfg, filepath.Join(dir, "run.log"))
	if err != nil {
		return err
	}
	defer d.Kill()
	written := make(chan error, 1)
	ended := time.Now().Add(*length)
	go func() { written <- fillWhile(p, func(int) (bool, error) { return time.Now().Before(ended), nil }) }()
	var samples []sample
	for now := range time.Tick(*length / 100) {
		s, err := look(d)
		if err != nil {
			return err
		}
		if samples = append(samples, s); len(samples)%10 == 0 {
			fmt.Printf("%3.0f %%: %v\n", 100-100*ended.Sub(now).Seconds()/length.Seconds(), s)
		}
		if err := purge(p); err != nil {
			return err
		}
		if now.After(ended) {
			break
		}
	}
	if err := <-written; err != nil {
		return err
	}
	// Collections of garbage make single samples go up and down: the means of two fifths are compared.
	fifth := len(samples) / 5
	early, late := mean(samples[fifth:2*fifth]), mean(samples[len(samples)-fifth:])
	growth := 100 * (late.rss - early.rss) / early.rss
	fmt.Printf("\n%.2f GiB, %d transactions in %v\nearly: %v\nlate:  %v\nresident memory grew by %.1f %%\n",
		float64(late.received)/(1<<30), d.Last.ReceivedTransactions, *length, early, late, growth)
	if growth >= 5 || late.goroutines > early.goroutines+2 || late.descriptors > early.descriptors+2 {
		return errors.New("that is growth")
	}
	return d.Stop()
}

// sample is how a daemon was at a moment, or on average.
type sample struct {
	rss, goroutines, descriptors, received float64
}

func (s sample) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f goroutines, %.1f descriptors", s.rss/(1<<20), s.goroutines, s.descriptors)
}

func look(d *kit.Daemon) (s sample, err error) {
	if _, err = d.Status(); err != nil {
		return s, fmt.Errorf("%w\n%s", err, d.Tail())
	}
	p, err := kit.Inspect(d.Pid())
	if err != nil {
		return s, err
	}
	s.rss, s.descriptors = float64(p.RSS), float64(p.Descriptors)
	r, err := http.Get("http://" + d.Addr + "/metrics")
	if err != nil {
		return s, err
	}
	defer r.Body.Close()
	for in := bufio.NewScanner(r.Body); in.Scan(); {
		if text, ok := strings.CutPrefix(in.Text(), "go_goroutines "); ok {
			_, err = fmt.Sscan(text, &s.goroutines)
		}
		if strings.HasPrefix(in.Text(), "tidemark_received_bytes_total{") {
			_, text, _ := strings.Cut(in.Text(), "} ")
			_, err = fmt.Sscan(text, &s.received)
		}
	}
	if err == nil && s.goroutines == 0 {
		err = errors.New("the metrics do not count goroutines")
	}
	return s, err
}

func mean(samples []sample) (m sample) {
	n := float64(len(samples))
	for _, s := range samples {
		m.rss, m.goroutines, m.descriptors = m.rss+s.rss/n, m.goroutines+s.goroutines/n, m.descriptors+s.descriptors/n
		m.received = s.received
	}
	return m
}

// purge removes the server's old binlogs, which would fill the disk.
func purge(p *servertest.Process) error {
	rows, err := p.Query("SHOW BINARY LOGS")
	if err != nil || len(rows) < 5 {
		return err
	}
	return p.Exec("PURGE BINARY LOGS TO '" + rows[len(rows)-4][0] + "'") // what is being sent is not purged
}
