package basebackup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tidemark/internal/xbstream"
)

// TestOthersSame: files that are touched, or opened and closed, between the locks are those that were copied; files that
// have other bytes are not. What is not followed does not matter.
func TestOthersSame(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	index := make([]byte, 100)
	index[0], index[myisamOpen] = 0xfe, 1
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string][]byte{"d/open.MYI": index, "d/written.MYI": index, "d/touched.MYD": []byte("rows"), "d/longer.MYD": []byte("rows"),
		"d/empty.MYD": nil, "d/aria.MAD": []byte("rows"), "d/inno.ibd": []byte("rows"), "d/#sql-1.MYD": []byte("rows"), "ibdata1": nil} {
		write(name, data)
	}
	o := newOthers(dir, nil)
	o.line("[00] Acquired locks for BACKUP STAGE FLUSH")
	for path := range o.flushed {
		if data, err := os.ReadFile(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		} else if len(data) > 0 { // in two pieces, the second of which begins in the midst of what does not matter
			o.content(path, data[:min(len(data), 25)], 0)
			o.content(path, data[min(len(data), 25):], uint64(min(len(data), 25)))
		}
	}
	closed, changed := slices.Clone(index), slices.Clone(index)
	closed[myisamOpen], changed[myisamState] = 0, 7
	write("d/open.MYI", closed)
	write("d/written.MYI", changed)
	write("d/longer.MYD", []byte("rows, and more"))
	write("d/aria.MAD", []byte("rows, and more"))
	write("d/#sql-1.MYD", []byte("rows, and more"))
	later := time.Now().Add(time.Hour)
	for _, name := range []string{"d/touched.MYD", "d/empty.MYD"} {
		if err := os.Chtimes(filepath.Join(dir, name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	o.line("[00] Acquired locks for BACKUP STAGE BLOCK_DDL")
	o.settle()
	empty := xbstream.NewInspector(xbstream.Mbstream) // it has lost everything
	torn, err := o.check(empty)
	lost, uncopied := o.renames.absent(o.files, empty)
	if err != nil || len(torn) > 0 || len(lost) != 7 || slices.Contains(lost, "d/#sql-1.MYD") || len(uncopied) > 0 {
		t.Errorf("lost %v, uncopied %v, torn %v, %v", lost, uncopied, torn, err)
	}
	for name, want := range map[string]bool{"d/open.MYI": true, "d/written.MYI": false, "d/touched.MYD": true, "d/empty.MYD": true, "d/longer.MYD": false} {
		if got := o.same(name); got != want {
			t.Errorf("%s is the same: %v, expected %v", name, got, want)
		}
	}
}

// TestRedone reads the server's log of definitions.
func TestRedone(t *testing.T) {
	log := filepath.Join(t.TempDir(), "ddl.log")
	if names, err := redone(log); err != nil || names != nil {
		t.Errorf("without a log: %v, %v", names, err)
	}
	lines := "2026-11-29  2:05:45\trepair\tAria\t0\tx\tt0\t62f1ed3f-eb99-11f1-b844-02fc00000001\t\t0\t\t\t\n" +
		"2026-11-29  2:05:46\toptimize\tAria\t0\tx\tt1\t62f1ed3f-eb99-11f1-b844-02fc00000001\t\t0\t\t\t\n" +
		"2026-11-29  2:05:46\toptimize\tAria\t0\tx\tt1\t62f1ed3f-eb99-11f1-b844-02fc00000001\t\t0\t\t\t\n" +
		"2026-11-29  2:05:47\toptimize\tMyISAM\t0\tx\tt2\t62f1ed3f-eb99-11f1-b844-02fc00000001\t\t0\t\t\t\n" +
		"2026-11-29  2:05:47\tTRUNCATE\tAria\t0\tx\tt3\t62f1ed3f-eb99-11f1-b844-02fc00000001\t\t0\t\t\t\n" +
		"2026-11-29  2:05:47\tCHANGE_INDEX\tAria\t0\tx\tt4\t62f1ed3f-eb99-11f1-b844-02fc00000001\t\t0\t\t\t\n"
	if err := os.WriteFile(log, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := redone(log); err != nil || !slices.Equal(names, []string{"x/t0", "x/t1", "x/t4"}) {
		t.Errorf("%v, %v", names, err)
	}
}
