package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"tidemark/integration/kit"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
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
	own     map[testID]time.Duration // how long tests took, without waiting for their turn
	waits   map[testID]string        // the line that says how long a test waited

	onFailure func() // called at each test that fails, if not nil

	began, told time.Time // when the report began, and last said something
	passed      int       // tests
}

// silence is how long a report may say nothing while tests go on.
const silence = 20 * time.Second

func newReport(out *bufio.Writer) *report {
	return &report{out: out, output: map[string][]event{}, result: map[testID]string{}, own: map[testID]time.Duration{}, waits: map[testID]string{}, began: time.Now(), told: time.Now()}
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
	defer r.progress()
	switch e.Action {
	case "output":
		r.output[e.Package] = append(r.output[e.Package], e)
		if kit.SaysWait(e.Output) {
			r.waits[id] = e.Output
		}
	case "build-output":
		r.out.WriteString(e.Output)
	case "build-fail":
		r.failed = true
	case "pass", "fail", "skip":
		r.result[id] = e.Action
		r.own[id] = kit.OwnTime(time.Duration(e.Elapsed*float64(time.Second)), r.waits[id])
		if e.Action == "pass" && e.Test != "" {
			r.passed++
		}
		if e.Action == "fail" && e.Test != "" {
			fmt.Fprintf(r.out, "suite: FAILED after %d s: %s\n", int(time.Since(r.began).Seconds()), id)
			r.out.Flush()
		}
		if e.Action == "fail" && r.onFailure != nil {
			r.onFailure()
		}
		switch {
		case e.Test == "":
			r.closePackage(e.Package)
		case e.Action == "skip":
			r.skipped = append(r.skipped, id)
		}
	}
}

// progress says now and then how far the tests are.
func (r *report) progress() {
	if time.Since(r.told) < silence {
		return
	}
	r.told = time.Now()
	fmt.Fprintf(r.out, "suite: %d s: %d tests have passed, %d packages are under way\n", int(time.Since(r.began).Seconds()), r.passed, len(r.output))
	r.out.Flush()
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
	r.told = time.Now()
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

// close ends the report with the skipped tests, why others failed and those that must run and did not pass, and
// returns whether the run is good. One that must run may skip unless strict.
func (r *report) close(must []testID, strict bool) bool {
	defer r.out.Flush()
	for pkg := range r.output { // go test itself was cut off
		r.result[testID{pkg, ""}] = "fail"
		fmt.Fprintf(r.out, "suite: %s did not finish\n", pkg)
		r.closePackage(pkg)
	}
	for _, id := range r.skipped {
		fmt.Fprintf(r.out, "skipped: %s\n", id)
	}
	for _, line := range r.reasons { // again: the logs of servers are long
		fmt.Fprintln(r.out, line)
	}
	slices.SortFunc(must, func(a, b testID) int { return strings.Compare(a.String(), b.String()) })
	passed, missed := 0, 0
	for _, id := range must {
		switch result := r.result[id]; {
		case result == "pass":
			passed++
		case result == "":
			missed++
			fmt.Fprintf(r.out, "suite: %s did not run\n", id)
		case result == "skip" && !strict:
		default:
			missed++
			fmt.Fprintf(r.out, "suite: %s: %s\n", id, result)
		}
	}
	fmt.Fprintf(r.out, "suite: %d of the %d tests that must run have passed\n", passed, len(must))
	return missed == 0 && !r.failed
}

// times prints how long packages and the slowest tests took, and which of these no budget explains.
func (r *report) times(b budget) {
	defer r.out.Flush()
	var packages, tests []testID
	for id := range r.own {
		switch {
		case id.test == "":
			packages = append(packages, id)
		case r.isWhole(id):
			tests = append(tests, id)
		}
	}
	longest := func(x, y testID) int { return cmp.Compare(r.own[y], r.own[x]) }
	slices.SortFunc(packages, longest)
	slices.SortFunc(tests, longest)
	fmt.Fprintln(r.out, "\npackages, in seconds from their first test to their last, beside others:")
	for _, id := range packages {
		if r.own[id] >= time.Second {
			fmt.Fprintf(r.out, "%7.1f  %s\n", r.own[id].Seconds(), id.pkg)
		}
	}
	fmt.Fprintln(r.out, "the slowest tests, in seconds without the wait for their turn:")
	for _, id := range tests[:min(20, len(tests))] {
		fmt.Fprintf(r.out, "%7.1f  %s\n", r.own[id].Seconds(), id)
	}
	for _, id := range tests {
		if r.own[id] > slow && b.reason(id) == "" {
			fmt.Fprintf(r.out, "over %s, and not explained in .ci/budget: %s\n", slow, id)
		}
	}
}

// isWhole tells whether a test is one by itself: one that waited for its turn, or that holds none of those.
func (r *report) isWhole(id testID) bool {
	if _, waited := r.waits[id]; waited {
		return true
	}
	if strings.Contains(id.test, "/") {
		return false
	}
	for other := range r.waits {
		if other.pkg == id.pkg && strings.HasPrefix(other.test, id.test+"/") {
			return false
		}
	}
	return true
}
