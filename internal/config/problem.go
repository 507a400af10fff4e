package config

import (
	"errors"
	"fmt"
	"strings"

	"tidemark/internal/fault"
)

// Origin is where a value was given. The zero Origin is the default.
type Origin struct {
	Name         string // the file, the environment variable, or the flag
	Line, Column int    // in a file
}

// String returns "default", "file:line:column", or the name.
func (o Origin) String() string {
	switch {
	case o.Name == "":
		return "default"
	case o.Line > 0:
		return fmt.Sprintf("%s:%d:%d", o.Name, o.Line, o.Column)
	}
	return o.Name
}

// problem is one thing that is wrong with the configuration.
type problem struct {
	at   Origin
	text string
}

// problems collects what is wrong, so that all of it is told at once.
type problems []problem

func (p *problems) add(at Origin, format string, args ...any) {
	*p = append(*p, problem{at, fmt.Sprintf(format, args...)})
}

// err returns all problems as one error of kind Config, or nil.
func (p problems) err() error {
	switch len(p) {
	case 0:
		return nil
	case 1:
		return invalid(fault.New(fault.Config, "", p[0].at.String(), errors.New(p[0].text)))
	}
	lines := []string{fmt.Sprintf("%d problems", len(p))}
	for _, one := range p {
		lines = append(lines, "  "+one.at.String()+": "+one.text)
	}
	return invalid(fault.New(fault.Config, "", "configuration", errors.New(strings.Join(lines, "\n"))))
}

func invalid(e *fault.Error) error {
	return e.WithHint("See docs/configuration.md for every option, and `tidemark config` for the values in effect.")
}

// suggestion returns `; did you mean "x"?` for the known word nearest to a misspelt one, or "".
func suggestion(word string, known []string) string {
	if best := Nearest(word, known); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ""
}

// Nearest returns the known word that a misspelt one may have been meant to be, or "".
func Nearest(word string, known []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be inserted, removed, replaced or swapped with their neighbour
// to make b of a.
func distance(a, b string) int {
	row := func(i int) []int { r := make([]int, len(b)+1); r[0] = i; return r }
	var before []int
	last := row(0)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now := row(i)
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last = last, now
	}
	return last[len(b)]
}
