package restore

import (
	"bytes"
	"context"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// TestReadPart: that a part of a base backup is what was stored is not enough, its plain bytes must be those that
// the manifest describes.
func TestReadPart(t *testing.T) {
	f := newFixture(t)
	f.tx(0, 1)
	f.flush()
	part := f.base("b1", "binlog.000001", f.end["0-1-1"], "0-1-1", 1).Parts[0]
	var plain bytes.Buffer
	if err := readPart(context.Background(), f.Catalog, part, &plain); err != nil || plain.String() != "a bas" {
		t.Fatalf("%q, %v", plain.String(), err)
	}
	longer, other := part, part
	longer.PlainBytes++
	other.PlainSHA256[0] ^= 1
	for what, p := range map[string]catalog.Part{"a part of another length": longer, "another part": other} {
		if err := readPart(context.Background(), f.Catalog, p, new(bytes.Buffer)); !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
