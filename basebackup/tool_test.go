package basebackup

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
)

// TestProgram runs tools that end in different ways. Only one that says in the end that the copy is complete, and exits with
// 0, has made one; what it wrote arrives in any case.
func TestProgram(t *testing.T) {
	const unsaid = "ended without saying that the copy is complete"
	for _, c := range []struct {
		what, script string
		want         string // in the error; "": there is none
	}{
		{"complete", "echo '[00] 2026-11-21 completed OK!' >&2", ""},
		{"complete, without the end of the line", "printf 'completed OK!' >&2", ""},
		{"silent", "", unsaid},
		{"said it too soon", "echo 'completed OK!' >&2; echo 'and then it could not write' >&2", unsaid},
		{"said nearly that", "echo 'completed OK' >&2", unsaid},
		{"failed", "echo 'no space' >&2; exit 3", "exit status 3"},
		{"failed, and says that it did not", "echo 'completed OK!' >&2; exit 1", "exit status 1"},
		{"killed", "kill -9 $$", "killed"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "tool")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho the copy\n"+c.script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		clk := clock.System{}
		p := &program{name: "tool", path: path, options: "user=u\n", stateDir: filepath.Join(dir, "state"), clock: clk, fs: durable.OS{},
			watch: newWatch(clk, 0, 0, func(*watch, string) {})}
		var copied bytes.Buffer
		err := p.run(t.Context(), &copied)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "") {
			t.Errorf("%s: %v", c.what, err)
		}
		if copied.String() != "the copy\n" {
			t.Errorf("%s: it wrote %q", c.what, &copied)
		}
		if left, err := filepath.Glob(filepath.Join(p.stateDir, "*.cnf")); err != nil || len(left) > 0 {
			t.Errorf("%s: its options are left: %v, %v", c.what, left, err)
		}
	}
}
