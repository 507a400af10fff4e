package mbstream

import (
	"slices"
	"testing"
)

// TestWithoutDefinition has streams as mariadb-backup writes them while tables come and go.
func TestWithoutDefinition(t *testing.T) {
	frm, ibd, fresh := end("d/t.frm"), end("d/t.ibd"), end("d/t.new")
	dropped, part := remove("d/t.frm"), end("d/t#P#p0.ibd")
	renamed := func(to string) []byte { return stream(end("d/o.ibd"), payload("d/o.ren", 0, to), end("d/o.ren")) }
	for _, c := range []struct {
		name string
		data []byte
		lost bool
	}{
		{"copied", stream(ibd, frm), false},
		{"dropped", stream(frm, dropped), false},
		{"dropped, then created in InnoDB", stream(frm, fresh, dropped), true},
		{"dropped, then InnoDB found it", stream(ibd, frm, dropped), true},
		{"dropped, then created and copied again", stream(frm, fresh, dropped, frm), false},
		{"InnoDB dropped, then another dropped", stream(ibd, frm, end("d/t.del"), dropped), false},
		{"InnoDB dropped, another dropped, created", stream(ibd, frm, end("d/t.del"), fresh, dropped), true},
		{"dropped, then InnoDB renamed to it", stream(renamed("d/t"), frm, dropped), true},
		{"dropped, then InnoDB renamed to it, as a path", stream(renamed("./d/t.ibd\n"), frm, dropped), true},
		{"renamed away, another dropped", stream(ibd, payload("d/t.ren", 0, "d/u"), end("d/t.ren"), frm, dropped), false},
		{"partitioned", stream(part, frm, dropped), true},
		{"a partition dropped", stream(part, end("d/t#P#p1.ibd"), end("d/t#P#p1.del"), frm, dropped), true},
		{"definition renamed away", stream(ibd, frm, rename("d/t.frm", "d/u.frm")), true},
		{"definition renamed to it", stream(ibd, frm, dropped, end("d/u.frm"), rename("d/u.frm", "d/t.frm")), false},
		{"orphan of the server", ibd, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 1 << 20} {
				i := NewInspector()
				if err := inspect(i, c.data, n); err != nil {
					t.Fatal(err)
				}
				if got := slices.Contains(i.WithoutDefinition(), "d/t"); got != c.lost {
					t.Errorf("in pieces of %d: %v", n, i.WithoutDefinition())
				}
			}
		})
	}
}
