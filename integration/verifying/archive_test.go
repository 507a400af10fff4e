package verifying

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tidemark/archiver"
	"tidemark/integration/kit"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/keys"
	"tidemark/internal/verify"
	"tidemark/restore"
	"tidemark/storage"
	"tidemark/storage/file"
)

// archive is an archive in a directory, and how it should be.
type archive struct {
	*kit.World
	name   string
	ids    *keys.Identities // nil: the archive is plain
	store  storage.Store
	anchor *catalog.Anchor

	objects  map[string][]byte // by key
	older    *archive          // another history of it; nil: this is that
	keys     []string          // in order
	segments []*catalog.Segment
	log      []byte                   // all of it
	heads    map[string]*catalog.Head // by key
	end      string                   // GTID position
	whole    map[string]result        // by base backup: what a restore to the end reads
}

// result is what a restore reads: its stop, the digest of the base backup's stream, and the log.
type result struct {
	stop restore.Point
	base [sha256.Size]byte
	log  []byte
}

// read takes the archive as it is for what it should be. end is the position that it must have.
func (a *archive) read(end string) {
	a.T.Helper()
	ctx := context.Background()
	var err error
	a.store, err = file.Open(filepath.Join(a.Dir, "archive"))
	a.must(err)
	if a.Identity != "" {
		data, err := os.ReadFile(a.Identity)
		a.must(err)
		a.ids, err = keys.ParseIdentities(a.Identity, data)
		a.must(err)
	}
	a.end = end
	a.anchor, err = archiver.ReadAnchor(durable.OS{}, filepath.Join(a.Dir, "state", "shop", "spool"))
	a.must(err)
	c, err := a.open()
	a.must(err)
	a.must(c.PutIndex(ctx, 1, 1, catalog.IndexEvery)) // the archiver waits for a thousand segments
	for s, err := range c.Segments(ctx, 1, 0) {
		a.must(err)
		a.segments = append(a.segments, s)
		r, err := c.OpenPlain(ctx, s)
		a.must(err)
		plain, err := io.ReadAll(r)
		a.must(errors.Join(err, r.Close()))
		a.log = append(a.log, plain[s.HeadBytes:]...)
	}
	a.heads = make(map[string]*catalog.Head)
	for l, err := range c.Objects(ctx, "log/00000001/heads/") {
		a.must(err)
		a.heads[l.Key], err = c.HeadAt(ctx, 1, l.First)
		a.must(err)
	}
	bases, err := c.Bases(ctx)
	a.must(err)
	a.whole = make(map[string]result)
	for _, b := range bases {
		r, plan, err := a.restore(restore.PlanOptions{Target: restore.ToLatest(), Base: b.ID})
		a.must(err)
		if plan.Base.ID != b.ID || plan.Position() != end {
			a.T.Fatalf("a restore begins with %s and ends at %s, want %s and %s", plan.Base.ID, plan.Position(), b.ID, end)
		}
		a.whole[b.ID] = r
	}
	root := a.path("")
	a.objects = make(map[string][]byte)
	a.must(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, rerr := os.ReadFile(path)
		key, kerr := filepath.Rel(root, path)
		a.objects[filepath.ToSlash(key)] = data
		return errors.Join(rerr, kerr)
	}))
	a.keys = slices.DeleteFunc(slices.Sorted(maps.Keys(a.objects)), func(key string) bool {
		return strings.HasPrefix(key, "lease/") // who archives: no data hangs on it, and nothing reads it here
	})
}

// upTo returns the log up to a stop.
func (a *archive) upTo(stop restore.Point) []byte {
	end := uint64(0)
	for _, s := range a.segments {
		if s.First == stop.Segment {
			return a.log[:end+stop.Offset-s.Source.Start]
		}
		end += s.BodyBytes
	}
	return nil
}

// open opens the archive anew: nothing of it is remembered.
func (a *archive) open() (*catalog.Catalog, error) {
	c, err := catalog.Open(context.Background(), a.store, "shop", "test")
	if err == nil {
		c.Unlock(a.ids)
	}
	return c, err
}

// segmentAt returns the segment whose manifest has a key, or nil.
func (a *archive) segmentAt(key string) *catalog.Segment {
	for _, s := range a.segments {
		if catalog.SegmentKey(1, s.First, s.Last) == key {
			return s
		}
	}
	return nil
}

func (a *archive) path(key string) string {
	return filepath.Join(a.Dir, "archive", "shop", filepath.FromSlash(key))
}

// put changes objects; nil removes one.
func (a *archive) put(changes map[string][]byte) {
	a.T.Helper()
	for key, data := range changes {
		if data == nil {
			a.must(os.Remove(a.path(key)))
		} else {
			a.must(os.WriteFile(a.path(key), data, 0o600))
		}
	}
}

// mend takes changes back.
func (a *archive) mend(changes map[string][]byte) {
	a.T.Helper()
	back := make(map[string][]byte, len(changes))
	for key := range changes {
		back[key] = a.objects[key]
	}
	a.put(back)
}

// verify checks the archive, as the program does.
func (a *archive) verify(data bool) (*verify.Report, error) {
	c, err := a.open()
	if err != nil {
		return nil, err
	}
	return verify.Run(context.Background(), c, verify.Options{Data: data, Anchor: a.anchor, Clock: clock.System{}})
}

// restore plans a restore and reads what it would apply.
func (a *archive) restore(o restore.PlanOptions) (result, *restore.Plan, error) {
	c, err := a.open()
	if err != nil {
		return result{}, nil, err
	}
	plan, err := restore.MakePlan(context.Background(), c, o)
	if err != nil {
		return result{}, plan, err
	}
	base, log := sha256.New(), new(bytes.Buffer)
	err = plan.Read(context.Background(), c, base, log)
	return result{plan.Stop, [sha256.Size]byte(base.Sum(nil)), log.Bytes()}, plan, err
}

func (a *archive) must(err error) {
	a.T.Helper()
	if err != nil {
		a.T.Fatal(err)
	}
}
