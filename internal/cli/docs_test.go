package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
)

// page returns the documentation of the command line.
func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/cli.md")
	check(t, err)
	return string(data)
}

// section returns what stands under a heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut(page(t), "\n## "+heading+"\n")
	if !ok {
		t.Errorf("docs/cli.md has no section %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

func TestDocumentedExitCodes(t *testing.T) {
	var want []string
	for _, r := range fault.Table {
		want = append(want, fmt.Sprintf("| %d | %s | %s |", r.Code, r.Name, r.Text))
	}
	var got []string
	for line := range strings.Lines(section(t, "Exit codes")) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| code") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/cli.md has\n%s\n\nand should have\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var documentedFlag = regexp.MustCompile("(?m)^\\| `--([a-z-]+)")

// Every command and every flag is documented, and nothing else.
func TestDocumentedCommands(t *testing.T) {
	root := (&app{Program: Program{Clock: clock.System{}}}).root()
	flags := func(usages string) (names []string) {
		for _, m := range flagName.FindAllStringSubmatch(usages, -1) {
			if m[1] != "help" {
				names = append(names, m[1])
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	documented := func(text string) (names []string) {
		for _, m := range documentedFlag.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return names
	}
	compare := func(where string, c string, got []string) {
		if want := flags(c); !slices.Equal(got, want) {
			t.Errorf("%s: documented are %v, there are %v", where, got, want)
		}
	}
	compare("global", usages(root), documented(section(t, "Global flags")))
	for _, c := range root.Commands() {
		compare(c.Name(), usages(c), documented(section(t, "tidemark "+c.Use)))
	}
}

// usages returns only the names of a command's own flags, one a line: texts mention others.
func usages(c *cobra.Command) string {
	var names []string
	for line := range strings.Lines(c.NonInheritedFlags().FlagUsages()) {
		if m := flagName.FindString(line); m != "" {
			names = append(names, m)
		}
	}
	return strings.Join(names, "\n")
}

// The JSON in the documentation has every name that a result can have, and no other.
func TestDocumentedJSON(t *testing.T) {
	for heading, r := range map[string]any{
		"tidemark list [CLUSTER]":                      listResult{},
		"tidemark verify [CLUSTER]":                    verifyResult{},
		"tidemark check [CLUSTER]":                     checkResult{},
		"tidemark cat [CLUSTER]":                       catResult{},
		"tidemark backup [CLUSTER]":                    backupResult{},
		"tidemark restore [CLUSTER] --target-dir DIR":  restoreResult{},
		"tidemark restore [CLUSTER] --target-dir DIR ": planResult{},
		"tidemark copy [CLUSTER] --to URL":             copyResult{},
		"tidemark expire [CLUSTER]":                    expireResult{},
		"tidemark keep [CLUSTER] BACKUP":               keepResult{},
		"tidemark keygen":                              keygenResult{},
		"tidemark config":                              configResult{},
		"tidemark version":                             versionResult{},
	} {
		text := section(t, strings.TrimSpace(heading))
		blocks := strings.Split(text, "```json\n")
		if len(blocks) < 2 {
			t.Errorf("%s: no JSON is documented", heading)
			continue
		}
		block := blocks[1]
		if strings.HasSuffix(heading, " ") { // the plan comes second
			block = blocks[len(blocks)-1]
		}
		block, _, _ = strings.Cut(block, "```")
		into := reflect.New(reflect.TypeOf(r))
		d := json.NewDecoder(strings.NewReader(block))
		d.DisallowUnknownFields()
		if err := d.Decode(into.Interface()); err != nil {
			t.Errorf("%s: %v", heading, err)
		}
		for _, name := range jsonNames(reflect.TypeOf(r)) {
			if !strings.Contains(block, "\""+name+"\":") {
				t.Errorf("%s: %q is not documented", heading, name)
			}
		}
	}
}

// jsonNames returns the names of all fields of a type, at any depth.
func jsonNames(t reflect.Type) (names []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return jsonNames(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() || t.PkgPath() == reflect.TypeFor[catalog.Segment]().PkgPath() {
			return nil
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" || !f.IsExported() && !f.Anonymous {
				continue
			}
			if !f.Anonymous {
				names = append(names, name)
			}
			names = append(names, jsonNames(f.Type)...)
		}
	}
	return names
}
