package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// slow is how long a test may take by itself without a line in the budget.
const slow = 20 * time.Second

// budget is how long tests may take.
type budget struct {
	total   map[tier]time.Duration
	reasons map[testID]string // of tests that take longer than slow
}

// parseBudget reads lines of "total TIER SECONDS" and "slow PACKAGE TEST REASON…"; '#' begins a comment.
func parseBudget(text string) (budget, error) {
	b := budget{total: map[tier]time.Duration{}, reasons: map[testID]string{}}
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case len(fields) == 3 && fields[0] == "total":
			t, err := parseTier(fields[1])
			if err != nil {
				return b, fmt.Errorf("line %d: %w", n+1, err)
			}
			seconds, err := strconv.Atoi(fields[2])
			if err != nil {
				return b, fmt.Errorf("line %d: %q is no number of seconds", n+1, fields[2])
			}
			b.total[t] = time.Duration(seconds) * time.Second
		case len(fields) > 3 && fields[0] == "slow":
			b.reasons[testID{fields[1], fields[2]}] = strings.Join(fields[3:], " ")
		default:
			return b, fmt.Errorf("line %d: want \"total TIER SECONDS\" or \"slow PACKAGE TEST REASON\", have %q", n+1, line)
		}
	}
	return b, nil
}

// reason is why a test is slow, by its name or that of the test it is a part of; "" if there is none.
func (b budget) reason(id testID) string {
	for {
		if why, ok := b.reasons[id]; ok {
			return why
		}
		cut := strings.LastIndex(id.test, "/")
		if cut < 0 {
			return ""
		}
		id.test = id.test[:cut]
	}
}

// check fails where the tests of a tier took more than a quarter longer than they may, on a machine that
// is so many times as slow as that of the budget.
func (b budget) check(t tier, took time.Duration, slower float64) error {
	total, ok := b.total[t]
	if !ok {
		return fmt.Errorf("there is no budget for the tier %s", t)
	}
	limit := time.Duration(float64(total) * 1.25 * max(1, slower))
	if took > limit {
		return fmt.Errorf("the tests took %d s, and may take %d s: %s, a quarter more, on a machine %.2fx as slow",
			int(took.Seconds()), int(limit.Seconds()), total, slower)
	}
	return nil
}
