package compact

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/restore/archivetest"
	"tidemark/storage/file"
)

// spool is a source that has the plain bytes of segments, by number.
type spool map[uint64][]byte

func (s spool) OpenPlain(_ context.Context, seg *catalog.Segment) (io.ReadCloser, error) {
	plain, ok := s[seg.First]
	if !ok {
		return nil, fmt.Errorf("open: %w", fs.ErrNotExist)
	}
	return catalog.CheckPlain(seg, "spool", io.NopCloser(bytes.NewReader(plain))), nil
}

// spooled returns the segments of an archive that are not compacted, and their plain bytes.
func spooled(t *testing.T, c *catalog.Catalog) (list []*catalog.Segment, source spool) {
	t.Helper()
	source = make(spool)
	for s, err := range c.Segments(ctx, 1, 0) {
		must(t, err)
		r, err := c.OpenPlain(ctx, s)
		must(t, err)
		if source[s.First], err = io.ReadAll(r); s.First == s.Last {
			list = append(list, s)
		}
		must(t, err)
		must(t, r.Close())
	}
	return list, source
}

// encryptedSample is an encrypted archive that reader can open, and who wrote it cannot.
func encryptedSample(t *testing.T) (a *archivetest.Archive, reader *catalog.Catalog) {
	t.Helper()
	store, err := file.New(unsynced{}, t.TempDir())
	must(t, err)
	a = archivetest.New(t, store)
	identity, recipient, err := keys.Generate(false)
	must(t, err)
	a.Recipients, err = keys.ParseRecipients([]string{recipient})
	must(t, err)
	ids, err := keys.ParseIdentities("file", []byte(identity))
	must(t, err)
	fill(a)
	reader = open(t, a.Store)
	reader.Unlock(ids)
	return a, reader
}

// unsynced is a file system that syncs nothing, for tests of many files.
type unsynced struct{ durable.OS }

func (unsynced) SyncDir(string) error { return nil }

func (u unsynced) Create(path string) (durable.File, error) {
	f, err := u.OS.Create(path)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ durable.File }

func (unsyncedFile) Sync() error { return nil }

// What is kept is compacted without an identity, whatever operation is the last one, and the next run ends what was
// begun; at each moment the log says the same.
func TestKeptInterrupted(t *testing.T) {
	for n := 1; ; n++ {
		ended := true
		for _, done := range []bool{false, true} {
			a, reader := encryptedSample(t)
			before, _ := content(t, reader)
			list, source := spooled(t, reader)
			o := options(Options{Recipients: a.Recipients, Grace: -1})
			when := fmt.Sprintf("operation %d fails (done: %v)", n, done)
			broken := open(t, &interrupted{Store: a.Store, left: n, done: done})
			r, through, err := Kept(ctx, broken, source, list, o)
			if err == nil {
				_, _, err = Sweep(ctx, broken, 1, 0, o)
			}
			if err != nil {
				ended = false
			}
			if r.Into < 2 && through > 8 || through != 0 && through != 8 && through != 13 {
				t.Fatalf("%s: it has come to %d with %+v", when, through, r)
			}
			if after, _ := content(t, reader); after != before {
				t.Fatalf("%s: the log differs", when)
			}
			healthy(t, reader, when)
			// A program that goes on knows how far it came; one that was started anew has all that the spool holds.
			for _, from := range []uint64{through, 0} {
				left := list[from:]
				if _, through, err = Kept(ctx, a.Catalog, source, left, o); err != nil && !fault.Is(err, fault.Locked) || through != 13 {
					t.Fatalf("%s, then once more from %d: %d, %v", when, from, through, err)
				}
			}
			if _, next, err := Sweep(ctx, a.Catalog, 1, 0, o); err != nil || next != 14 {
				t.Fatalf("%s, then once more: swept to %d, %v", when, next, err)
			}
			if after, segments := content(t, reader); after != before || segments != 6 {
				t.Fatalf("%s, then once more: %d segments, the same log: %v", when, segments, after == before)
			}
			healthy(t, reader, when+", then once more")
		}
		if ended {
			if n < 20 {
				t.Errorf("all is done in %d operations", n)
			}
			return
		}
	}
}

// What is not kept any more, or damaged, or encrypted for others, is left as it is, and the rest is compacted.
func TestKeptInPart(t *testing.T) {
	_, other, err := keys.Generate(false)
	must(t, err)
	others, err := keys.ParseRecipients([]string{other})
	must(t, err)
	for _, tt := range []struct {
		name       string
		change     func(spool)
		recipients *keys.Recipients
		into       int
		kind       fault.Kind
	}{
		{"all", func(spool) {}, nil, 2, 0},
		{"one is gone", func(s spool) { delete(s, 3) }, nil, 1, 0},
		{"one is damaged", func(s spool) { s[3][len(s[3])-9]++ }, nil, 1, fault.Integrity},
		{"one is cut off", func(s spool) { s[8] = s[8][:len(s[8])-1] }, nil, 1, fault.Integrity},
		{"recipients have come", func(spool) {}, others, 0, 0},
		{"recipients have gone, and come back", nil, nil, 3, 0},
	} {
		a := sample(t)
		before, _ := content(t, a.Catalog)
		list, source := spooled(t, a.Catalog)
		if tt.change == nil { // 5 is for others: 1 to 4 and 9 to 13 become one each, and 6 to 8
			five := *list[4]
			five.Stored.Recipients, list[4] = others.Fingerprints(), &five
		} else {
			tt.change(source)
		}
		r, through, err := Kept(ctx, a.Catalog, source, list, options(Options{Recipients: tt.recipients}))
		if r.Into != tt.into || tt.kind == 0 && err != nil || tt.kind != 0 && !fault.Is(err, tt.kind) {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		if want := uint64(13); through != want && tt.recipients == nil || tt.recipients != nil && through != 17 {
			t.Errorf("%s: through %d", tt.name, through)
		}
		if after, _ := content(t, a.Catalog); after != before {
			t.Errorf("%s: the log differs", tt.name)
		}
		healthy(t, a.Catalog, tt.name)
	}
}

// The log expires while a run is written that crosses where it begins then: it is taken back.
func TestExpiredMeanwhile(t *testing.T) {
	a := sample(t)
	list, source := spooled(t, a.Catalog)
	late := &expiring{spool: source, expire: func() {
		must(t, a.Catalog.PutExpiry(ctx, &catalog.Expiry{Decided: begun, DeleteAfter: begun,
			Logs: []catalog.ExpiredLog{{Timeline: 1, Through: 3, Chain: list[2].ChainAfter}}}))
	}}
	r, through, err := Kept(ctx, a.Catalog, late, list, options(Options{}))
	if !fault.Is(err, fault.Locked) || r.Into != 1 || through != 13 {
		t.Errorf("%+v, through %d: %v", r, through, err)
	}
	first := uint64(0)
	for s, err := range a.Catalog.Segments(ctx, 1, 0) {
		must(t, err)
		if first == 0 {
			first = s.First
		}
	}
	if first != 4 {
		t.Errorf("the log begins with segment %d", first)
	}
}

type expiring struct {
	spool
	expire func()
}

func (e *expiring) OpenPlain(ctx context.Context, s *catalog.Segment) (io.ReadCloser, error) {
	if s.First == 5 {
		e.expire()
	}
	return e.spool.OpenPlain(ctx, s)
}

// Members go when the grace has passed, and the next sweep begins behind what has none left.
func TestSweep(t *testing.T) {
	a := sample(t)
	list, source := spooled(t, a.Catalog)
	_, _, err := Kept(ctx, a.Catalog, source, list, options(Options{}))
	must(t, err)
	r, next, err := Sweep(ctx, a.Catalog, 1, 0, options(Options{}))
	if err != nil || r.Removed != 0 || r.Waiting != 13 || next != 1 {
		t.Errorf("%+v, next %d, %v", r, next, err)
	}
	o := options(Options{})
	o.Clock = ahead{25 * time.Hour}
	r, next, err = Sweep(ctx, a.Catalog, 1, next, o)
	if err != nil || r.Removed != 26 || r.Waiting != 0 || next != 14 {
		t.Errorf("%+v, next %d, %v", r, next, err)
	}
	healthy(t, a.Catalog, "swept")
}

// ahead is a clock that is ahead of the machine's.
type ahead struct{ by time.Duration }

func (a ahead) Now() time.Time                       { return time.Now().Add(a.by) }
func (ahead) After(d time.Duration) <-chan time.Time { return time.After(d) }

// However small segments are, no more of them become one than fit into a manifest.
func TestMostMembers(t *testing.T) {
	g := group{o: Options{Size: DefaultSize, Age: DefaultAge}}
	var runs []int
	for n := range uint64(2*mostMembers + 3) {
		s := &catalog.Segment{First: n + 1, Last: n + 1, BodyBytes: 100, Members: []catalog.Member{{Number: n + 1}}, Source: catalog.Source{File: "binlog.000001"}}
		if done := g.add(s); done != nil {
			runs = append(runs, len(done))
		}
	}
	if len(runs) != 2 || runs[0] != mostMembers || runs[1] != mostMembers || len(g.list) != 3 {
		t.Errorf("runs of %v, and %d left", runs, len(g.list))
	}
}
