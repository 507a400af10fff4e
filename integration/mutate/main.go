// Command mutate breaks the program on purpose, in one place at a time, and looks whether the tests notice.
//
//	go run ./integration/mutate [-only NAME,NAME] [-list] [-check] [-servers=false]
//
// What is broken is in mutations.txt: a sync left out, an acknowledgement too early, a digest not compared, a
// refusal dropped, a boundary off by one. Each is a slip that somebody could make, and each takes something from
// who relies on the archive. A mutation is killed by the first test that fails; one that survives has shown a
// promise that no test keeps: write that test.
//
// The checkout is never changed: the go command is told to read another file in place of the one that is mutated
// (-overlay, by GOFLAGS), also where a test calls it to build the program. So what a mutation does not touch is
// neither compiled nor tried again. Who edits the checkout meanwhile changes what is tried. First the tests
// must pass without any mutation. They are tried in tiers, the cheap ones first; see tiers.go.
//
// It prints a line for each mutation and a summary, and exits with 1 if one survives, if one does not fit the
// code any more, or if the code does not compile with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "names of mutations, with commas between; all of them if empty")
	flag.BoolVar(&o.list, "list", false, "print the mutations, and what each would break")
	flag.BoolVar(&o.check, "check", false, "only look whether each fits the code and compiles")
	flag.BoolVar(&o.servers, "servers", true, "go on to the tests with servers for what survives the others")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

type options struct {
	only                 string
	list, check, servers bool
}

// run tries the mutations that are asked for, and reports whether all is well with them.
func run(ctx context.Context, o options) (bool, error) {
	all, err := parse(list)
	if err != nil {
		return false, err
	}
	if all, err = choose(all, o.only); err != nil {
		return false, err
	}
	if o.list {
		for _, m := range all {
			fmt.Printf("%-26s %s\n%26s %s\n", m.name, m.breaks, "", m.file)
		}
		return true, nil
	}
	dir, err := os.MkdirTemp("", "tidemark-mutate-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	t, err := newTrial(ctx, dir, tiers(o.servers))
	if err != nil {
		return false, err
	}
	if !o.check {
		began := time.Now()
		if err := t.baseline(ctx); err != nil {
			return false, err
		}
		fmt.Printf("%-26s %-9s %5.0f s\n", "without a mutation", "passed", time.Since(began).Seconds())
	}
	var bad []string
	for _, m := range all {
		began := time.Now()
		v := t.try(ctx, m, o.check)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		fmt.Printf("%-26s %-9s %5.0f s  %s\n", m.name, v.outcome, time.Since(began).Seconds(), v.why)
		if v.outcome == survived || v.outcome == broken {
			bad = append(bad, m.name)
		}
	}
	what := "killed"
	if o.check {
		what = "fit the code and compile"
	}
	fmt.Printf("%d of %d mutations %s\n", len(all)-len(bad), len(all), what)
	if len(bad) > 0 {
		fmt.Println("not so:", strings.Join(bad, ", "))
	}
	return len(bad) == 0, nil
}

// choose returns the mutations with the names given; all of them for "".
func choose(all []mutation, only string) ([]mutation, error) {
	if only == "" {
		return all, nil
	}
	var chosen []mutation
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(m mutation) bool { return m.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no mutation %q; -list shows them", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
