package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each case runs the real `go test -json` over a small module.
func TestReport(t *testing.T) {
	const list = "unit m/a TestGood # with a reason\n\nscenario m/a TestGood/sub\n"
	good := map[string]string{
		"go.mod":      "module m\n",
		"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) { t.Log(\"chatter\"); t.Run(\"sub\", func(t *testing.T) { print(\"more chatter\") }) }\n",
		"b/b.go":      "package b\n",
	}
	tests := []struct {
		name    string
		extra   map[string]string
		list    string
		lenient bool
		ok      bool
		want    []string
		not     []string
	}{
		{
			name: "all pass", list: list, ok: true,
			want: []string{"ok  \tm/a\t", "?   \tm/b\t[no test files]\n", "2 of the 2 tests"},
			not:  []string{"chatter", "=== RUN", "PASS"},
		},
		{
			name: "one is gone", list: list + "scenario m/a TestGone", ok: false,
			want: []string{"ok  \tm/a\t", "suite: m/a TestGone did not run\n", "2 of the 3"},
		},
		{
			name: "one skips", list: list + "unit m/c TestSkip", ok: false,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestSkip(t *testing.T) { t.Skip(\"no server\") }\n"},
			want:  []string{"ok  \tm/c\t", "skipped: m/c TestSkip\n", "suite: m/c TestSkip: skip\n"},
		},
		{
			name: "one skips where that may be", list: list + "unit m/c TestSkip", lenient: true, ok: true,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestSkip(t *testing.T) { t.Skip(\"no server\") }\n"},
			want:  []string{"skipped: m/c TestSkip\n", "2 of the 3"},
		},
		{
			name: "one that need not run skips", list: list, ok: true,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestSkip(t *testing.T) { t.Skip(\"no server\") }\n"},
			want:  []string{"skipped: m/c TestSkip\n"},
		},
		{
			name: "another fails", list: list, ok: false,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Log(\"a clue\"); t.Fail() }\n\nfunc TestFine(t *testing.T) { t.Log(\"noise\") }\n"},
			want:  []string{"--- FAIL: TestBad", "a clue", "FAIL\tm/c\t", "failed: m/c TestBad\n    c_test.go:5: a clue\nsuite: 2 of the 2"},
			not:   []string{"noise", "chatter", "TestFine"},
		},
		{
			name: "one panics", list: list, ok: false,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { panic(\"at the disco\") }\n"},
			want:  []string{"panic: at the disco", "c_test.go:5", "FAIL\tm/c\t"},
		},
		{
			name: "one does not compile", list: list, ok: false,
			extra: map[string]string{"c/c_test.go": "package c\n\nvar x int = true\n"},
			want:  []string{"c_test.go:3:13", "FAIL\tm/c [build failed]", "ok  \tm/a\t"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, files := range []map[string]string{good, tt.extra, {"list": tt.list}} {
				for name, content := range files {
					write(t, filepath.Join(dir, name), content)
				}
			}
			got, ok := reportOf(t, tt.list, testOf(t, dir), !tt.lenient)
			if ok != tt.ok {
				t.Errorf("good = %v, want %v", ok, tt.ok)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(got, not) {
					t.Errorf("%q should not be there", not)
				}
			}
			if t.Failed() {
				t.Logf("the report:\n%s", got)
			}
		})
	}
}

// A run that was cut off is no good, whatever it said before.
func TestReportOfARunCutOff(t *testing.T) {
	line, err := json.Marshal(event{Action: "output", Package: "m/a", Test: "TestX", Output: "last words\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := reportOf(t, "", line, true); ok || !strings.Contains(got, "m/a did not finish\nlast words\n") {
		t.Errorf("good = %v:\n%s", ok, got)
	}
}

func TestListIsStrict(t *testing.T) {
	for _, list := range []string{"# fine\nunit m/a TestX\nunit m/a\n", "\n\nnight m/a TestX", "unit m/a TestX\n\nmatrix m/a TestX"} {
		if _, err := parseList(list); err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%q: got %v, want an error about line 3", list, err)
		}
	}
}

// The list says from which tier on a test must run.
func TestListByTier(t *testing.T) {
	list, err := parseList("unit m TestU\nscenario m TestS\nmatrix m TestM\n")
	if err != nil {
		t.Fatal(err)
	}
	for want, tier := range []tier{unit, scenario, matrix} {
		if got := list.upTo(options{tier: tier, packages: "./..."}); len(got) != want+1 {
			t.Errorf("%s: %v", tier, got)
		}
	}
	if got := list.upTo(options{tier: matrix, packages: "./...", run: "TestU"}); len(got) != 0 {
		t.Errorf("of some tests all must run: %v", got)
	}
}

// A budget is exceeded by a quarter on the machine for which it was made, and by more on a slower one.
func TestBudget(t *testing.T) {
	b, err := parseBudget("total scenario 100 # seconds\nslow m TestA it waits\n")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		took   time.Duration
		slower float64
		ok     bool
	}{{124 * time.Second, 1, true}, {126 * time.Second, 1, false}, {126 * time.Second, 0.5, false}, {240 * time.Second, 2, true}, {260 * time.Second, 2, false}}
	for _, tt := range tests {
		if err := b.check(scenario, tt.took, tt.slower); (err == nil) != tt.ok {
			t.Errorf("%s on a machine %.1fx as slow: %v", tt.took, tt.slower, err)
		}
	}
	if b.check(matrix, time.Second, 1) == nil {
		t.Error("a tier without a budget has one")
	}
	if b.reason(testID{"m", "TestA/mysql-9.7"}) != "it waits" || b.reason(testID{"m", "TestB"}) != "" {
		t.Error("reasons are not those of the budget")
	}
	for _, text := range []string{"total night 3", "total unit x", "slow m TestA", "fast m TestA why"} {
		if _, err := parseBudget(text); err == nil {
			t.Errorf("%q is taken for a budget", text)
		}
	}
}

// The time of a test is without that in which it waited for its turn.
func TestOwnTime(t *testing.T) {
	var lines bytes.Buffer
	for _, e := range []event{
		{Action: "output", Package: "m", Test: "TestA/x", Output: "    slots.go:60: waited for its turn: 30.0 s\n"},
		{Action: "pass", Package: "m", Test: "TestA/x", Elapsed: 55},
		{Action: "pass", Package: "m", Test: "TestA", Elapsed: 56},
		{Action: "pass", Package: "m", Test: "TestB/case", Elapsed: 3},
		{Action: "pass", Package: "m", Test: "TestB", Elapsed: 4},
		{Action: "pass", Package: "m", Elapsed: 60},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	var out bytes.Buffer
	r := newReport(bufio.NewWriter(&out))
	if err := r.read(&lines); err != nil {
		t.Fatal(err)
	}
	r.times(budget{})
	for _, want := range []string{"   60.0  m\n", "   25.0  m TestA/x\n    4.0  m TestB\n", "not explained in .ci/budget: m TestA/x\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// reportOf returns the report of what go test -json printed, and whether it is good.
func reportOf(t *testing.T, list string, printed []byte, strict bool) (string, bool) {
	t.Helper()
	must, err := parseList(list)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := newReport(bufio.NewWriter(&out))
	if err := r.read(bytes.NewReader(printed)); err != nil {
		t.Fatal(err)
	}
	good := r.close(must.upTo(options{tier: matrix, packages: "./..."}), strict)
	return out.String(), good
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// testOf returns what go test -json prints in dir, whether tests fail or not.
func testOf(t *testing.T, dir string) []byte {
	t.Helper()
	cmd := exec.Command("go", "test", "-json", "-count=1", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("go test: %v\n%s", err, stderr.String())
	}
	return out
}
