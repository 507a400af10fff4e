package main

import (
	_ "embed"
	"fmt"
	"path"
	"strings"
)

//go:embed mutations.txt
var list string

// mutation is one change of the program.
type mutation struct {
	name     string
	breaks   string   // what it does to a user
	file     string   // relative to the root of the tree
	tests    []string // packages that are tried first
	old, new string   // whole lines
}

// parse reads a list of mutations. They have empty lines between them, and lines that begin with '#' are comments.
// Each is a few lines "word: text", then the change as in a diff: lines that go begin with '-', lines that
// come with '+', and those that stay with a space.
func parse(text string) ([]mutation, error) {
	var all []mutation
	seen := map[string]bool{}
	for block := range strings.SplitSeq(text, "\n\n") {
		m, err := parseOne(block)
		switch {
		case err != nil:
			return nil, err
		case m.name == "":
			continue // comments
		case m.breaks == "", m.file == "", len(m.tests) == 0, m.old == "", m.old == m.new:
			return nil, fmt.Errorf("mutation %s: it lacks what it breaks, a file, tests, or a change", m.name)
		case seen[m.name]:
			return nil, fmt.Errorf("mutation %s is there twice", m.name)
		case strings.HasSuffix(m.file, "_test.go") || path.Ext(m.file) != ".go":
			return nil, fmt.Errorf("mutation %s: %s is not the program's code", m.name, m.file)
		}
		seen[m.name] = true
		all = append(all, m)
	}
	return all, nil
}

func parseOne(block string) (m mutation, err error) {
	var old, fresh strings.Builder
	for line := range strings.SplitSeq(strings.Trim(block, "\n"), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		mark, rest := line[0], line[1:]+"\n"
		switch mark {
		case '-':
			old.WriteString(rest)
			continue
		case '+':
			fresh.WriteString(rest)
			continue
		case ' ':
			old.WriteString(rest)
			fresh.WriteString(rest)
			continue
		}
		word, value, _ := strings.Cut(line, ": ")
		switch word {
		case "mutation":
			m.name = value
		case "breaks":
			m.breaks = value
		case "file":
			m.file = value
		case "tests":
			m.tests = strings.Fields(value)
		default:
			return m, fmt.Errorf("mutation %s: line %q is none that is known", m.name, line)
		}
	}
	m.old, m.new = old.String(), fresh.String()
	return m, nil
}

// apply returns the text of the mutation's file with the change made. The old lines must be there once.
func (m mutation) apply(text string) (string, error) {
	text = "\n" + text
	if n := strings.Count(text, "\n"+m.old); n != 1 {
		return "", fmt.Errorf("what it changes is %d times in %s, and must be there once", n, m.file)
	}
	return strings.Replace(text, "\n"+m.old, "\n"+m.new, 1)[1:], nil
}

// pkg is the package that is changed.
func (m mutation) pkg() string { return "./" + path.Dir(m.file) }
