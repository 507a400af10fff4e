package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each case runs the real `go test -json` over a small module.
func TestReport(t *testing.T) {
	const list = "m/a TestGood # with a reason\n\nm/a TestGood/sub\n"
	good := map[string]string{
		"go.mod":      "module m\n",
		"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) { t.Log(\"chatter\"); t.Run(\"sub\", func(t *testing.T) { print(\"more chatter\") }) }\n",
		"b/b.go":      "package b\n",
	}
	tests := []struct {
		name  string
		extra map[string]string
		list  string
		ok    bool
		want  []string
		not   []string
	}{
		{
			name: "all pass", list: list, ok: true,
			want: []string{"ok  \tm/a\t", "?   \tm/b\t[no test files]\n", "2 of the 2 tests"},
			not:  []string{"chatter", "=== RUN", "PASS"},
		},
		{
			name: "one is gone", list: list + "m/a TestGone", ok: false,
			want: []string{"ok  \tm/a\t", "mustrun: m/a TestGone did not run\n", "2 of the 3"},
		},
		{
			name: "one skips", list: list + "m/c TestSkip", ok: false,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestSkip(t *testing.T) { t.Skip(\"no server\") }\n"},
			want:  []string{"ok  \tm/c\t", "skipped: m/c TestSkip\n", "mustrun: m/c TestSkip: skip\n"},
		},
		{
			name: "one that need not run skips", list: list, ok: true,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestSkip(t *testing.T) { t.Skip(\"no server\") }\n"},
			want:  []string{"skipped: m/c TestSkip\n"},
		},
		{
			name: "another fails", list: list, ok: false,
			extra: map[string]string{"c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Log(\"a clue\"); t.Fail() }\n\nfunc TestFine(t *testing.T) { t.Log(\"noise\") }\n"},
			want:  []string{"--- FAIL: TestBad", "a clue", "FAIL\tm/c\t", "failed: m/c TestBad\n    c_test.go:5: a clue\nmustrun: 2 of the 2"},
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
			var got bytes.Buffer
			ok, err := run(filepath.Join(dir, "list"), bytes.NewReader(goTest(t, dir)), &got)
			if err != nil {
				t.Fatal(err)
			}
			if ok != tt.ok {
				t.Errorf("good = %v, want %v", ok, tt.ok)
			}
			for _, want := range tt.want {
				if !strings.Contains(got.String(), want) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(got.String(), not) {
					t.Errorf("%q should not be there", not)
				}
			}
			if t.Failed() {
				t.Logf("the report:\n%s", got.String())
			}
		})
	}
}

// A run that was cut off is no good, whatever it said before.
func TestReportOfARunCutOff(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "list"), "")
	line, err := json.Marshal(event{Action: "output", Package: "m/a", Test: "TestX", Output: "last words\n"})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	ok, err := run(filepath.Join(dir, "list"), bytes.NewReader(line), &got)
	if ok || err != nil || !strings.Contains(got.String(), "m/a did not finish\nlast words\n") {
		t.Errorf("good = %v, %v:\n%s", ok, err, got.String())
	}
}

func TestListIsStrict(t *testing.T) {
	if _, err := parseList("# fine\nm/a TestX\nm/a\n"); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("got %v, want an error about line 3", err)
	}
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

// goTest returns what go test -json prints in dir, whether tests fail or not.
func goTest(t *testing.T, dir string) []byte {
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
