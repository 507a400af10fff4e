package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The documentation's table of options is what the structs say.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, d := range Docs() {
		preset := "`" + d.Default + "`"
		if d.Default == "" {
			preset = "none"
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | `%s` | %s |", d.Key, preset, d.Env, d.Text))
	}
	_, table, _ := strings.Cut(string(page), "| key | default | environment | meaning |\n|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if got := strings.TrimSpace(table); got != strings.Join(want, "\n") {
		t.Errorf("docs/configuration.md has\n%s\n\nand should have\n%s", got, strings.Join(want, "\n"))
	}
}

// The example in the documentation is a configuration.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	c := load(t, example)
	for _, o := range c.Settings() {
		if o.Origin == "default" && !strings.HasSuffix(o.Key, ".password") && !strings.HasSuffix(o.Key, ".defaults_file") {
			t.Errorf("the example does not show %s", o.Key)
		}
	}
}
