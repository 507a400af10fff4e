package transfer

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/internal/seal"
	"tidemark/restore/archivetest"
	"tidemark/storage"
	driver "tidemark/storage/file"
)

var begun = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

// archive is one of two source files in five segments of four transactions, one a minute, with a base
// backup at the end of the second and another at the end of the fourth; and a second timeline of two
// segments, which forks behind the last.
type archive struct {
	*archivetest.Archive
	t    *testing.T
	next uint64 // transaction
}

func sample(t *testing.T) *archive {
	t.Helper()
	a := &archive{Archive: archivetest.InDir(t), t: t}
	a.file("binlog.000001", 12)
	a.Head(begun.Add(12 * time.Minute))
	a.file("binlog.000002", 8)
	a.Head(begun.Add(21 * time.Minute))
	for i, n := range []int{1, 3} {
		s := a.Segments[n]
		a.AddBase(catalog.Base{ID: fmt.Sprintf("b%d", i+1), Consistent: begun.Add(time.Duration(4*n+1) * time.Minute)}, s.Source.EndPoint(), s.After.GTID,
			strings.NewReader("0123456789"), 4)
	}
	a.fork()
	return a
}

// file appends a source file of n transactions.
func (a *archive) file(name string, n int) {
	now := begun.Add(time.Duration(a.next) * time.Minute)
	log := archivetest.NewLog(1, now)
	log.List(now, a.State.List()...)
	var cuts []uint64
	for i := range n {
		a.next++
		now = now.Add(time.Minute)
		log.Change(gtid.GTID{Server: 1, Seq: a.next}, now, "shop", "orders", 100*i)
		if i%4 == 3 {
			cuts = append(cuts, log.Offset())
		}
	}
	a.Append(name, log.Bytes(), archivetest.Cut{At: cuts, Live: true})
}

// more appends two segments to timeline 1.
func (a *archive) more() {
	a.file(fmt.Sprintf("binlog.%06d", a.next), 8)
	a.Head(begun.Add(time.Duration(a.next+1) * time.Minute))
}

// fork makes timeline 2 of the last two segments once more, as if they had been lost and come again.
func (a *archive) fork() {
	a.t.Helper()
	parent := a.Segments[2]
	line := &catalog.Timeline{Number: 2, Parent: 1, ParentSegment: parent.Last, ParentBodyOffset: parent.BodyBytes, Position: parent.After,
		Seed: parent.ChainAfter, Reason: "failover", Created: begun.Add(13 * time.Minute)}
	must(a.t, a.Catalog.PutTimeline(ctx, line))
	sealer, err := seal.New(seal.Options{Recipients: a.Recipients})
	must(a.t, err)
	chain := line.Seed
	for i, old := range a.Segments[3:5] {
		s := *old
		s.Timeline, s.First, s.Last = 2, uint64(i+1), uint64(i+1)
		s.Members = []catalog.Member{old.Members[0]}
		s.Members[0].Number = s.First
		plain, err := a.Catalog.OpenPlain(ctx, old)
		must(a.t, err)
		s.Stored, _, err = a.Catalog.SealData(ctx, sealer, catalog.SegmentDataKey(2, s.First, s.Last, "fork"), plain)
		must(a.t, err)
		s.ChainBefore, s.ChainAfter = chain, catalog.NextDigest(chain, s.BodySHA256)
		chain = s.ChainAfter
		must(a.t, a.Catalog.Commit(ctx, &s))
	}
}

// twin is a copy of the archive in which other things have happened since.
func (a *archive) twin() *archive {
	a.t.Helper()
	other := *a
	other.Archive = &archivetest.Archive{}
	*other.Archive = *a.Archive
	other.Store = empty(a.t)
	a.copied(other.Store, Options{})
	other.Catalog = open(a.t, other.Store)
	other.Segments = append([]*catalog.Segment(nil), a.Segments...)
	other.State = a.State.Clone()
	own, twins := *a, other
	twins.file("binlog.000008", 5)
	if len(own.Segments) == 5 {
		own.more()
		*a = own
	}
	return &twins
}

// copied copies the archive, and verifies what came of it.
func (a *archive) copied(to storage.Store, o Options) *Report {
	a.t.Helper()
	r, err := Run(ctx, a.Catalog, to, options(o))
	must(a.t, err)
	if !o.DryRun {
		verified(a.t, open(a.t, to))
	}
	return r
}

func options(o Options) Options {
	o.Clock = clock.System{}
	o.Workers = 3
	return o
}

func pair(t *testing.T) (*keys.Identities, *keys.Recipients) {
	t.Helper()
	identity, recipient, err := keys.Generate(false)
	must(t, err)
	r, err := keys.ParseRecipients([]string{recipient})
	must(t, err)
	ids, err := keys.ParseIdentities("file", []byte(identity))
	must(t, err)
	return ids, r
}

func empty(t *testing.T) storage.Store {
	t.Helper()
	s, err := driver.Open(t.TempDir())
	must(t, err)
	return s
}

func open(t *testing.T, s storage.Store) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(context.Background(), s, "default", "test")
	must(t, err)
	return c
}

// same checks that two archives hold the same log and base backups.
func same(t *testing.T, a *catalog.Catalog, to storage.Store) {
	t.Helper()
	tell := func(c *catalog.Catalog) (all []string) {
		v, err := c.Overview(ctx, func(s *catalog.Segment) {
			all = append(all, fmt.Sprintf("%d %s %x %x %v", s.Timeline, s.Name(), s.BodySHA256, s.ChainAfter, s.After))
		})
		must(t, err)
		for _, b := range v.Bases {
			all = append(all, fmt.Sprintf("%s %s %d %d", b.ID, b.PositionMax.GTID, b.Segment, len(b.Parts)))
		}
		for _, l := range v.Timelines {
			all = append(all, fmt.Sprint(l.Number, l.Skipped, l.Last, l.Transactions, l.CoveredUntil, l.Windows))
		}
		return all
	}
	ours, theirs := tell(a), tell(open(t, to))
	if strings.Join(ours, "\n") != strings.Join(theirs, "\n") {
		t.Errorf("there is\n%s\n\nin the copy\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
	}
}

// file is a store whose objects are files that can be spoilt.
type file struct {
	storage.Store
	t   *testing.T
	dir string
}

// from makes it a copy of an archive.
func (f *file) from(a *archive) {
	f.t.Helper()
	a.copied(f.Store, Options{})
}

func (f *file) path(key string) string {
	dir := f.dir
	if dir == "" {
		dir = strings.TrimPrefix(f.URL(), "file://")
	}
	return filepath.Join(dir, "default", key)
}

func (f *file) flip(key string) {
	f.t.Helper()
	data, err := os.ReadFile(f.path(key))
	must(f.t, err)
	data[len(data)/2] ^= 1
	must(f.t, os.WriteFile(f.path(key), data, 0o600))
}

// all is everything that is there.
func (f *file) all() string {
	f.t.Helper()
	var b strings.Builder
	must(f.t, filepath.WalkDir(strings.TrimPrefix(f.URL(), "file://"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, data)
		return err
	}))
	return b.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
