package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"tidemark/internal/binlog"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/restore/archivetest"
)

// fed makes the feed of a plan.
func fed(t *testing.T, f *fixture, p *Plan, space int64) *feed {
	t.Helper()
	user, err := mysqld.ServerUser()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Options: Options{RelaySpace: space, FS: durable.OS{}}, c: f.Catalog, plan: p, user: user,
		work: &workspace{dir: t.TempDir()}}
	if err := os.Mkdir(r.work.stageDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	feed := r.newFeed(p.beginning(), p.start)
	feed.emptied.told <- nil
	return feed
}

// drain takes all batches and returns the source's bytes that they hold, in order.
func drain(t *testing.T, f *feed) (body []byte, batches int, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go f.run(ctx)
	for {
		b, err := f.next(ctx)
		if err != nil || b == nil {
			return body, batches, err
		}
		batches++
		if b.bytes > f.batchBytes && len(b.files) > 1 {
			t.Errorf("a batch of %d files has %d bytes of %d", len(b.files), b.bytes, f.batchBytes)
		}
		for _, s := range b.files {
			content, transactions := check(t, s)
			body = append(body, content...)
			if s.size > f.fileBytes && transactions > 1 {
				t.Errorf("a file of %d transactions has %d bytes of %d", transactions, s.size, f.fileBytes)
			}
			if err := os.Remove(s.path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// check reads a staged file as a server would: events that are whole and right, and no transaction
// cut in two. It returns the source's part of the file.
func check(t *testing.T, s staged) (body []byte, transactions int) {
	t.Helper()
	data, err := os.ReadFile(s.path)
	if err != nil || int64(len(data)) != s.size {
		t.Fatalf("%s has %d bytes, %d are noted, %v", s.path, len(data), s.size, err)
	}
	head, open := 4, false
	for at := 4; at < len(data); {
		h, err := binlog.ParseHeader(data[at:])
		end := at + int(h.Size)
		if err != nil || end > len(data) {
			t.Fatalf("%s: event at %d of %d bytes, of which %d are there, %v", s.path, at, h.Size, len(data)-at, err)
		}
		if sum := crc32.ChecksumIEEE(data[at : end-4]); sum != binary.LittleEndian.Uint32(data[end-4:]) {
			t.Fatalf("%s: event at %d has a wrong checksum", s.path, at)
		}
		switch {
		case (at == 4) != (h.Type == binlog.TypeFormatDescription):
			t.Fatalf("%s: event of type %d at %d", s.path, h.Type, at)
		case at == 4 && h.LogPos == 0:
			head = end // a copy of the source's
		case h.Type == binlog.TypeMariaGTID:
			open = true
		case h.Type == binlog.TypeXID:
			open = false
			transactions++
		}
		at = end
	}
	if open {
		t.Errorf("%s ends inside a transaction", s.path)
	}
	return data[head:], transactions
}

func TestFeedIsTheLog(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 12 {
		f := newFixture(t)
		var files [][]byte
		var names []string
		n := 20 + rng.IntN(60)
		for i := range n {
			pad := rng.IntN(3000)
			if rng.IntN(10) == 0 {
				pad = rng.IntN(200_000)
			}
			f.seq[0]++
			g := gtid.GTID{Server: 1, Seq: f.seq[0]}
			f.at[g.String()] = f.log.Offset()
			f.log.Change(g, after(i), "d", "t", pad)
			f.end[g.String()] = f.log.Offset()
			if rng.IntN(15) == 0 || i == n-1 {
				next := fmt.Sprintf("binlog.%06d", len(files)+2)
				f.log.Rotate(after(i), next)
				f.flush(archivetest.Cut{Every: 1 + rng.IntN(60_000)})
				files, names = append(files, bytes.Clone(f.log.Bytes())), append(names, f.name)
				f.file(next, after(i))
			}
		}
		f.Head(after(n))
		base := 1 + rng.IntN(5)
		where := func(seq int) (file int) { // the file in which a transaction lies
			for i := range files {
				if c := bytes.Count(files[i], []byte("\x01d\x00\x01t\x00")); seq > c {
					seq -= c
				} else {
					return i
				}
			}
			return len(files) - 1
		}
		id := fmt.Sprintf("0-1-%d", base)
		f.base("b1", names[where(base)], f.end[id], id, base)
		stop := base + rng.IntN(n-base+1)
		target := fmt.Sprintf("0-1-%d", stop)
		p := f.reach(must(t)(ToGTID(target)), target)

		var want []byte
		for i := where(base); i <= where(stop); i++ {
			from, to := uint64(4), uint64(len(files[i]))
			if i == where(base) {
				from = f.end[id]
			}
			if i == where(stop) {
				to = f.end[target]
			}
			want = append(want, files[i][from:to]...)
		}
		fd := fed(t, f, p, int64(64<<10+rng.IntN(2<<20)))
		got, batches, err := drain(t, fd)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("seed %d: from %s to %s: %d bytes in %d batches, %d expected, %v", seed, id, target, len(got), batches, len(want), err)
		}
		if fd.applied != p.Transactions || !fd.pos.Equal(p.position) || int64(len(want)) != p.LogBytes {
			t.Errorf("seed %d: %d transactions to %s, planned %d to %s", seed, fd.applied, fd.pos, p.Transactions, p.position)
		}
	}
}

func TestFeedRefusesDamage(t *testing.T) {
	f := simple(t)
	p := f.reach(ToLatest(), "0-1-10")
	key := f.Segments[10].Stored.Key
	path := filepath.Join(f.dir, key)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := drain(t, fed(t, f, p, 1<<20))
		if !fault.Is(err, fault.Integrity) || !bytes.Contains([]byte(err.Error()), []byte(key)) {
			t.Fatalf("byte %d of %s changed: %v", i, key, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := drain(t, fed(t, f, p, 1<<20)); !fault.Is(err, fault.Integrity) {
		t.Errorf("%s is missing: %v", key, err)
	}
}

// TestFeedFollowsCompaction plans with segments that are gone when they are read.
func TestFeedFollowsCompaction(t *testing.T) {
	f := simple(t)
	p := f.reach(ToLatest(), "0-1-10")
	want, _, err := drain(t, fed(t, f, p, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	old := f.Segments[2:9]
	var keys []string
	for _, s := range old {
		keys = append(keys, s.Stored.Key)
	}
	f.Compact(2, 9)
	for _, key := range keys {
		if err := os.Remove(filepath.Join(f.dir, key)); err != nil {
			t.Fatal(err)
		}
	}
	got, _, err := drain(t, fed(t, f, p, 1<<20))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %d before compaction, %v", len(got), len(want), err)
	}
}

func TestFeedStopsWithItsContext(t *testing.T) {
	f := simple(t)
	p := f.reach(ToLatest(), "0-1-10")
	fd := fed(t, f, p, 1<<20)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { fd.run(ctx); close(done) }()
	cancel()
	<-done // nobody takes its batch
	if b, err := fd.next(context.Background()); b != nil || !fault.Is(err, fault.Interrupted) {
		t.Errorf("after its end the feed gives %v, %v", b, err)
	}
}

func TestDone(t *testing.T) {
	b := &batch{files: []staged{
		{path: "/x/relay.000003", marks: []mark{{100, 11}, {200, 12}}},
		{path: "/x/relay.000004", marks: []mark{{100, 13}}},
	}}
	for _, c := range []struct {
		file, pos string
		want      uint64
	}{
		{"relay.000002", "900", 0}, {"relay.000003", "99", 0}, {"relay.000003", "150", 11}, {"relay.000003", "200", 12},
		{"relay.000004", "4", 12}, {"relay.000004", "100", 13}, {"relay.000005", "4", 13}, {"", "", 0},
	} {
		if got := done(b, c.file, c.pos); got != c.want {
			t.Errorf("at %s:%s %d are done, want %d", c.file, c.pos, got, c.want)
		}
	}
}
