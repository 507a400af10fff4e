package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// testID names a test, or with an empty test the package itself.
type testID struct{ pkg, test string }

func (id testID) String() string { return id.pkg + " " + id.test }

// report follows a test run. out must be flushed by its owner.
type report struct {
	out     *bufio.Writer
	output  map[string][]event // of the packages still running, in order
	result  map[testID]string  // pass, fail or skip
	skipped []testID
	reasons []string // why tests failed, in brief
	failed  bool
}

func newReport(out *bufio.Writer) *report {
	return &report{out: out, output: map[string][]event{}, result: map[testID]string{}}
}

// read takes in a whole run. A line that is not JSON is passed on.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				r.add(e)
			} else {
				r.out.Write(line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[e.Package] = append(r.output[e.Package], e)
	case "build-output":
		r.out.WriteString(e.Output)
	case "build-fail":
		r.failed = true
	case "pass", "fail", "skip":
		r.result[id] = e.Action
		switch {
		case e.Test == "":
			r.closePackage(e.Package)
		case e.Action == "skip":
			r.skipped = append(r.skipped, id)
		}
	}
}

// closePackage prints what plain go test prints: of a package that passed its one line, of one that
// failed what its failed and unfinished tests said.
func (r *report) closePackage(pkg string) {
	failed := r.result[testID{pkg, ""}] == "fail"
	r.failed = r.failed || failed
	if failed {
		r.reasons = append(r.reasons, r.why(pkg)...)
	}
	for _, e := range r.output[pkg] {
		result := r.result[testID{pkg, e.Test}]
		switch {
		case isProgress(e.Output):
		case failed && e.Test != "" && (result == "pass" || result == "skip"):
		case failed, e.Test == "" && isClosing(e.Output):
			r.out.WriteString(e.Output)
		}
	}
	delete(r.output, pkg)
	r.out.Flush() // a run takes minutes, and someone may be watching
}

// atLine: the begin of a message, of a test's own file or, as the log of a server, of another one; or of the result.
var atLine = regexp.MustCompile(`^\s*(?:\w+?(_test)?\.go:\d+:|--- FAIL:) `)

// why returns, for each test of a package that did not pass, the last things it said.
func (r *report) why(pkg string) (reasons []string) {
	said := map[string][]string{}
	var order []string
	left := map[string]int{} // lines of a message that are still to come
	for _, e := range r.output[pkg] {
		result := r.result[testID{pkg, e.Test}]
		if e.Test == "" || result == "pass" || result == "skip" || isProgress(e.Output) {
			continue
		}
		if said[e.Test] == nil {
			order, said[e.Test] = append(order, e.Test), []string{}
		}
		if m := atLine.FindStringSubmatch(e.Output); m != nil {
			left[e.Test] = 0
			if m[1] != "" {
				left[e.Test] = 4
			}
		}
		if strings.HasPrefix(e.Output, "panic: ") {
			left[e.Test] = 12
		}
		if left[e.Test] > 0 {
			line := strings.TrimRight(e.Output, "\n")
			said[e.Test] = append(said[e.Test], line[:min(len(line), 500)])
			left[e.Test]--
		}
	}
	for _, test := range order {
		lines := said[test]
		reasons = append(reasons, "failed: "+testID{pkg, test}.String())
		reasons = append(reasons, lines[max(0, len(lines)-12):]...)
	}
	return reasons
}

// isProgress: a line that is there only because -json implies -v.
func isProgress(line string) bool {
	line = strings.TrimSpace(line)
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(line+" ", prefix) {
			return true
		}
	}
	return false
}

// isClosing: the line that go test prints of each package.
func isClosing(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "?   \t") || strings.HasPrefix(line, "\t") && strings.Contains(line, "coverage:")
}

// close ends the report with the skipped tests, why others failed and those of the list that did not pass, and returns
// whether the run is good.
func (r *report) close(must []testID) bool {
	for pkg := range r.output { // go test itself was cut off
		r.result[testID{pkg, ""}] = "fail"
		fmt.Fprintf(r.out, "mustrun: %s did not finish\n", pkg)
		r.closePackage(pkg)
	}
	for _, id := range r.skipped {
		fmt.Fprintf(r.out, "skipped: %s\n", id)
	}
	for _, line := range r.reasons { // again: the logs of servers are long
		fmt.Fprintln(r.out, line)
	}
	passed := 0
	for _, id := range must {
		switch result := r.result[id]; result {
		case "pass":
			passed++
		case "":
			fmt.Fprintf(r.out, "mustrun: %s did not run\n", id)
		default:
			fmt.Fprintf(r.out, "mustrun: %s: %s\n", id, result)
		}
	}
	fmt.Fprintf(r.out, "mustrun: %d of the %d tests that must run have passed\n", passed, len(must))
	return passed == len(must) && !r.failed
}

// parseList reads lines of "package test".
func parseList(text string) (ids []testID, err error) {
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		switch fields := strings.Fields(line); len(fields) {
		case 0:
		case 2:
			ids = append(ids, testID{fields[0], fields[1]})
		default:
			return nil, fmt.Errorf("line %d: want a package and a test, have %q", n+1, line)
		}
	}
	return ids, nil
}
