package durabletest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// update is not called "update": that of other golden files is not meant.
var update = flag.Bool("update-order", false, "write the orders of operations anew, to be reviewed")

// unique are the names that differ from run to run, and what stands for them.
var unique = []struct {
	name *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\.tmp~\w+`), "TEMP"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
}

// Golden fails the test unless the steps of a log (see Steps) are those of testdata/<name>.golden, on which
// durability rests: a change of them must be reviewed. The file begins with about, which says what they are of.
// Writes to a file one behind the other count as one. With -update-order it is written anew.
func Golden(t testing.TB, name, about string, log []string) {
	t.Helper()
	lines := Steps(log)
	for i, line := range lines {
		for _, u := range unique {
			line = u.name.ReplaceAllString(line, u.as)
		}
		lines[i] = line
	}
	got := append([]string{"# " + about}, slices.Compact(lines)...)
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: write it by -update-order", err)
	}
	want := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if !slices.Equal(got, want) {
		t.Errorf("the order of operations is not that of %s (-). If what is new (+) is as durable, write it by -update-order:\n%s",
			path, strings.Join(diff(want, got), "\n"))
	}
}

// diff shows how one list becomes another.
func diff(want, got []string) []string {
	// common[i][j] is how long the longest list is that want[i:] and got[j:] have in common.
	common := make([][]int, len(want)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if want[i] == got[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			out = append(out, "  "+want[i])
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+want[i])
			i++
		default:
			out = append(out, "+ "+got[j])
			j++
		}
	}
	return out
}
