//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Before ends the program if the environment says so of the moment before a step.
func Before(s Step) { hit("before", s) }

// After ends the program if the environment says so of the moment after a step.
func After(s Step) { hit("after", s) }

// chosen is what the environment says.
var chosen = sync.OnceValue(func() *point {
	text := os.Getenv("TIDEMARK_FAILPOINT")
	if text == "" {
		return new(point)
	}
	p, err := parse(text)
	if err != nil {
		panic(fmt.Sprintf("TIDEMARK_FAILPOINT=%q: %v", text, err))
	}
	return p
})

// point is a moment at which the program ends.
type point struct {
	when string
	step Step
	nth  int64
	hits atomic.Int64
}

func parse(text string) (*point, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return nil, errors.New("it is not of the form before:STEP:N")
	}
	n, err := strconv.ParseInt(parts[2], 10, 64)
	p := &point{when: parts[0], step: Step(parts[1]), nth: n}
	switch {
	case p.when != "before" && p.when != "after":
		return nil, fmt.Errorf("%q is neither before nor after", p.when)
	case !slices.Contains(Steps(), p.step):
		return nil, fmt.Errorf("there is no step %q", p.step)
	case err != nil || n < 1:
		return nil, fmt.Errorf("%q is no count from 1 on", parts[2])
	}
	return p, nil
}

func hit(when string, s Step) {
	p := chosen()
	if p.when != when || p.step != s || p.hits.Add(1) != p.nth {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint: killed %s %s, at time %d\n", when, s, p.nth)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // not one step further
}
