package variables

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/gtid"
)

func TestOptions(t *testing.T) {
	recorded := map[string]string{"innodb_page_size": "16384", "time_zone": "+02:00", "sql_mode": "", "init_file": "/etc/passwd", "plugin_load": "evil",
		"innodb_strict_mode": "ON", "max_heap_table_size": "137438953472", "ft_stopword_file": "/srv/words", "collation_server": "", "ngram_token_size": "3"}
	for _, c := range []struct {
		flavor   gtid.Flavor
		kept     bool
		has, not []string
	}{
		{gtid.MariaDB, false, []string{"innodb-page-size=16384", "default-time-zone=+02:00", "sql-mode=", "innodb-strict-mode=OFF", "max-heap-table-size=137438953472"},
			[]string{"init-file", "plugin-load", "ft-stopword-file", "collation-server", "ngram-token-size", "sql-require-primary-key"}},
		{gtid.MySQL, false, []string{"ngram-token-size=3", "sql-require-primary-key=OFF"}, []string{"secure-timestamp"}},
		{gtid.MySQL, true, []string{"ngram-token-size=3", "max-heap-table-size=137438953472"}, []string{"sql-require-primary-key", "innodb-strict-mode"}},
	} {
		read := Options
		if c.kept {
			read = KeptOptions
		}
		options, err := read(c.flavor, recorded)
		if err != nil {
			t.Fatal(err)
		}
		var lines, names []string
		for _, o := range options {
			lines, names = append(lines, o.Name+"="+o.Value), append(names, o.Name)
		}
		for _, want := range c.has {
			if !slices.Contains(lines, want) {
				t.Errorf("%v, kept %t: no %s in %q", c.flavor, c.kept, want, lines)
			}
		}
		for _, name := range c.not {
			if slices.Contains(names, name) {
				t.Errorf("%v, kept %t: %s is passed", c.flavor, c.kept, name)
			}
		}
	}
	if _, err := Options(gtid.MariaDB, map[string]string{"old_mode": "a\n--init-file=x"}); err == nil {
		t.Error("a value of two lines was taken")
	}
}

func TestRaised(t *testing.T) {
	for recorded, want := range map[string]string{"": "100", "x": "100", "-1": "100", "99": "100", "101": "101", "18446744073709551616": "100"} {
		if got := raised(recorded, "100"); got != want {
			t.Errorf("%q is raised to %s, not %s", recorded, got, want)
		}
	}
}

func TestDifferences(t *testing.T) {
	recorded := map[string]string{"ft_stopword_file": "/srv/words", "innodb_encrypt_tables": "ON", "aria_encrypt_tables": "OFF", "innodb_page_size": "4096"}
	var names []string
	for _, d := range Differences(gtid.MariaDB, recorded) {
		names = append(names, d.Name+"="+d.Recorded)
	}
	if want := []string{"ft_stopword_file=/srv/words", "innodb_encrypt_tables=ON"}; !slices.Equal(names, want) {
		t.Errorf("%q, not %q", names, want)
	}
}

// TestTable: it is in order, and says what each entry needs.
func TestTable(t *testing.T) {
	for i, v := range table {
		if i > 0 && table[i-1].Name >= v.Name {
			t.Errorf("%s is out of order", v.Name)
		}
		if v.Why == "" || v.Use == Raised && v.Value == "" || v.Use == Recorded && v.Value != "" {
			t.Errorf("%+v", v)
		}
	}
}

// TestDocs: docs/servers.md has the table.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/servers.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| variable | of | use | why |\n|---|---|---|---|\n")
	for _, v := range table {
		of, use := "both", v.Use.String()
		if v.Flavor != both {
			of = map[gtid.Flavor]string{gtid.MariaDB: "MariaDB", gtid.MySQL: "MySQL"}[v.Flavor]
		}
		switch {
		case v.Use == Raised:
			use += " to " + v.Value
		case v.Use == Forced && v.Value == "":
			use += " empty"
		case v.Use == Forced:
			use += " " + v.Value
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", v.Name, of, use, v.Why)
	}
	if !strings.Contains(string(page), want.String()) {
		t.Errorf("docs/servers.md lacks this table:\n%s", want.String())
	}
}
