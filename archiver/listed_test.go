package archiver

import (
	"errors"
	"testing"

	"tidemark/internal/binlog"
	"tidemark/internal/gtid"
)

// TestListed: what a file of MySQL lists, and the log before it does not hold, was lost if a crash cut that off. Behind a
// file that its server has ended nothing can have been.
func TestListed(t *testing.T) {
	const a = "aaaaaaaa-0000-0000-0000-00000000000a:"
	for _, c := range []struct {
		name   string
		last   binlog.Type // of the file before
		listed string
		lost   bool
	}{
		{"the same", binlog.TypeXID, a + "1-10", false},
		{"less", binlog.TypeXID, a + "6-10", false},
		{"more behind a crash", binlog.TypeXID, a + "1-11", true},
		{"a tag behind a crash", binlog.TypeXID, a + "1-10:t:1", true},
		{"more behind a rotation", binlog.TypeRotate, a + "1-11", false},
		{"more behind a shutdown", binlog.TypeStop, a + "1-11", false},
	} {
		held, err := gtid.ParseSet(a + "1-10")
		if err != nil {
			t.Fatal(err)
		}
		listed, err := gtid.ParseSet(c.listed)
		if err != nil {
			t.Fatal(err)
		}
		arch := &Archiver{mstate: gtid.NewSetState(held), next: binlog.Point{File: "binlog.000001", Offset: 500}, ended: endsFile(c.last)}
		event := func(typ binlog.Type, offset uint64) *binlog.Event {
			return &binlog.Event{Header: binlog.Header{Type: typ}, File: "binlog.000002", Offset: offset, First: true, Last: true}
		}
		if err := arch.place(event(binlog.TypeFormatDescription, 4)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		err = arch.checkListed(event(binlog.TypePreviousGTIDs, 127), listed.Encode())
		if errors.Is(err, ErrDiverged) != c.lost || err != nil && !c.lost {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
