package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestList holds the list to the code: what a mutation changes must be there, once.
func TestList(t *testing.T) {
	all, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 24 {
		t.Errorf("there are %d mutations", len(all))
	}
	root := filepath.Join("..", "..")
	for _, m := range all {
		text, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if _, err := m.apply(string(text)); err != nil {
			t.Errorf("%s: %v: change integration/mutate/mutations.txt with the code", m.name, err)
		}
		for _, dir := range m.tests {
			if tests, _ := filepath.Glob(filepath.Join(root, dir, "*_test.go")); len(tests) == 0 {
				t.Errorf("%s: %s has no tests", m.name, dir)
			}
		}
	}
}

func TestApply(t *testing.T) {
	all, err := parse("# a comment\n\nmutation: one\nbreaks: it all\nfile: a/b.go\ntests: ./a ./c\n \tif x {\n-\t\ty()\n+\t\tz()\n \t}\n")
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	m := all[0]
	if got := strings.Join(m.tests, "|"); m.name != "one" || m.breaks != "it all" || m.file != "a/b.go" || got != "./a|./c" || m.pkg() != "./a" {
		t.Errorf("read %+v", m)
	}
	const body = "\tif x {\n\t\ty()\n\t}\n"
	for text, want := range map[string]string{
		body:                     "\tif x {\n\t\tz()\n\t}\n",
		"a\n" + body + "b\n":     "a\n\tif x {\n\t\tz()\n\t}\nb\n",
		body + "else\n" + body:   "", // twice
		"\t" + body:              "", // a line of which it is the end only
		"\tif x {\n\t\tw()\n\t}": "", // gone
	} {
		got, err := m.apply(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("of %q it made %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestListIsStrict(t *testing.T) {
	const head, change = "mutation: one\nbreaks: it all\nfile: a/b.go\ntests: ./a\n", "-x\n+y\n"
	for what, text := range map[string]string{
		"twice":                  head + change + "\n" + head + change,
		"without a change":       head,
		"that changes nothing":   head + "-x\n+x\n",
		"that only adds":         head + "+y\n",
		"of a test":              strings.Replace(head, "b.go", "b_test.go", 1) + change,
		"without tests":          strings.Replace(head, "tests: ./a\n", "", 1) + change,
		"with an unknown word":   head + "why: because\n" + change,
		"without what it breaks": strings.Replace(head, "breaks: it all\n", "", 1) + change,
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("a mutation %s was taken", what)
		}
	}
}

func TestWatcher(t *testing.T) {
	const chatter = "ok  \ttidemark/a\t0.1s\n--- SKIP: TestOther (0.00s)\n?   \ttidemark/b\t[no test files]\n"
	for name, c := range map[string]struct {
		said, want string
		build      bool
	}{
		"passes":            {said: chatter},
		"a test":            {chatter + "--- FAIL: TestOne (0.00s)\n    x_test.go:1: no\n--- FAIL: TestTwo (0.00s)\nFAIL\nFAIL\ttidemark/c\t0.2s\nFAIL\n", "TestOne of tidemark/c", false},
		"a part of a test":  {"--- FAIL: TestOne (0.00s)\n    --- FAIL: TestOne/sub (0.00s)\nFAIL\nFAIL\ttidemark/c\t0.2s\n", "TestOne/sub of tidemark/c", false},
		"the first package": {"--- FAIL: TestOne (0.00s)\nFAIL\nFAIL\ttidemark/c\t0.2s\n--- FAIL: TestTwo (0.00s)\nFAIL\ttidemark/d\t0.2s\n", "TestOne of tidemark/c", false},
		"no end":            {"panic: test timed out after 1s\n\trunning tests:\n\t\tTestLong (1s)\n\ngoroutine 1\nFAIL\ttidemark/c\t1.0s\n", "TestLong of tidemark/c", false},
		"does not compile":  {"# tidemark/c\nc/c.go:1:2: undefined: x\nFAIL\ttidemark/c [build failed]\n", "a test of tidemark/c", true},
	} {
		found := 0
		w := &watcher{found: func() { found++ }}
		for i := 0; i < len(c.said); i += 7 { // lines come in pieces
			_, _ = w.Write([]byte(c.said[i:min(i+7, len(c.said))]))
		}
		switch {
		case c.want == "":
			if w.first != nil || found != 0 {
				t.Errorf("%s: found %v", name, w.first)
			}
		case w.first == nil || w.first.String() != c.want || w.first.build != c.build || found != 1:
			t.Errorf("%s: found %+v %d times, want %s", name, w.first, found, c.want)
		}
	}
}
