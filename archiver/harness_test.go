package archiver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
	"tidemark/internal/catalog"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/storage"
	"tidemark/storage/file"
)

// errEnd is how a source of these tests ends.
var errEnd = errors.New("the source has ended")

// primary is a server: the bytes of its binlog files.
type primary struct {
	names []string
	logs  []*binlogtest.Log

	waits bool          // commits wait for acknowledgements
	pause time.Duration // between two pieces of what it sends
	mu    sync.Mutex
	acked []binlog.Point
}

// order compares two places in the files.
func (p *primary) order(a, b binlog.Point) int {
	return cmp.Or(cmp.Compare(slices.Index(p.names, a.File), slices.Index(p.names, b.File)), cmp.Compare(a.Offset, b.Offset))
}

func (p *primary) add(name string, l *binlogtest.Log) {
	p.names, p.logs = append(p.names, name), append(p.logs, l)
}

// source sends what a primary sends, from a place on, in pieces; then it ends.
type source struct {
	*binlog.Scanner
	p   *primary
	end bool // the event in hand ends a transaction

	mu     sync.Mutex
	caught binlog.Point
	at     time.Time
}

// ServerUUID is that of no server: this one is MariaDB.
func (s *source) ServerUUID() string { return "" }

// CaughtUp is what the test has set.
func (s *source) CaughtUp() (binlog.Point, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caught, s.at
}

// AckWanted is true of every transaction, if commits wait at all.
func (s *source) AckWanted() bool { return s.end && s.p != nil && s.p.waits }

// Ack remembers.
func (s *source) Ack(p binlog.Point) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.acked = append(s.p.acked, p)
	return nil
}

// Next passes over what is made up for the connection, as the replica does.
func (s *source) Next() (*binlog.Event, error) {
	for {
		ev, err := s.Scanner.Next()
		s.end = err == nil && ev.Last && ev.End
		if err != nil || !ev.Head && !ev.Artificial() {
			return ev, err
		}
	}
}

// piecewise returns at most n bytes at a time, and fails with err in the end.
type piecewise struct {
	data []byte
	n    int
	err  error
	wait <-chan struct{} // before the end, until it is closed; may be nil

	pause time.Duration // before each piece
}

func (r *piecewise) Read(b []byte) (int, error) {
	time.Sleep(r.pause)
	if len(r.data) == 0 {
		if r.wait != nil {
			<-r.wait
		}
		return 0, r.err
	}
	n := copy(b[:min(len(b), r.n)], r.data)
	r.data = r.data[n:]
	return n, nil
}

// dump returns the bytes of a dump by file and offset.
func (p *primary) dump(from binlog.Point) []byte {
	var out []byte
	for i, name := range p.names {
		if out == nil && name != from.File {
			continue
		}
		l := p.logs[i]
		at := uint64(4)
		if out == nil {
			at = from.Offset
		}
		out = append(out, binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(at, name), false)...)
		if len(out) > 100 { // later ones carry a checksum
			out = out[:len(out)-binlog.HeaderSize-8-len(name)]
			out = append(out, binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(at, name), true)...)
		}
		if at > 4 {
			f, err := binlog.ParseFormatDescription(l.Bytes()[4 : 4+l.Events[0].Size])
			if err != nil {
				panic(err)
			}
			out = append(out, f.Copy()...)
		}
		out = append(out, l.Bytes()[at:]...)
	}
	return out
}

// open answers a request. limit is how many bytes come before the connection breaks; 0: all.
func (p *primary) open(r Resume, piece, limit int) *source {
	if r.Fresh {
		r.From = binlog.Point{File: p.names[0], Offset: 4}
	}
	data := p.dump(r.From)
	if limit > 0 {
		data = data[:min(limit, len(data))]
	}
	return &source{Scanner: binlog.NewScanner(&piecewise{data: data, n: piece, err: errEnd, pause: p.pause}, 1<<16), p: p}
}

// instant is a clock on which nothing takes long.
type instant struct{}

func (instant) Now() time.Time                         { return time.Now() }
func (instant) After(d time.Duration) <-chan time.Time { return time.After(min(d, time.Millisecond)) }

// bench is a spool and an archive in directories of their own.
type bench struct {
	t       testing.TB
	dir     string
	options Options
	store   storage.Store
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return benchOn(t, durable.OS{}, t.TempDir())
}

// benchOn is a bench on a file system, in a directory that need not be there.
func benchOn(t testing.TB, fsys durable.FS, dir string) *bench {
	t.Helper()
	b := &bench{t: t, dir: dir}
	b.options = Options{Timeline: 1, Dir: b.dir + "/spool", FS: fsys, Clock: instant{}, Log: zap.NewNop(), Version: "test",
		MaxAge: time.Hour, MaxSize: 1 << 20, MaxSpool: 1 << 40, HeadAge: time.Hour}
	b.archiveOn(fsys)
	return b
}

// archiveOn lets the archive be on another file system than the spool.
func (b *bench) archiveOn(fsys durable.FS) {
	b.t.Helper()
	var err error
	if b.store, err = file.New(fsys, b.dir+"/archive"); err != nil {
		b.t.Fatal(err)
	}
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

// unsynced makes a bench that is fast and not durable.
func (b *bench) unsynced() *bench {
	b.t.Helper()
	b.options.FS = unsynced{}
	b.archiveOn(unsynced{})
	return b
}

// open opens the archiver as the options say.
func (b *bench) open() (*Archiver, error) {
	c, err := catalog.Create(context.Background(), b.store, "shop", "test", gtid.MariaDB, time.Now())
	if err != nil {
		return nil, err
	}
	o := b.options
	o.Catalog = c
	return Open(context.Background(), o)
}

func (b *bench) mustOpen() *Archiver {
	b.t.Helper()
	a, err := b.open()
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// running is an archiver with its loops.
type running struct {
	*Archiver
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func run(a *Archiver) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Archiver: a, cancel: cancel, done: make(chan struct{})}
	go func() { r.err = a.Run(ctx); close(r.done) }()
	return r
}

// stop ends the loops as a shutdown does, without the Close.
func (r *running) stop() error { r.cancel(); <-r.done; return r.err }

// kill ends the archiver as the end of its process does.
func (r *running) kill() {
	_ = r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open != nil {
		r.open.close()
	}
	r.spool.Release()
}

// feed streams from a primary until that ends, and returns why it ended.
func feed(a *Archiver, p *primary, piece, limit int) error {
	r, err := a.Resume(context.Background())
	if err != nil {
		return err
	}
	return a.Stream(context.Background(), p.open(r, piece, limit), r)
}

// finish streams all there is and closes.
func (b *bench) finish(p *primary) {
	b.t.Helper()
	a := b.mustOpen()
	if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
		b.t.Fatalf("stream: %v", err)
	}
	if err := a.Close(context.Background()); err != nil {
		b.t.Fatalf("close: %v", err)
	}
}

// check compares the whole archive with the primary: every byte once and in order, and every manifest
// with what the bytes say. drop names the bytes at the end of files that no transaction needs.
func (b *bench) check(p *primary, drop map[string]uint64) []*catalog.Segment {
	b.t.Helper()
	ctx := context.Background()
	c, err := catalog.Open(ctx, b.store, "shop", "test")
	if err != nil {
		b.t.Fatal(err)
	}
	var all []*catalog.Segment
	files := map[string][]byte{}
	state := gtid.NewState(nil)
	for s, err := range c.Segments(ctx, 1, 0) {
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, s)
		r, err := c.OpenPlain(ctx, s)
		if err != nil {
			b.t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		if files[s.Source.File] == nil {
			files[s.Source.File] = []byte(binlog.Magic)
		}
		if at := uint64(len(files[s.Source.File])); at != s.Source.Start {
			b.t.Fatalf("segment %s begins at %s, but %d bytes of the file come before it", s.Name(), s.Source.StartPoint(), at)
		}
		files[s.Source.File] = append(files[s.Source.File], plain[s.HeadBytes:]...)
		b.manifest(s, plain, state)
	}
	for i, name := range p.names {
		want := p.logs[i].Bytes()
		want = want[:uint64(len(want))-drop[name]]
		if !bytes.Equal(files[name], want) {
			b.t.Errorf("%s: %d bytes archived of %d, or others", name, len(files[name]), len(want))
		}
		delete(files, name)
	}
	for name := range files {
		b.t.Errorf("%s is archived, but no file of the primary", name)
	}
	if h, err := c.LastHead(ctx, 1); err != nil || len(all) > 0 && (h == nil || h.Segment != all[len(all)-1].Last || h.Chain != all[len(all)-1].ChainAfter) {
		b.t.Errorf("the head is %+v, %v", h, err)
	}
	return all
}

// manifest checks what a manifest says against the segment's bytes.
func (b *bench) manifest(s *catalog.Segment, plain []byte, state *gtid.State) {
	b.t.Helper()
	fail := func(format string, args ...any) { b.t.Helper(); b.t.Errorf("segment "+s.Name()+": "+format, args...) }
	if want := catalog.PositionOf(state); !s.Before.Equal(want) {
		fail("before is %v, want %v", s.Before, want)
	}
	sc, err := binlog.NewFileScanner(bytes.NewReader(plain), 0, s.HeadBytes, s.Source.StartPoint())
	if err != nil {
		b.t.Fatal(err)
	}
	var events, transactions uint64
	var servers []uint32
	tail := s.Source.Start
	var tailGTID gtid.GTID
	before := s.Before
	begin := binlog.Point{}
	boundary := true
	var commits []time.Time
	var headList string
	for {
		ev, err := sc.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if ev.Head {
			if ev.Type == binlog.TypeMariaGTIDList {
				list, _ := binlog.ParseGTIDList(sc.Body(ev))
				headList = gtid.FormatList(list)
			}
			continue
		}
		boundary = ev.Boundary()
		if ev.First {
			events++
			if !slices.Contains(servers, ev.ServerID) {
				servers = append(servers, ev.ServerID)
			}
			if listed, _ := binlog.ListedState(ev, sc.Body(ev)); listed != nil {
				state.Follow(listed)
			}
			if ev.Begin {
				begin.Offset = ev.Offset
				commits = append(commits, ev.Time())
			}
		}
		if ev.Last && ev.End {
			transactions++
			before = catalog.PositionOf(state)
			state.Add(ev.GTID)
			tail, tailGTID = begin.Offset, ev.GTID
		}
	}
	slices.Sort(servers)
	if !boundary {
		fail("it ends inside a transaction")
	}
	if s.HeadBytes > 4 && headList != joined(s.Before.State) {
		fail("its head says %s, the manifest %v", headList, s.Before.State)
	}
	if want := catalog.PositionOf(state); !s.After.Equal(want) {
		fail("after is %v, want %v", s.After, want)
	}
	if s.Events != events || s.Transactions != transactions || !slices.Equal(s.ServerIDs, servers) {
		fail("%d events, %d transactions of %v; want %d, %d, %v", s.Events, s.Transactions, s.ServerIDs, events, transactions, servers)
	}
	if transactions == 0 {
		before = s.After
	}
	body := plain[s.HeadBytes:]
	if s.Tail.Offset != tail || s.Tail.GTID != tailGTID.String() || s.Tail.Bytes != s.Source.End-tail || !s.Tail.Before.Equal(before) ||
		s.Tail.SHA256 != sha256.Sum256(body[tail-s.Source.Start:]) || s.BodySHA256 != sha256.Sum256(body) {
		fail("tail is %+v, want %s at %d", s.Tail, tailGTID, tail)
	}
	if transactions > 0 && (!s.Commit.First.Equal(commits[0]) || !s.Commit.Last.Equal(commits[len(commits)-1]) ||
		!s.Commit.Min.Equal(slices.MinFunc(commits, time.Time.Compare)) || !s.Commit.Max.Equal(slices.MaxFunc(commits, time.Time.Compare))) {
		fail("commit times are %+v", s.Commit)
	}
}

func joined(list []string) string {
	var b bytes.Buffer
	for i, s := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s)
	}
	return b.String()
}

// sample is a primary of three files: the first ends with a ROTATE, the second with a STOP.
func sample(seed uint64, sizes ...int) *primary {
	p := new(primary)
	seq := uint64(1)
	var list []gtid.GTID
	for i := range 3 {
		l := binlogtest.New(7, binlogtest.Options{Seed: seed + uint64(i), Time: 1700000000 + uint32(i)})
		l.List(list...)
		l.Checkpoint(name(i))
		seq = l.Everything(0, seq)
		for _, n := range sizes {
			l.Time++
			l.Rows(binlogtest.G(1, 9, seq), n, 10)
			seq++
		}
		seq = l.Everything(0, seq)
		list = []gtid.GTID{binlogtest.G(0, 7, seq-1)}
		if len(sizes) > 0 {
			list = append(list, binlogtest.G(1, 9, lastOf(l, 1)))
		}
		switch i {
		case 0:
			l.Rotate(name(1))
		case 1:
			l.Stop()
		}
		p.add(name(i), l)
	}
	return p
}

func lastOf(l *binlogtest.Log, domain uint32) uint64 {
	var seq uint64
	for _, e := range l.Events {
		if e.Begin && e.GTID.Domain == domain {
			seq = e.GTID.Seq
		}
	}
	return seq
}

func name(i int) string { return fmt.Sprintf("binlog.%06d", i+1) }

// byGTID answers a request by GTID: the first events of the file come, and then what follows after.
func (p *primary) byGTID(r Resume, after gtid.GTID) *source {
	file, at := 0, uint64(4)
	for i, l := range p.logs {
		for j, e := range l.Events {
			if e.GTID == after && e.End {
				file, at = i, e.Offset+uint64(e.Size)
				if j+1 == len(l.Events) || l.Events[j+1].Type == binlog.TypeRotate {
					file, at = i+1, 4
				}
			}
		}
	}
	l := p.logs[file]
	data := p.dump(binlog.Point{File: p.names[file], Offset: 4})
	if at > 4 {
		head := binlogtest.Encode(binlog.TypeRotate, 7, 0, binlog.FlagArtificial, 0, binlogtest.RotateBody(4, p.names[file]), false)
		heads := 0 // until the first transaction
		for !l.Events[heads].Begin {
			heads++
		}
		head = append(head, l.Bytes()[4:l.Events[heads].Offset]...)
		rest := p.dump(binlog.Point{File: p.names[file], Offset: at})
		skip := binlog.HeaderSize + 8 + len(p.names[file]) + int(l.Events[0].Size)
		list := binlogtest.Encode(binlog.TypeMariaGTIDList, 7, 0, binlog.FlagArtificial, uint32(at), []byte{0, 0, 0, 0}, true)
		data = append(append(head, list...), rest[skip:]...)
	}
	s := &source{Scanner: binlog.NewScanner(&piecewise{data: data, n: 1 << 20, err: errEnd}, 1<<16), p: p}
	s.Lose(r.From)
	return s
}
