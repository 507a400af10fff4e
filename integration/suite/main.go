// Command suite runs the tests of a tier, prints what plain `go test` does and then where the time went,
// and fails when a test that must run did not pass or the whole took longer than its budget allows.
//
//	go run ./integration/suite unit       # no server
//	go run ./integration/suite scenario   # and one MariaDB, one MySQL, storage in files
//	go run ./integration/suite matrix     # and all versions, all storages
//
// It installs what the tier needs, and builds the program meanwhile. Tests run side by side: see
// integration/kit. -run, -packages and -n choose fewer or more of them; then nothing must run.
//
// .ci/must-run lists the tests that must run, each with its tier, and .ci/budget the seconds that a tier may
// take, and the tests that are slow with the reason. With TIDEMARK_MUST_RUN=1, as in CI, a test that lacks
// a server fails, so that all of the list must have passed, and the budget holds.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"tidemark/integration/kit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	tier     tier
	run      string
	packages string
	timeout  time.Duration
	install  bool
	failFast bool
	strict   bool
}

// some tells whether only some of the tests were asked for.
func (o options) some() bool { return o.run != "" || o.packages != "./..." }

func parse(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("suite", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.run, "run", "", "only the tests that `regexp` matches")
	flags.StringVar(&o.packages, "packages", "./...", "only the tests of these packages, with spaces between")
	flags.DurationVar(&o.timeout, "timeout", 40*time.Minute, "for each package")
	flags.BoolVar(&o.install, "install", true, "install what the tier needs")
	flags.BoolVar(&o.failFast, "failfast", false, "end at the first test that fails")
	flags.Usage = func() {
		fmt.Fprintln(out, "usage: suite [flags] unit|scenario|matrix")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, flag.ErrHelp
	}
	o.strict = os.Getenv("TIDEMARK_MUST_RUN") == "1"
	var err error
	if o.tier, err = parseTier(flags.Arg(0)); err != nil || flags.NArg() != 1 {
		flags.Usage()
		return o, flag.ErrHelp
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	began := time.Now()
	list, err := readFile(".ci/must-run", parseList)
	if err != nil {
		return err
	}
	budget, err := readFile(".ci/budget", parseBudget)
	if err != nil {
		return err
	}
	env, err := prepare(ctx, o, out)
	if err != nil {
		return err
	}
	tmp, remove, err := temporary(out)
	if err != nil {
		return err
	}
	defer remove()
	before, err := measure()
	if err != nil {
		return err
	}
	rest := time.Now()
	r := newReport(bufio.NewWriter(out))
	if err := goTest(ctx, o, append(env, "TMPDIR="+tmp, "GOTMPDIR="+tmp), r); err != nil {
		return err
	}
	tests := time.Since(rest)
	after, err := measure()
	if err != nil {
		return err
	}
	good := r.close(list.upTo(o), o.strict)
	r.times(budget)
	slower := max(before.slower(), after.slower())
	fmt.Fprintf(out, "%d s in all, %d s of them tests; processors idle %.0f %% of the tests' time, load %s; the machine is %.2fx as slow as the one of the budget\n",
		int(time.Since(began).Seconds()), int(tests.Seconds()), 100*after.idleSince(before), loadAverage(), slower)
	if !good {
		return errors.New("failed")
	}
	if o.some() || !o.strict {
		return nil
	}
	return budget.check(o.tier, tests, slower)
}

// prepare installs what the tier needs while it builds the program, and returns the environment of the
// tests.
func prepare(ctx context.Context, o options, out io.Writer) ([]string, error) {
	env := append(os.Environ(), "TIDEMARK_TEST_TIER="+o.tier.String())
	if o.tier == unit {
		return env, nil
	}
	installed := make(chan error, 1)
	go func() { installed <- install(ctx, o, out) }()
	fmt.Fprintln(out, "suite: building tidemark, which takes a minute or two the first time")
	built, err := kit.EnvBuilt()
	return append(env, built...), errors.Join(err, <-installed)
}

// install runs the scripts that install servers and emulators. Where not all tests must run, what cannot
// be had is reported and no more.
func install(ctx context.Context, o options, out io.Writer) error {
	if !o.install {
		return nil
	}
	scripts := [][]string{{"install-deps.sh"}, {"install-servers.sh"}, {"install-plugins.sh"}}
	if o.tier == matrix {
		scripts = append(scripts, []string{"install-emulators.sh"})
	} else {
		scripts[1] = append(scripts[1], "--only", "mysql-9.7")
	}
	for _, s := range scripts {
		args := s[1:]
		if !o.strict && s[0] != "install-deps.sh" {
			args = append(args, "--best-effort")
		}
		fmt.Fprintf(out, "suite: scripts/%s\n", strings.Join(append([]string{s[0]}, args...), " "))
		cmd := exec.CommandContext(ctx, "scripts/"+s[0], args...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("scripts/%s: %w", s[0], err)
		}
	}
	return nil
}

// goTest runs the tests and lets the report take in what they say.
func goTest(ctx context.Context, o options, env []string, r *report) error {
	packages, err := packages(ctx, o)
	if err != nil {
		return err
	}
	// More packages and tests at once than processors: tests with servers mostly wait, and how many of
	// them run is bounded by the kit.
	// Without what only debuggers and vet, which make vet runs, need.
	args := []string{"test", "-json", "-count=1", "-vet=off", "-ldflags=-s -w", "-p", fmt.Sprint(4 * runtime.NumCPU()), "-parallel", "32", "-timeout", o.timeout.String()}
	if o.tier == unit {
		args = append(args, "-short")
	}
	if o.run != "" {
		args = append(args, "-run", o.run)
	}
	if o.failFast {
		args = append(args, "-failfast")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if o.failFast {
		r.onFailure = stop
	}
	err = r.read(stdout)
	// It ends with 1 for tests that failed, of which the report knows; anything else went wrong before.
	failed := cmd.Wait()
	if failed != nil && !r.failed && len(r.output) == 0 {
		err = errors.Join(err, fmt.Errorf("go test: %w", failed))
	}
	return err
}

// slowFirst are packages whose tests take long: begun late they would end alone.
var slowFirst = []string{"tidemark/storage/azure", "tidemark/storage/gcs", "tidemark/integration/restoring", "tidemark/integration/stress", "tidemark/integration/failover",
	"tidemark/integration/copying", "tidemark/integration/verifying", "tidemark/integration/backup", "tidemark/integration/archive",
	"tidemark/integration/applying", "tidemark/archiver"}

// packages are those to test, in the order in which to begin.
func packages(ctx context.Context, o options) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, strings.Fields(o.packages)...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	all := strings.Fields(string(out))
	var first, rest []string
	for _, slow := range slowFirst {
		for _, p := range all {
			if p == slow {
				first = append(first, p)
			}
		}
	}
	for _, p := range all {
		if !contains(first, p) {
			rest = append(rest, p)
		}
	}
	return append(first, rest...), nil
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// readFile reads a file as one of the lists.
func readFile[T any](path string, parse func(string) (T, error)) (T, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(string(data))
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, err
}
