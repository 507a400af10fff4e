package archiver

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// keeping returns the numbers of the segments that are kept, after it has read each to its end, and fails unless the
// spool holds these files and no others beside what is not archived.
func keeping(t testing.TB, a *Archiver) []uint64 {
	t.Helper()
	list, err := a.Kept(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var numbers []uint64
	var bytes int64
	for _, s := range list {
		r, err := a.OpenPlain(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if r.Close(); err != nil {
			t.Errorf("segment %s: %v", s.Name(), err)
		}
		bytes += n
		numbers = append(numbers, s.First)
	}
	if s := a.Stats(); s.KeptBytes != bytes {
		t.Errorf("%d bytes are kept, and %d said", bytes, s.KeptBytes)
	}
	names, err := a.o.FS.ReadDir(a.o.Dir, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), ".binlog") })
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	others := len(a.queue)
	if a.open != nil {
		others++
	}
	if len(names) != len(numbers)+others {
		t.Errorf("kept are %v, in the spool %v", numbers, names)
	}
	return numbers
}

// archived streams all there is and returns when it is archived.
func archived(t *testing.T, b *bench, p *primary) *running {
	t.Helper()
	a := b.mustOpen()
	r := run(a)
	if err := feed(a, p, 1<<20, 0); !errors.Is(err, errEnd) {
		t.Fatal(err)
	}
	until(t, "the sealed segments are archived", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.queue) == 0
	})
	return r
}

// TestKept: what is archived stays in the spool until it is compacted, across restarts and crashes.
func TestKept(t *testing.T) {
	p := sample(1, 3000, 9000)
	b := newBench(t)
	b.options.MaxSize, b.options.Keep = 5000, 1<<20
	r := archived(t, b, p)
	all := keeping(t, r.Archiver)
	if len(all) < 8 || all[0] != 1 || all[len(all)-1] != uint64(len(all)) {
		t.Fatalf("kept are %v", all)
	}
	if err := r.Forget(3); err != nil {
		t.Fatal(err)
	}
	if left := keeping(t, r.Archiver); len(left) != len(all)-3 || left[0] != 4 {
		t.Errorf("kept are %v", left)
	}
	list, err := r.Kept(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r.kill()
	a := b.mustOpen()
	if left := keeping(t, a); len(left) != len(all)-3 || left[0] != 4 {
		t.Errorf("after a crash, kept are %v", left)
	}
	// One is damaged, one is removed from outside.
	path := a.path(5, "binlog")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-5] ^= 1
	if err := errors.Join(os.WriteFile(path, data, 0o600), os.Remove(a.path(6, "binlog"))); err != nil {
		t.Fatal(err)
	}
	if r, err := a.OpenPlain(context.Background(), list[1]); err != nil {
		t.Error(err)
	} else if _, err := io.Copy(io.Discard, r); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged: %v", err)
	}
	if _, err := a.OpenPlain(context.Background(), list[2]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if err := a.Forget(6); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.options.Keep = 0
	a = b.mustOpen()
	if left := keeping(t, a); len(left) != 0 {
		t.Errorf("nothing is to be kept, and kept are %v", left)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.check(p, nil)
}

// TestKeptGoesFirst: what is kept goes when room is needed, and reading never waits for it.
func TestKeptGoesFirst(t *testing.T) {
	p := sample(1, 3000, 9000)
	b := newBench(t)
	b.options.MaxSize, b.options.Keep, b.options.MaxSpool = 5000, 1<<20, 30_000
	r := archived(t, b, p)
	left := keeping(t, r.Archiver)
	if s := r.Stats(); s.KeptBytes == 0 || s.KeptBytes+s.SpoolBytes > b.options.MaxSpool || len(left) > 6 || s.SpoolFull {
		t.Errorf("kept are %v, %d bytes", left, s.KeptBytes)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.options.Keep, b.options.MaxSpool = 4000, 1<<40
	a := b.mustOpen()
	for _, n := range keeping(t, a) {
		if i, err := os.Stat(a.path(n, "binlog")); err != nil || i.Size() > 4000 {
			t.Errorf("segment %d is kept: %v", n, err)
		}
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.check(p, nil)
}

// TestKeptEncrypted: beside an encrypted archive nothing plain is left by a shutdown; a crash leaves what it takes to go on.
func TestKeptEncrypted(t *testing.T) {
	_, recipient, err := keys.Generate(false)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.options.MaxSize, b.options.Keep = 5000, 1<<20
	if b.options.Recipients, err = keys.ParseRecipients([]string{recipient}); err != nil {
		t.Fatal(err)
	}
	r := archived(t, b, sample(1, 3000))
	all := keeping(t, r.Archiver)
	r.kill()
	a := b.mustOpen()
	if left := keeping(t, a); len(left) == 0 || len(left) != len(all) {
		t.Errorf("after a crash, kept are %v of %v", left, all)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if names, err := filepath.Glob(filepath.Join(a.o.Dir, "*.binlog")); err != nil || len(names) > 0 {
		t.Errorf("after a shutdown there are %v, %v", names, err)
	}
}
