package replica

import (
	"testing"

	"tidemark/internal/gtid"
)

// TestBeyond: what a MariaDB server has in its binlog of another one, behind what it has applied.
func TestBeyond(t *testing.T) {
	for _, c := range []struct{ what, binlog, applied, want string }{
		{"never a replica", "0-1-500,0-2-7", "", ""},
		{"a promoted replica", "0-1-400,0-2-500", "0-1-400", ""},
		{"its own behind it", "0-2-900", "0-1-400", ""},
		{"restored, with the old binlog", "0-1-450,0-2-460,1-1-5,2-1-9", "0-1-400,1-1-5,2-1-3", "0-1-450,2-1-9"},
		{"a domain that it did not apply", "7-1-450", "0-1-400", ""},
	} {
		h := &History{binlog: map[writer]uint64{}}
		list, err := gtid.ParseList(c.binlog)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range list {
			h.binlog[writer{g.Domain, g.Server}] = g.Seq
		}
		if h.applied, err = gtid.ParsePosition(c.applied); err != nil {
			t.Fatal(err)
		}
		if got := gtid.FormatList(h.Beyond(1)); got != c.want {
			t.Errorf("%s: %q, expected %q", c.what, got, c.want)
		}
	}
}
