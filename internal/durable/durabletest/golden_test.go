package durabletest_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"tidemark/internal/durable/durabletest"
)

// TestGolden: another order, and a file that is not there, are told.
func TestGolden(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("testdata", 0o700), os.WriteFile("testdata/x.golden", []byte("# about\nsync A\nrename A B\nsyncdir D\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, log, want string }{
		{"x", "open A|sync A|rename A B|syncdir D", ""},
		{"x", "rename A B|sync A|syncdir D", "- sync A\n  rename A B\n+ sync A\n  syncdir D"},
		{"x", "sync A|rename A B", "- syncdir D"},
		{"y", "", "-update-order"},
	} {
		f := &failing{TB: t}
		func() {
			defer func() { _ = recover() }()
			durabletest.Golden(f, tt.name, "about", strings.Split(tt.log, "|"))
		}()
		if !strings.Contains(f.said, tt.want) || (f.said == "") != (tt.want == "") {
			t.Errorf("%s: said %q", tt.log, f.said)
		}
	}
}

// failing takes a failure down.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Errorf(format string, args ...any) { f.said += fmt.Sprintf(format, args...) }
func (f *failing) Fatalf(format string, args ...any) { f.Errorf(format, args...); panic(f.said) }
