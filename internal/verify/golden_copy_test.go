package verify

import (
	"context"
	"os"
	"reflect"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/storage/file"
)

// TestGoldenCopy reads a copy of the golden archive that is kept for ever too: it is encrypted, begins
// with the base backup, and holds what the golden archive holds from there on. It was made by
//
//	tidemark copy default --to URL --recipient KEY --from-base 20260102T030405Z-0a1b
func TestGoldenCopy(t *testing.T) {
	ctx := context.Background()
	open := func(dir string) *catalog.Catalog {
		t.Helper()
		store, err := file.Open(dir)
		must(t, err)
		cat, err := catalog.Open(ctx, store, "default", "test")
		must(t, err)
		return cat
	}
	cat, whole := open("testdata/golden-v1-copy"), open("testdata/golden-v1")
	if _, err := Run(ctx, cat, Options{Data: true, Clock: clock.System{}}); !fault.Is(err, fault.WrongKey) {
		t.Errorf("without the identity: %v", err)
	}
	text, err := os.ReadFile("testdata/golden-v1-copy.identity")
	must(t, err)
	ids, err := keys.ParseIdentities("golden-v1-copy.identity", text)
	must(t, err)
	cat.Unlock(ids)
	for _, o := range []Options{{Data: true, Clock: clock.System{}}, {Stored: true, Clock: clock.System{}}} {
		r, err := Run(ctx, cat, o)
		must(t, err)
		if len(r.Findings) > 0 || r.Segments != 4 || r.Bases != 1 || r.ReadBytes == 0 {
			t.Errorf("%+v", r)
		}
	}
	lines, err := cat.Timelines(ctx)
	must(t, err)
	if len(lines) != 2 || lines[0].Skipped != 1 || lines[1].Skipped != 0 {
		t.Errorf("timelines %+v", lines)
	}
	segments := func(c *catalog.Catalog) (all []catalog.Segment) {
		for s, err := range c.Segments(ctx, 1, 2) {
			must(t, err)
			apart := *s
			apart.Stored, apart.Manifest = catalog.Stored{}, catalog.Digest{}
			all = append(all, apart)
		}
		return all
	}
	if got, want := segments(cat), segments(whole); !reflect.DeepEqual(got, want) {
		t.Errorf("the copy has\n%+v\nand the archive\n%+v", got, want)
	}
}
