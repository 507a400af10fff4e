package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// tier is a set of tests that are tried together.
type tier struct {
	name    string
	command func(root string, m mutation) ([]string, error) // nothing: there is none to be tried
}

// tiers are those that are tried, in order. This is the one place that knows how tests are run.
func tiers(servers bool) []tier {
	list := []tier{{"first", first}, {"unit", unit}}
	if servers {
		list = append(list, tier{"named", named}, tier{"servers", withServers})
	}
	return list
}

const integration = "integration"

// unitTest runs tests that need no server. What has been tried already, and is not touched by the mutation, the
// go command remembers.
func unitTest(packages []string) []string {
	return append([]string{"go", "test", "-short", "-failfast", "-timeout", "10m"}, packages...)
}

// first are the tests of the packages that the list names, if they need no server.
func first(_ string, m mutation) ([]string, error) {
	var list []string
	for _, p := range m.tests {
		if !strings.HasPrefix(p, "./"+integration) {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return unitTest(list), nil
}

// unit are all the tests of the packages outside of integration/. Those of the root are about the form of the
// code only.
func unit(root string, _ mutation) ([]string, error) {
	cmd := exec.Command("go", "list", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var list []string
	for p := range strings.FieldsSeq(string(out)) {
		if rest, ok := strings.CutPrefix(p, "tidemark/"); ok && rest != integration && !strings.HasPrefix(rest, integration+"/") {
			list = append(list, p)
		}
	}
	return unitTest(list), nil
}

// named are the tests of the packages that the list names, if they need servers.
func named(_ string, m mutation) ([]string, error) {
	var list []string
	for _, p := range m.tests {
		if strings.HasPrefix(p, "./"+integration) {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return append([]string{"env", "TIDEMARK_TEST_TIER=scenario", "go", "test", "-count=1", "-failfast", "-parallel", "8", "-timeout", "60m"}, list...), nil
}

// withServers is everything that make test runs.
func withServers(string, mutation) ([]string, error) { return []string{"make", "test"}, nil }

// failure is the first test that failed.
type failure struct {
	pkg   string
	test  string // "" where none was named, as when a test does not end
	build bool   // the package does not compile
}

func (f *failure) String() string {
	if f.test == "" {
		return "a test of " + f.pkg
	}
	return f.test + " of " + f.pkg
}

// test runs the command of a tier, up to the first package that fails, which it returns; nil if none does.
func test(ctx context.Context, root string, env, args []string) (*failure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = root, env
	w := &watcher{found: cancel}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// What the tests have started ends with them.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case w.first != nil:
		return w.first, nil
	case err == nil:
		return nil, nil
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%s: %w, and no test has failed:\n%s", strings.Join(args[:2], " "), err, w.end())
	}
	return nil, err
}

// watcher reads what `go test` prints.
type watcher struct {
	found func()
	line  []byte
	last  []string // lines, for an error
	test  string   // of the package whose output comes now, that failed first
	first *failure
}

var (
	failedTest    = regexp.MustCompile(`^\s*--- FAIL: (\S+)`)
	timedOut      = regexp.MustCompile(`^\s+(Test\S+) \(\d`)
	failedPackage = regexp.MustCompile(`^FAIL\s+(\S+)(\s.*)?$`)
	donePackage   = regexp.MustCompile(`^(ok|\?)\s`)
)

func (w *watcher) Write(p []byte) (int, error) {
	w.line = append(w.line, p...)
	for {
		i := bytes.IndexByte(w.line, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.see(string(w.line[:i]))
		w.line = w.line[i+1:]
	}
}

func (w *watcher) see(line string) {
	if w.last = append(w.last, line); len(w.last) > 40 {
		w.last = w.last[1:]
	}
	if w.first != nil {
		return
	}
	if m := failedPackage.FindStringSubmatch(line); m != nil {
		w.first = &failure{pkg: m[1], test: w.test, build: strings.Contains(m[2], "[build failed]") || strings.Contains(m[2], "[setup failed]")}
		w.found()
	} else if m := failedTest.FindStringSubmatch(line); m != nil {
		if w.test == "" || strings.HasPrefix(m[1], w.test+"/") { // the parts of a test follow it
			w.test = m[1]
		}
	} else if m := timedOut.FindStringSubmatch(line); m != nil && w.test == "" {
		w.test = m[1]
	} else if donePackage.MatchString(line) {
		w.test = ""
	}
}

func (w *watcher) end() string { return strings.Join(w.last, "\n") }
