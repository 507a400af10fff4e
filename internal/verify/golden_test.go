package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/storage/file"
)

var update = flag.Bool("update", false, "make the golden archive anew; only for a new format version")

// golden is all that the golden archive holds, as it was read when it was made.
type golden struct {
	Cluster   catalog.Cluster
	Timelines []*catalog.Timeline
	Segments  []*catalog.Segment
	Indexed   []*catalog.Segment
	Heads     []*catalog.Head
	Bases     []*catalog.Base
}

// TestGolden reads an archive of format version 1 that is kept for ever: every field of every object is
// what it was when it was written, and every byte verifies.
func TestGolden(t *testing.T) {
	dir, err := filepath.Abs("testdata/golden-v1")
	must(t, err)
	if *update {
		makeGolden(t, dir)
	}
	store, err := file.Open(dir)
	must(t, err)
	cat, err := catalog.Open(context.Background(), store, "default", "test")
	must(t, err)
	got, err := json.MarshalIndent(readGolden(t, cat), "", " ")
	must(t, err)
	got = append(got, '\n')
	if *update {
		must(t, os.WriteFile(dir+".json", got, 0o600))
	}
	want, err := os.ReadFile(dir + ".json")
	must(t, err)
	if !bytes.Equal(got, want) {
		a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("line %d of what is read is %q, and was %q", i+1, a[i], b[i])
			}
		}
		t.Fatalf("%d lines are read, and were %d", len(a), len(b))
	}
	r, err := Run(context.Background(), cat, Options{Data: true, Clock: clock.System{}})
	must(t, err)
	if len(r.Findings) > 0 {
		t.Errorf("findings: %v", r.Findings)
	}
}

func readGolden(t *testing.T, cat *catalog.Catalog) (g golden) {
	ctx := context.Background()
	var err error
	g.Cluster = cat.Cluster
	g.Timelines, err = cat.Timelines(ctx)
	must(t, err)
	for s, err := range cat.Segments(ctx, 1, 0) {
		must(t, err)
		g.Segments = append(g.Segments, s)
	}
	last := g.Segments[len(g.Segments)-1].Last
	g.Indexed, err = cat.IndexAt(ctx, 1, 1, last)
	must(t, err)
	for sequence := range uint64(2) {
		h, err := cat.HeadAt(ctx, 1, sequence+1)
		must(t, err)
		g.Heads = append(g.Heads, h)
	}
	g.Bases, err = cat.Bases(ctx)
	must(t, err)
	return g
}

// makeGolden writes the golden archive.
func makeGolden(t *testing.T, dir string) {
	must(t, os.RemoveAll(dir))
	a, _ := sample(t)
	last := a.Segments[len(a.Segments)-1]
	must(t, a.Catalog.PutIndex(context.Background(), 1, 1, last.Last))
	b := *bases(t, a.Catalog)[0]
	b.ID, b.ToolVersion, b.ServerVersion, b.ServerID, b.ServerUUID = "20260102T030405Z-0a1b", "10.11.19", "10.11.19-MariaDB", 1, "uuid"
	b.FromLSN, b.ToLSN, b.Variables = 0, 123456, map[string]string{"innodb_page_size": "16384", "lower_case_table_names": "0"}
	b.Started, b.Finished, b.Writer, b.CreatedBy = begun, begun.Add(time.Minute), "writer", "test"
	b.EmptyTables, b.KeepUntil = []string{"shop.log"}, begun.AddDate(1, 0, 0)
	must(t, os.MkdirAll(path(a, "base/"+b.ID), 0o700))
	for i := range b.Parts {
		old := b.Parts[i].Stored.Key
		b.Parts[i].Stored.Key = catalog.PartKey(b.ID, b.Parts[i].Number, "mbstream")
		write(t, a, b.Parts[i].Stored.Key, content(t, a, old))
	}
	must(t, os.RemoveAll(path(a, "base/b1")))
	must(t, a.Catalog.PutBase(context.Background(), &b))
	must(t, a.Catalog.PutTimeline(context.Background(), &catalog.Timeline{Number: 2, Parent: 1, ParentSegment: last.Last,
		ParentBodyOffset: last.BodyBytes, Position: last.After, Seed: last.ChainAfter, Reason: "gap", Created: begun.AddDate(0, 1, 0),
		Gaps:      []catalog.Gap{{From: last.After, To: catalog.Position{GTID: "0-1-99"}, Noticed: begun.AddDate(0, 1, 0)}},
		Abandoned: []string{"0-1-16"}}))
	must(t, os.CopyFS(dir, os.DirFS(filepath.Dir(path(a, "")))))
}

func bases(t *testing.T, cat *catalog.Catalog) []*catalog.Base {
	list, err := cat.Bases(context.Background())
	must(t, err)
	return list
}
