package main

import (
	"fmt"
	"strings"
)

// tier is what tests need, and with it when they run. A tier holds the ones before it.
type tier int

const (
	unit     tier = iota // no server
	scenario             // one MariaDB, one MySQL, storage in files
	matrix               // all versions, all storages
)

var tierNames = []string{"unit", "scenario", "matrix"}

func (t tier) String() string { return tierNames[t] }

func parseTier(name string) (tier, error) {
	for i, n := range tierNames {
		if n == name {
			return tier(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no tier", name)
}

// mustRun are the tests that must have passed, by the lowest tier in which they run.
type mustRun map[testID]tier

// parseList reads lines of "tier package test"; '#' begins a comment.
func parseList(text string) (mustRun, error) {
	list := mustRun{}
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want a tier, a package and a test, have %q", n+1, line)
		}
		t, err := parseTier(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		id := testID{fields[1], fields[2]}
		if _, twice := list[id]; twice {
			return nil, fmt.Errorf("line %d: %s is listed twice", n+1, id)
		}
		list[id] = t
	}
	return list, nil
}

// upTo are those that must run in the tier; none where only some tests were asked for.
func (m mustRun) upTo(o options) (ids []testID) {
	if o.some() {
		return nil
	}
	for id, t := range m {
		if t <= o.tier {
			ids = append(ids, id)
		}
	}
	return ids
}
