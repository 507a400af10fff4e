package basebackup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
	"tidemark/storage"
)

// engine is a made-up engine.
type engine struct {
	data  []byte
	info  Info
	check error
	fail  error         // after the data
	hang  chan struct{} // closed when the data is written; then it waits for the context
	after func()        // called after the data
}

func (e *engine) Name() string                { return "mbstream" }
func (e *engine) Check(context.Context) error { return e.check }

func (e *engine) Stream(ctx context.Context, w io.Writer) (Info, error) {
	for data := e.data; len(data) > 0; {
		n, err := w.Write(data[:min(1000, len(data))])
		if err != nil {
			return Info{}, err
		}
		data = data[n:]
	}
	if e.after != nil {
		e.after()
	}
	if e.hang != nil {
		close(e.hang)
		<-ctx.Done()
		return Info{}, ctx.Err()
	}
	return e.info, e.fail
}

// logged is an archive with a log of one file in segments of one transaction each.
type logged struct {
	*archivetest.Archive
	ends []uint64 // offset after each of its transactions
	fde  *binlog.FormatDescription
}

var begun = time.Date(2026, 11, 21, 3, 15, 0, 0, time.UTC)

const binlogFile = "binlog.000001"

func newLogged(t *testing.T, transactions int) *logged {
	l := &logged{Archive: archivetest.InDir(t)}
	log := archivetest.NewLog(1, begun)
	for n := range transactions {
		log.Change(gtid.GTID{Server: 1, Seq: uint64(n + 1)}, begun, "d", "t", 100)
		l.ends = append(l.ends, log.Offset())
	}
	l.Append(binlogFile, log.Bytes(), archivetest.Cut{Every: 1})
	l.fde = format(t, log.Bytes())
	return l
}

// format returns the format description of a binlog file.
func format(t *testing.T, file []byte) *binlog.FormatDescription {
	sc, err := binlog.NewFileScanner(bytes.NewReader(file), 0, 4, binlog.Point{File: binlogFile, Offset: 4})
	if err == nil {
		_, err = sc.Next()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sc.Format()
}

func (l *logged) options(e *engine) Options {
	return Options{Catalog: l.Catalog, Engine: e, Clock: clock.System{}, PartSize: 10_000, WaitCovered: 50 * time.Millisecond, Writer: "w", Version: "v"}
}

func (l *logged) at(transaction int) Info {
	return Info{ToolVersion: "tool", ServerVersion: "server", Flavor: gtid.MariaDB, ServerID: 1,
		Source: binlog.Point{File: binlogFile, Offset: l.ends[transaction-1]}, File: l.fde, GTID: fmt.Sprintf("0-1-%d", transaction),
		FromLSN: 1, ToLSN: 2, Consistent: begun.Add(time.Hour), Variables: map[string]string{"a": "b"}}
}

func random(t *testing.T, n int) []byte {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// objects lists what is stored under base/.
func objects(t *testing.T, l *logged) []string {
	t.Helper()
	var keys []string
	err := filepath.WalkDir(filepath.Join(l.Dir, "default", "base"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			keys = append(keys, filepath.Base(path))
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func none(t *testing.T, l *logged) {
	t.Helper()
	if keys := objects(t, l); len(keys) > 0 {
		t.Errorf("left in storage: %v", keys)
	}
	if list, err := l.Catalog.Bases(context.Background()); err != nil || len(list) > 0 {
		t.Errorf("%d base backups, %v", len(list), err)
	}
}

func read(t *testing.T, l *logged, b *catalog.Base) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, p := range b.Parts {
		if err := l.Catalog.VerifyPart(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		r, err := l.Catalog.OpenPart(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		n, err := all.ReadFrom(r)
		if err != nil || n != p.PlainBytes {
			t.Fatalf("part %d: %d bytes of %d, %v", p.Number, n, p.PlainBytes, err)
		}
		r.Close()
	}
	return all.Bytes()
}

func TestTake(t *testing.T) {
	for _, size := range []int{1, 9_999, 10_000, 10_001, 34_567} {
		l := newLogged(t, 5)
		data := random(t, size)
		var phases []Phase
		o := l.options(&engine{data: data, info: l.at(5)})
		var last Progress
		o.Progress = func(p Progress) {
			if n := len(phases); n == 0 || phases[n-1] != p.Phase {
				phases = append(phases, p.Phase)
			}
			last = p
		}
		b, err := Take(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, l, b), data) {
			t.Error("the parts are not the stream")
		}
		if want := (size + 9999) / 10000; len(b.Parts) != want {
			t.Errorf("%d bytes in %d parts", size, len(b.Parts))
		}
		list, err := l.Catalog.Bases(context.Background())
		if err != nil || len(list) != 1 || fmt.Sprint(*list[0]) != fmt.Sprint(*b) {
			t.Errorf("archived %+v\nnot %+v\n%v", *list[0], *b, err)
		}
		if b.Segment != 6 || b.PositionMax.GTID != "0-1-5" || fmt.Sprint(b.PositionMax.State) != "[0-1-5]" || !b.PositionMin.Equal(b.PositionMax) ||
			b.Source.Offset != l.ends[4] || b.Timeline != 1 || b.PlainBytes != int64(size) || !b.Consistent.Equal(begun.Add(time.Hour)) {
			t.Errorf("%+v", *b)
		}
		if fmt.Sprint(phases) != "[check copy commit done]" || last.Plain != int64(size) || last.Stored != b.StoredBytes() {
			t.Errorf("progress: %v, last %+v", phases, last)
		}
		if text, err := json.Marshal(Summarize(b)); err != nil || !strings.Contains(string(text), `"source":"binlog.000001:`) {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// TestCompacted finds the position in the middle of a compacted segment, under its member's number.
func TestCompacted(t *testing.T) {
	l := newLogged(t, 5)
	l.Compact(0, 6)
	b, err := Take(context.Background(), l.options(&engine{data: []byte("x"), info: l.at(3)}))
	if err != nil {
		t.Fatal(err)
	}
	if b.Segment != 4 || b.PositionMax.GTID != "0-1-3" {
		t.Errorf("segment %d, position %s", b.Segment, b.PositionMax.GTID)
	}
}

func TestEngineFails(t *testing.T) {
	broken := fault.New(fault.Other, "copy", "", errors.New("tool died")).WithHint("Look.")
	for _, size := range []int{0, 5, 10_000, 25_000} {
		l := newLogged(t, 1)
		_, err := Take(context.Background(), l.options(&engine{data: random(t, size), fail: broken}))
		if err == nil || err.Error() != "copy: tool died" || fault.HintOf(err) != "Look." {
			t.Errorf("after %d bytes: %v", size, err)
		}
		none(t, l)
	}
	l := newLogged(t, 1)
	if _, err := Take(context.Background(), l.options(&engine{check: broken})); !errors.Is(err, broken) {
		t.Errorf("check: %v", err)
	}
	if _, err := Take(context.Background(), l.options(&engine{info: l.at(1)})); err == nil {
		t.Error("an empty stream is taken")
	}
	none(t, l)
}

func TestCancelled(t *testing.T) {
	for _, size := range []int{0, 5, 25_000} {
		l := newLogged(t, 1)
		ctx, cancel := context.WithCancel(context.Background())
		e := &engine{data: random(t, size), hang: make(chan struct{})}
		go func() {
			<-e.hang
			cancel()
		}()
		_, err := Take(ctx, l.options(e))
		if !errors.Is(err, context.Canceled) || !fault.Is(err, fault.Interrupted) {
			t.Errorf("after %d bytes: %v", size, err)
		}
		none(t, l)
	}
	// While it waits for the log.
	l := newLogged(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	info := l.at(1)
	info.Source.Offset += 1000
	o := l.options(&engine{data: []byte("x"), info: info})
	o.WaitCovered = time.Hour
	o.Progress = func(p Progress) {
		if p.Phase == Wait && strings.Contains(p.Waiting, "does not reach") {
			cancel()
		}
	}
	if _, err := Take(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("while waiting: %v", err)
	}
	none(t, l)
}

// broken is a store in which some operations fail, before or after they have done their work.
type broken struct {
	storage.Store
	mu    sync.Mutex
	fails func(op, key string) bool
	done  bool // the work is done all the same
}

var errDisk = errors.New("disk is gone")

func (s *broken) failing(op, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails != nil && s.fails(op, key)
}

func (s *broken) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	if s.failing("upload", key) {
		return 0, errDisk
	}
	return s.Store.Upload(ctx, key, r)
}

func (s *broken) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	if !s.failing("put", key) {
		return s.Store.Put(ctx, key, data, ifAbsent)
	}
	if s.done {
		if err := s.Store.Put(ctx, key, data, ifAbsent); err != nil {
			return err
		}
	}
	return errDisk
}

func (s *broken) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if s.failing("get", key) {
		return nil, errDisk
	}
	return s.Store.Get(ctx, key, offset, length)
}

func TestStorageFails(t *testing.T) {
	ctx := context.Background()
	open := func(l *logged, fails func(op, key string) bool) (*broken, Options) {
		s := &broken{Store: l.Store, fails: fails}
		c, err := catalog.Open(ctx, s, "default", "test")
		if err != nil {
			t.Fatal(err)
		}
		o := l.options(&engine{data: random(t, 35_000), info: l.at(1)})
		o.Catalog = c
		return s, o
	}
	for part := 1; part <= 4; part++ {
		l := newLogged(t, 1)
		_, o := open(l, func(op, key string) bool { return op == "upload" && strings.Contains(key, fmt.Sprintf("/%05d.", part)) })
		if _, err := Take(ctx, o); !errors.Is(err, errDisk) {
			t.Errorf("part %d: %v", part, err)
		}
		none(t, l)
	}

	// The engine is in the middle of something when storage fails: it must be stopped.
	l := newLogged(t, 1)
	_, o := open(l, func(op, key string) bool { return op == "upload" })
	o.Engine = &engine{data: random(t, 500), hang: make(chan struct{})}
	if _, err := Take(ctx, o); !errors.Is(err, errDisk) {
		t.Errorf("engine at rest: %v", err)
	}
	none(t, l)

	manifest := func(op, key string) bool { return op == "put" && strings.HasSuffix(key, "/manifest.json") }
	t.Run("manifest refused", func(t *testing.T) {
		l := newLogged(t, 1)
		_, o := open(l, manifest)
		o.Clock = hurry{}
		if _, err := Take(ctx, o); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		none(t, l)
	})
	t.Run("answer lost", func(t *testing.T) {
		l := newLogged(t, 1)
		s, o := open(l, manifest)
		s.done = true
		o.Clock = hurry{}
		b, err := Take(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		read(t, l, b)
	})
	t.Run("outcome unknown", func(t *testing.T) {
		l := newLogged(t, 1)
		gone := false
		s, o := open(l, nil)
		s.fails = func(op, key string) bool { // from the manifest on, nothing is answered
			gone = gone || manifest(op, key)
			return gone
		}
		s.done = true
		o.Clock = hurry{}
		_, err := Take(ctx, o)
		if err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("%v", err)
		}
		list, err := l.Catalog.Bases(ctx)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d base backups, %v", len(list), err)
		}
		read(t, l, list[0]) // its parts must not be removed
	})
}

// hurry is a clock on which nothing takes long.
type hurry struct{ clock.System }

func (hurry) After(d time.Duration) <-chan time.Time { return time.After(d / 1000) }
