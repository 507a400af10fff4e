package archiver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// once makes a decision that fails the nth operation of a kind on files of an extension, or on
// temporary ones ("temp").
func once(op, ext string, n int64, err error) func(string, string) error {
	var count atomic.Int64
	return func(o, path string) error {
		is := filepath.Ext(path) == ext || ext == "temp" && durable.IsTemp(filepath.Base(path))
		if o == op && is && count.Add(1) == n {
			return err
		}
		return nil
	}
}

// TestDiskFails: an error of the spool's disk stops the archiver, nothing it could not write counts as
// durable, and the next start goes on by itself.
func TestDiskFails(t *testing.T) {
	p := sample(1, 3000, 70_000)
	for _, tt := range []struct {
		name, op, ext string
		err           error
	}{
		{"no space for events", "write", ".binlog", syscall.ENOSPC},
		{"no space for a record", "write", "temp", syscall.ENOSPC},
		{"cannot sync", "sync", ".binlog", syscall.EIO},
		{"cannot create", "create", ".binlog", syscall.EMFILE},
		{"cannot cut", "truncate", ".binlog", syscall.EIO},
		{"cannot rename", "rename", ".sealed", syscall.EIO},
		{"cannot record", "rename", ".json", syscall.EIO},
		{"cannot remove", "remove", ".binlog", syscall.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			failed := 0
			for n := int64(1); n < 40; n += 3 {
				b := newBench(t)
				b.options.MaxSize, b.options.MaxAge = 20_000, 2*time.Millisecond
				b.options.FS = durabletest.New(durable.OS{}, once(tt.op, tt.ext, n, tt.err))
				a, err := b.open()
				if err != nil {
					b.options.FS = durable.OS{}
					b.finish(p)
					b.check(p, nil)
					continue
				}
				r := run(a)
				serr := feed(a, p, 3000, 1000+3001*int(n)) // mostly inside a transaction
				if errors.Is(serr, errEnd) {
					serr = feed(a, p, 3000, 0)
				}
				rerr := r.stop()
				cerr := a.Close(context.Background())
				if rerr != nil || cerr != nil || !errors.Is(serr, errEnd) {
					failed++
					for _, err := range []error{rerr, cerr} {
						if err != nil && !errors.Is(err, tt.err) {
							t.Errorf("operation %d: %v", n, err)
						}
					}
					if rerr != nil && fault.HintOf(rerr) == "" {
						t.Errorf("no hint: %v", rerr)
					}
					if _, err := a.Resume(context.Background()); rerr != nil && err == nil {
						t.Error("a failed archiver can resume")
					}
				}
				b.options.FS = durable.OS{}
				b.finish(p)
				b.check(p, nil)
			}
			if failed == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// TestFailureEndsRun: Run ends when the spool fails, whoever noticed it, so that the program does not
// live on without archiving.
func TestFailureEndsRun(t *testing.T) {
	p := sample(1, 3000)
	b := newBench(t)
	b.options.FS = durabletest.New(durable.OS{}, once("write", ".binlog", 1, syscall.ENOSPC))
	r := run(b.mustOpen())
	if err := feed(r.Archiver, p, 1<<20, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("stream: %v", err)
	}
	select {
	case <-r.done:
		if !errors.Is(r.err, syscall.ENOSPC) {
			t.Errorf("run: %v", r.err)
		}
	case <-time.After(time.Minute):
		t.Error("it runs on")
	}
	if err := r.Close(context.Background()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
}

// slowSync is a file system whose syncs of binlogs wait, one after another, for a word of the test.
type slowSync struct {
	durable.FS
	enter chan string // a sync of this file begins
	leave chan error  // how it ends
}

func (s *slowSync) Create(path string) (durable.File, error) {
	f, err := s.FS.Create(path)
	if err != nil || filepath.Ext(path) != ".binlog" {
		return f, err
	}
	return &slowFile{f, s}, nil
}

type slowFile struct {
	durable.File
	s *slowSync
}

func (f *slowFile) Sync() error {
	f.s.enter <- f.Name()
	if err := <-f.s.leave; err != nil {
		return err
	}
	return f.File.Sync()
}

// TestSyncErrorIsShared: the kernel tells of an error once. When the sync that runs while the segment
// is sealed gets it, sealing must not take its own sync, which then succeeds, for the truth.
func TestSyncErrorIsShared(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	l.Rows(binlogtest.G(0, 7, 1), 100)
	p := new(primary)
	p.add("b.1", l)
	b := newBench(t)
	disk := &slowSync{durable.OS{}, make(chan string), make(chan error)}
	b.options.FS = disk
	r := run(b.mustOpen())
	if err := feed(r.Archiver, p, 1<<20, 0); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	<-disk.enter // the sync loop's
	sealed := make(chan error, 1)
	go func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		sealed <- r.seal()
	}()
	disk.leave <- syscall.EIO
	select {
	case <-disk.enter: // a second sync, which the kernel would say went well
		disk.leave <- nil
	case err := <-sealed:
		sealed <- err
	}
	if err := <-sealed; !errors.Is(err, syscall.EIO) {
		t.Errorf("sealed: %v", err)
	}
	if err := r.stop(); !errors.Is(err, syscall.EIO) {
		t.Errorf("run: %v", err)
	}
	if s := r.Stats(); s.Spooled.Offset != 0 || s.ArchivedSegment != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(r.path(1, "binlog")); !os.IsNotExist(err) {
		t.Errorf("what could not be synced is still there: %v", err)
	}
	_ = r.Close(context.Background())
	b.options.FS = durable.OS{}
	b.finish(p)
	b.check(p, nil)
}

// TestAbandon: after a failed sync the file is cut back to what was synced before.
func TestAbandon(t *testing.T) {
	l := binlogtest.New(7, binlogtest.Options{})
	l.List()
	l.Rows(binlogtest.G(0, 7, 1), 100)
	first := l.Size()
	l.Rows(binlogtest.G(0, 7, 2), 100)
	p := new(primary)
	p.add("b.1", l)
	b := newBench(t)
	disk := &slowSync{durable.OS{}, make(chan string), make(chan error)}
	b.options.FS = disk
	r := run(b.mustOpen())
	dump := p.dump(binlog.Point{File: "b.1", Offset: 4})
	if err := feed(r.Archiver, p, 1<<20, len(dump)-int(l.Size()-first)); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	<-disk.enter
	disk.leave <- nil
	until(t, "spooled", func() bool { return r.Stats().Spooled.Offset == first })
	if err := feed(r.Archiver, p, 1<<20, 0); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	<-disk.enter
	disk.leave <- syscall.EIO
	<-r.done
	if !errors.Is(r.err, syscall.EIO) || r.Stats().Spooled.Offset != first {
		t.Errorf("%v, spooled to %s", r.err, r.Stats().Spooled.Point)
	}
	if info, err := os.Stat(r.path(1, "binlog")); err != nil || uint64(info.Size()) != first {
		t.Errorf("the file has %d bytes, not %d; %v", info.Size(), first, err)
	}
	_ = r.Close(context.Background())
	b.options.FS = durable.OS{}
	a := b.mustOpen()
	if s := a.Stats(); s.Spooled.Offset != first || s.Spooled.GTID != "0-7-1" {
		t.Errorf("opened again: %+v", s.Spooled)
	}
	a.open.close()
	a.spool.Release()
	b.finish(p)
	b.check(p, nil)
}

// TestSpoolUnreadable: a spool that cannot be read is not taken for one that is torn.
func TestSpoolUnreadable(t *testing.T) {
	p := sample(1, 3000)
	b := newBench(t)
	b.options.MaxSize = 1 << 30
	a := stopped(t, b, p, 9000)
	a.open.close()
	a.spool.Release()
	before, err := os.Stat(a.path(1, "binlog"))
	if err != nil {
		t.Fatal(err)
	}
	b.options.FS = durabletest.New(durable.OS{}, once("readat", ".binlog", 1, syscall.EIO))
	if _, err := b.open(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	if after, err := os.Stat(a.path(1, "binlog")); err != nil || after.Size() != before.Size() {
		t.Errorf("the file was cut, %v", err)
	}
	b.options.FS = durable.OS{}
	b.finish(p)
	b.check(p, nil)
}

// forgetful is a file system whose files note what is read of them, and that the kernel is told to forget them.
type forgetful struct {
	durable.OS
	did *[]string
}

func (s forgetful) Append(path string) (durable.File, error) {
	f, err := s.OS.Append(path)
	return forgetfulFile{f, s.did}, err
}

type forgetfulFile struct {
	durable.File
	did *[]string
}

func (f forgetfulFile) Reread() { *f.did = append(*f.did, "reread") }

func (f forgetfulFile) ReadAt(p []byte, at int64) (int, error) {
	*f.did = append(*f.did, "read")
	return f.File.ReadAt(p, at)
}

// TestReopenedIsReread: what the open segment of an earlier run holds is asked of the disk, not of the memory that a
// failed sync has left behind.
func TestReopenedIsReread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel offers nothing")
	}
	p := sample(1, 3000)
	b := newBench(t)
	b.options.MaxSize = 1 << 30
	a := stopped(t, b, p, 9000)
	a.open.close()
	a.spool.Release()
	var did []string
	b.options.FS = forgetful{did: &did}
	again := b.mustOpen()
	if len(did) < 2 || did[0] != "reread" || slices.Contains(did[1:], "reread") {
		t.Errorf("the open segment was read like this: %v", did)
	}
	again.open.close()
	again.spool.Release()
	b.options.FS = durable.OS{}
	b.finish(p)
	b.check(p, nil)
}

// TestWatermarks: spooled and archived never go back, spooled never runs ahead of a sync, nor
// archived of a manifest.
func TestWatermarks(t *testing.T) {
	p := sample(1, 3000, 70_000)
	b := newBench(t)
	b.options.MaxSize, b.options.MaxAge = 30_000, 3*time.Millisecond
	order := map[string]int{} // of the files
	for i, name := range p.names {
		order[name] = i
	}
	var mu sync.Mutex
	var synced, committed place
	disk := durabletest.New(durable.OS{}, nil)
	b.options.FS = &watchedFS{FS: disk, synced: func(path string, size int64) {
		seg := record(t, path)
		mu.Lock()
		defer mu.Unlock()
		synced = synced.max(place{order[seg.Source.File], seg.Source.Start + uint64(size) - seg.HeadBytes})
	}}
	under := b.store
	b.store = &watchedStore{under, func(s *catalog.Segment) {
		mu.Lock()
		defer mu.Unlock()
		committed = committed.max(place{order[s.Source.File], s.Source.End})
	}}
	a := b.mustOpen()
	r := run(a)
	ended := make(chan error, 1)
	go func() { ended <- feed(a, p, 500, 0) }()
	var spooled, archived place
	sample := func() {
		s := a.Stats() // before what it is compared with
		mu.Lock()
		defer mu.Unlock()
		now := place{order[s.Spooled.File], s.Spooled.Offset}
		if now.less(spooled) || s.Spooled.File != "" && synced.less(now) {
			t.Errorf("spooled is %v after %v, synced is %v", now, spooled, synced)
		}
		spooled = now
		if now = (place{order[s.Archived.File], s.Archived.Offset}); now.less(archived) || s.Archived.File != "" && committed.less(now) {
			t.Errorf("archived is %v after %v, committed is %v", now, archived, committed)
		}
		archived = now
		if spooled.less(archived) {
			t.Errorf("archived %v, spooled %v", archived, spooled)
		}
	}
	for done := false; !done; {
		sample()
		select {
		case err := <-ended:
			if !errors.Is(err, errEnd) {
				t.Fatal(err)
			}
			done = true
		default:
			time.Sleep(50 * time.Microsecond)
		}
	}
	until(t, "all is archived but the open segment", func() bool { sample(); s := a.Stats(); return s.Archived.Point == s.Received.Point })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.check(p, nil)
}

// place orders points of several files.
type place struct {
	file   int
	offset uint64
}

func (p place) less(q place) bool { return p.file < q.file || p.file == q.file && p.offset < q.offset }
func (p place) max(q place) place {
	if p.less(q) {
		return q
	}
	return p
}

// record reads the record beside a segment in the spool.
func record(t *testing.T, path string) *catalog.Segment {
	data, err := os.ReadFile(strings.TrimSuffix(path, ".binlog") + ".open")
	if err != nil {
		t.Error(err)
		return new(catalog.Segment)
	}
	seg, err := catalog.DecodeSegment(data)
	if err != nil {
		t.Error(err)
	}
	return seg
}

// watchedFS tells of every sync of a binlog that has succeeded, and how large the file was before it.
type watchedFS struct {
	durable.FS
	synced func(path string, size int64)
}

func (w *watchedFS) Create(path string) (durable.File, error) {
	f, err := w.FS.Create(path)
	if err != nil || filepath.Ext(path) != ".binlog" {
		return f, err
	}
	return &watchedFile{f, w}, nil
}

type watchedFile struct {
	durable.File
	w *watchedFS
}

func (f *watchedFile) Sync() error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.w.synced(f.Name(), info.Size())
	return nil
}

// watchedStore tells of every manifest that was put.
type watchedStore struct {
	storage.Store
	put func(*catalog.Segment)
}

func (w *watchedStore) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	err := w.Store.Put(ctx, key, data, ifAbsent)
	if err == nil && strings.Contains(key, "/log/") && !strings.Contains(key, "heads/") {
		if seg, derr := catalog.DecodeSegment(data); derr == nil {
			w.put(seg)
		}
	}
	return err
}

// until waits for something to be so.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after a minute: %s", what)
		}
	}
}
