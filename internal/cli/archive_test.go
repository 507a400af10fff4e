package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
)

func TestList(t *testing.T) {
	_, archive, _ := sample(t)
	var r listResult
	tidemark("list", "--segments", "--json", "--archive", archive).must(t, 0).parse(t, &r)
	if len(r.Clusters) != 1 {
		t.Fatalf("%+v", r)
	}
	c := r.Clusters[0]
	end := begun.Add(8*time.Minute + time.Hour)
	if len(c.Windows) != 1 || !c.Windows[0].From.Equal(begun.Add(30*time.Second)) || !c.Windows[0].To.Equal(end) || c.Windows[0].Base != "20261120T030030Z-0001" {
		t.Errorf("windows: %+v", c.Windows)
	}
	if len(c.Bases) != 1 || c.Bases[0].Position != "0-1-2" || c.Bases[0].Parts != 1 || c.Bases[0].Bytes != 4 {
		t.Errorf("bases: %+v", c.Bases)
	}
	l := c.Timelines[0]
	if len(c.Timelines) != 1 || l.Segments != 4 || l.Transactions != 8 || l.Position != "0-1-8" || !l.CoveredUntil.Equal(end) ||
		!l.FirstCommit.Equal(begun.Add(time.Minute)) || !l.LastCommit.Equal(begun.Add(8*time.Minute)) {
		t.Errorf("timeline: %+v", l)
	}
	if len(c.Segments) != 4 || c.Segments[1].First != 2 || c.Segments[1].File != "binlog.000001" || c.Segments[1].Transactions != 2 {
		t.Errorf("segments: %+v", c.Segments)
	}
	if len(c.Holes)+len(c.Problems) > 0 {
		t.Errorf("holes %+v, problems %v", c.Holes, c.Problems)
	}
	o := tidemark("list", "--segments", "--archive", archive).must(t, 0)
	for _, want := range []string{"archive " + archive, "cluster default (mariadb", "2026-11-20 03:00:30 UTC  2026-11-20 04:08:00 UTC", "1h 07m", "binlog.000002"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	if strings.Contains(tidemark("list", "--archive", archive).stdout, "binlog.000002") {
		t.Error("segments are shown without --segments")
	}
}

func TestListHole(t *testing.T) {
	a, archive, _ := sample(t)
	check(t, os.Remove(objectPath(a, catalog.SegmentKey(1, 3, 3))))
	var r listResult
	o := tidemark("list", "--json", "--archive", archive).must(t, 3)
	o.parse(t, &r)
	c := r.Clusters[0]
	if len(c.Holes) != 1 || c.Holes[0].First != 3 || c.Holes[0].Last != 3 || c.Holes[0].After != "0-1-4" || c.Holes[0].Before != "0-1-6" {
		t.Errorf("holes: %+v", c.Holes)
	}
	if len(c.Windows) != 1 || !c.Windows[0].To.Equal(begun.Add(4*time.Minute)) {
		t.Errorf("the window does not end at the hole: %+v", c.Windows)
	}
	if o := tidemark("list", "--archive", archive).must(t, 3); !strings.Contains(o.stdout, "holes\n") || !strings.Contains(o.stderr, "tidemark verify") {
		t.Errorf("%+v", o)
	}
	// The end is missing: the head knows.
	check(t, os.Remove(objectPath(a, catalog.SegmentKey(1, 4, 4))))
	tidemark("list", "--json", "--archive", archive).must(t, 3).parse(t, &r)
	if h := r.Clusters[0].Holes; len(h) != 1 || h[0].First != 3 || h[0].Last != 4 {
		t.Errorf("holes: %+v", h)
	}
	// A manifest that does not read.
	check(t, os.WriteFile(objectPath(a, "base/20261120T030030Z-0001/manifest.json"), []byte("x"), 0o600))
	tidemark("list", "--json", "--archive", archive).must(t, 3).parse(t, &r)
	if c := r.Clusters[0]; len(c.Problems) != 1 || len(c.Windows) != 0 {
		t.Errorf("%+v", c)
	}
	if o := tidemark("list", "--archive", archive).must(t, 3); !strings.Contains(o.stdout, "nothing can be restored yet") {
		t.Error(o.stdout)
	}
}

func TestVerify(t *testing.T) {
	a, archive, _ := sample(t)
	if o := tidemark("verify", "--archive", archive).must(t, 0); !strings.Contains(o.stdout, "all is well, as far as manifests and sizes show") {
		t.Error(o.stdout)
	}
	key := a.Segments[1].Stored.Key
	check(t, os.Truncate(objectPath(a, key), 9))
	o := tidemark("verify", "--json", "--archive", archive).must(t, 14)
	var r struct {
		Clusters []struct {
			Cluster  string  `json:"cluster"`
			Segments int     `json:"segments"`
			Seconds  float64 `json:"duration_seconds"`
			Findings []struct{ Severity, Object, Kind, Problem string }
		}
	}
	o.parse(t, &r)
	if c := r.Clusters[0]; c.Cluster != "default" || c.Segments != 4 || c.Seconds <= 0 || len(c.Findings) != 1 || c.Findings[0].Object != key {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(o.stderr, `"exit": 14`) {
		t.Error(o.stderr)
	}
	o = tidemark("verify", "--archive", archive).must(t, 14)
	if !strings.Contains(o.stdout, "DAMAGED: 1 finding") || !strings.Contains(o.stdout, key) || !strings.Contains(o.stderr, "hint: ") {
		t.Errorf("%+v", o)
	}
}

func TestCat(t *testing.T) {
	a, archive, files := sample(t)
	dir := filepath.Join(t.TempDir(), "new", "out")
	var r catResult
	tidemark("cat", "--json", "--archive", archive, "--output", dir).must(t, 0).parse(t, &r)
	if len(r.Files) != 2 || r.Directory != dir || r.Bytes != int64(len(files[0])+len(files[1])) || !r.Files[0].FromStart || r.Files[1].FirstSegment != 3 {
		t.Errorf("%+v", r)
	}
	for i, f := range r.Files {
		got, err := os.ReadFile(filepath.Join(dir, f.Name))
		if err != nil || !bytes.Equal(got, files[i]) {
			t.Errorf("%s: %v, %d bytes, want %d", f.Name, err, len(got), len(files[i]))
		}
		if info, err := os.Stat(filepath.Join(dir, f.Name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", f.Name, info.Mode())
		}
	}
	if o := tidemark("cat", "--archive", archive, "--output", dir).must(t, 18); !strings.Contains(o.stderr, "no file is ever written over") {
		t.Error(o.stderr)
	}

	// One file goes to standard output.
	for _, bound := range []string{"binlog.000002", "/var/lib/mysql/binlog.000002"} {
		for _, more := range [][]string{nil, {"--output", "-"}} {
			args := append([]string{"cat", "--archive", archive, "--from", bound, "--to", bound}, more...)
			if o := tidemark(args...).must(t, 0); o.stdout != string(files[1]) {
				t.Errorf("%s: %d bytes, want %d", bound, len(o.stdout), len(files[1]))
			}
		}
	}
	// The second half of a file is a binlog file too.
	for _, bound := range []string{"2", "0-1-3", "0-1-4"} {
		o := tidemark("cat", "--archive", archive, "--from", bound, "--to", bound).must(t, 0)
		if want := int(a.Segments[1].HeadBytes + a.Segments[1].BodyBytes); len(o.stdout) != want || !strings.HasPrefix(o.stdout, "\xfebin") {
			t.Errorf("%s: %d bytes, want %d", bound, len(o.stdout), want)
		}
	}
	for args, exit := range map[string]int{
		"":                              2,  // two files
		"--json --from 1 --to 1":        2,  // standard output is for the result
		"--from 3 --to 2":               2,  // nothing
		"--from 9":                      13, // no such segment
		"--to 0-1-77":                   13,
		"--from 0-2-1":                  13,
		"--to binlog.000077":            13,
		"--timeline 5":                  13,
		"--output /dev/null/x --from 1": 1,
	} {
		tidemark(append([]string{"cat", "--archive", archive}, strings.Fields(args)...)...).must(t, exit)
	}
}

func TestCatDamaged(t *testing.T) {
	a, archive, files := sample(t)
	path := objectPath(a, a.Segments[3].Stored.Key)
	data, err := os.ReadFile(path)
	check(t, err)
	data[len(data)-8] ^= 1
	check(t, os.WriteFile(path, data, 0o600))
	dir := t.TempDir()
	o := tidemark("cat", "--archive", archive, "--output", dir).must(t, 14)
	if !strings.Contains(o.stderr, a.Segments[3].Stored.Key) {
		t.Error(o.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "binlog.000002")); !os.IsNotExist(err) {
		t.Errorf("half a file is left: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "binlog.000001")); err != nil || !bytes.Equal(got, files[0]) {
		t.Errorf("the file before the damage: %v", err)
	}
	check(t, os.Remove(objectPath(a, catalog.SegmentKey(1, 2, 2))))
	tidemark("cat", "--archive", archive, "--output", t.TempDir()).must(t, 13)
	tidemark("cat", "--archive", archive, "--to", "1").must(t, 0)
}

// After RESET MASTER file names begin again.
func TestCatSameName(t *testing.T) {
	a, _, _ := sample(t)
	segments := append([]*catalog.Segment{}, a.Segments...)
	other := *a.Segments[0]
	other.Source.FileCreated++
	other.First, other.Last = 5, 5
	got := sourceFiles(append(segments, &other))
	if len(got) != 3 || got[2].Name != "binlog.000001.2" || got[2].Source != "binlog.000001" {
		t.Errorf("%+v", got)
	}
}
