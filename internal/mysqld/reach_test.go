package mysqld

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestProgramFiles(t *testing.T) {
	t.Setenv("LD_LIBRARY_PATH", "/opt/lib:relative")
	dir := t.TempDir()
	for _, name := range []string{"prefix", "prefix/sbin", "apart"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, link := filepath.Join(dir, "prefix", "sbin", "mysqld"), filepath.Join(dir, "apart", "mysqld")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	want := []string{"/opt/lib", filepath.Join(dir, "apart"), filepath.Join(dir, "prefix"), "/sbin", "/sbin"}
	if got := ProgramFiles(link, "/sbin/no-such-mysqld"); !slices.Equal(got, want[:len(want)-1]) {
		t.Errorf("%q, not %q", got, want[:len(want)-1])
	}
}

func TestOptionFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(filepath.Join(dir, "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	second := file("more/second.cnf", "[mysqld]\nssl-key=/keys/tls\n")
	file("more/ignored.txt", "x=/never\n")
	other := file("other.cnf", "!include "+filepath.Join(dir, "first.cnf")+"\nloose-x = '/keys/quoted'\n")
	first := file("first.cnf", "[mysqld]\n# y=/commented\nfile_key_management_filename=/keys/file\nport=3306\n!include "+other+"\n!includedir "+filepath.Join(dir, "more")+"\nplain\n")
	want := []string{first, "/keys/file", other, "/keys/quoted", filepath.Join(dir, "more"), second, "/keys/tls"}
	if got := OptionFiles(first); !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
	if got := OptionFiles(""); got != nil {
		t.Errorf("of none: %q", got)
	}
	if got := OptionFiles("/no/such.cnf"); !slices.Equal(got, []string{"/no/such.cnf"}) {
		t.Errorf("of one that is not there: %q", got)
	}
}
