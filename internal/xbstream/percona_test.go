package xbstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"tidemark/internal/durable"
	"tidemark/internal/durable/durabletest"
	"tidemark/internal/fault"
)

// sparse is a chunk of a file with holes; each entry is how much to skip, and how much then follows.
func sparse(path string, offset uint64, data string, entries ...[2]uint32) []byte {
	var list []byte
	for _, e := range entries {
		list = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(list, e[0]), e[1])
	}
	b := binary.LittleEndian.AppendUint32(chunk('S', path, 0), uint32(len(entries)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	b = binary.LittleEndian.AppendUint64(b, offset)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(append(list, data...)))
	return append(append(b, list...), data...)
}

func TestInspectXbstream(t *testing.T) {
	sized := func(entries uint32) []byte {
		return append(binary.LittleEndian.AppendUint32(chunk('S', "a", 0), entries), make([]byte, 60)...)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string // in the error; "" for none
	}{
		{"one", stream(payload("a", 0, "xx"), payload("a", 2, "yy"), end("a")), ""},
		{"interleaved", stream(payload("a", 0, "xx"), sparse("d/b", 0, "y", [2]uint32{10, 1}), payload("a", 2, "z"), payload("d/b", 11, "y"), end("d/b"), end("a")), ""},
		{"sparse", stream(payload("a", 0, "xx"), sparse("a", 2, "yyz", [2]uint32{10, 2}, [2]uint32{0, 1}, [2]uint32{5, 0}), payload("a", 20, "u"), end("a")), ""},
		{"nothing but a hole", stream(sparse("a", 0, "", [2]uint32{1 << 20, 0}), end("a")), ""},
		{"ignorable", stream(payload("a", 0, "xx"), payload("a", 7, "?", flagIgnorable), payload("a", 2, "y"), end("a")), ""},

		{"cut in the entries", sparse("a", 0, "yyz", [2]uint32{10, 2}, [2]uint32{3, 1})[:45], `file "a": the stream is cut off inside a chunk`},
		{"entry", replaced(sparse("a", 0, "yy", [2]uint32{10, 2}), 39, 11), `file "a": its bytes do not match`},
		{"payload", replaced(sparse("a", 0, "yy", [2]uint32{10, 2}), 48, 'z'), `file "a": its bytes do not match`},
		{"entries for more", sparse("a", 0, "yy", [2]uint32{10, 3}), `file "a": its entries are for 3 bytes, and it has 2`},
		{"entries for less", sparse("a", 0, "yy", [2]uint32{10, 1}), `file "a": its entries are for 1 bytes, and it has 2`},
		{"no entries", sparse("a", 0, ""), `file "a": a sparse chunk of 0 entries`},
		{"many entries", sized(maxEntries + 1), `file "a": a sparse chunk of 131073 entries`},
		{"gap behind a hole", stream(sparse("a", 0, "y", [2]uint32{10, 1}), payload("a", 1, "x")), `its bytes from 1 on follow where those from 11 on are due`},
		{"overlap of a hole", stream(payload("a", 0, "xx"), sparse("a", 1, "y", [2]uint32{10, 1})), `its bytes from 1 on follow where those from 2 on are due`},
		{"sparse info", sparse("info", 0, "y", [2]uint32{10, 1}), `file "info": it has holes`},
		{"again", stream(end("a"), payload("a", 0, "x")), `file "a": it comes again`},
		{"rewrite is MariaDB's", stream(end("a"), payload("a", 0, "x", flagRewrite)), `file "a": it comes again`},
		{"rename is MariaDB's", stream(end("a"), rename("a", "b")), `file "a": the chunk has the unknown type 'R'`},
		{"remove is MariaDB's", stream(end("a"), remove("a")), `file "a": the chunk has the unknown type 'D'`},
		{"seek is MariaDB's", stream(seek("a", 1<<32), payload("a", 100, "yy"), end("a")), `a sparse chunk of 0 entries`},
		{"magic", []byte("XBSTCK02PP1234"), "damaged xbstream at byte 0: no chunk begins there"},
		{"up", sparse("../a", 0, "y", [2]uint32{10, 1}), "leads out"},
		{"absolute", payload("/etc/passwd", 0, "x"), "leads out"},
		{"no end", sparse("a", 0, "xx", [2]uint32{0, 2}), `file "a": the stream is cut off: 1 files have no end`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 3, 1 << 20} {
				err := inspect(NewInspector(Xbstream, "info"), c.data, n)
				var damage *Error
				switch {
				case c.want == "" && err != nil:
					t.Errorf("in pieces of %d: %v", n, err)
				case c.want != "" && (!errors.As(err, &damage) || !strings.Contains(err.Error(), c.want)):
					t.Errorf("in pieces of %d: error %v, not %q", n, err, c.want)
				}
			}
		})
	}
}

func replaced(b []byte, at int, by byte) []byte {
	b[at] = by
	return b
}

// sparseSample is a stream of several interleaved files, with what they hold, and where its chunks begin.
func sparseSample(r *rand.Rand) (data []byte, files map[string]string, borders []int) {
	files = map[string]string{"xtrabackup_logfile": "", "ibdata1": "", "d/a.ibd": "", "d/b.ibd": "", "e/f/c.ibd": ""}
	open := []string{"ibdata1", "d/a.ibd", "d/b.ibd", "e/f/c.ibd", "xtrabackup_logfile"}
	emit := func(b []byte) { borders, data = append(borders, len(data)), append(data, b...) }
	for len(open) > 0 {
		k := r.IntN(len(open))
		name := open[k]
		at := uint64(len(files[name]))
		text := strings.Repeat(string(rune('a'+k)), r.IntN(200))
		switch r.IntN(4) {
		case 0:
			emit(end(name))
			open = append(open[:k], open[k+1:]...)
		case 1:
			emit(payload(name, at, text))
			files[name] += text
		default:
			var entries [][2]uint32
			for rest := text; len(rest) > 0 || r.IntN(3) > 0; {
				skip, n := r.IntN(100), r.IntN(len(rest)+1)
				entries = append(entries, [2]uint32{uint32(skip), uint32(n)})
				files[name] += strings.Repeat("\x00", skip) + rest[:n]
				rest = rest[n:]
			}
			if entries == nil {
				entries = [][2]uint32{{0, 0}}
			}
			emit(sparse(name, at, text, entries...))
		}
	}
	return data, files, borders
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

func TestExtract(t *testing.T) {
	r := seeded(t)
	for range 50 {
		data, files, _ := sparseSample(r)
		dir := t.TempDir()
		in := iotest.OneByteReader(bytes.NewReader(data))
		if r.IntN(2) == 0 {
			in = bytes.NewReader(data)
		}
		n, err := Extract(context.Background(), in, dir, durable.OS{})
		if err != nil || n != len(files) {
			t.Fatalf("%d files, %v", n, err)
		}
		for name, want := range files {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || string(got) != want {
				t.Fatalf("%s: %v\n%q, not\n%q", name, err, got, want)
			}
		}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if rel, _ := filepath.Rel(dir, path); err == nil && !d.IsDir() {
				if _, ok := files[rel]; !ok {
					err = fmt.Errorf("%s is there too", rel)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestExtractDamaged cuts a stream everywhere, and flips a bit in every byte. What is not found has
// changed a name, the kind of a chunk that was the last of its file, or flags that change nothing.
func TestExtractDamaged(t *testing.T) {
	r := seeded(t)
	data, files, borders := sparseSample(r)
	border := map[int]bool{}
	for _, b := range borders {
		border[b] = true
	}
	for n := range data {
		err := inspect(NewInspector(Xbstream), data[:n], 1+r.IntN(n+1))
		if err == nil && !border[n] {
			t.Fatalf("cut inside a chunk, at %d of %d, and no error", n, len(data))
		}
	}
	missed := map[string]int{}
	for at := range data {
		flipped := bytes.Clone(data)
		flipped[at] ^= 1 << r.IntN(8)
		err := inspect(NewInspector(Xbstream), flipped, 1+r.IntN(len(data)))
		if err != nil {
			continue
		}
		what := sparseField(data, at)
		if missed[what]++; what != "flag" && what != "type" && what != "path" && what != "path length" {
			t.Fatalf("a bit of byte %d, of a %s, is flipped and nothing is found", at, what)
		}
		// What passes is laid out as it says, and no file is anywhere else.
		dir := t.TempDir()
		if n, err := Extract(context.Background(), bytes.NewReader(flipped), dir, durable.OS{}); err == nil && n < len(files)-1 {
			t.Fatalf("byte %d, of a %s: %d files of %d", at, what, n, len(files))
		}
	}
	t.Logf("of %d bytes flipped these change nothing that can be checked: %v", len(data), missed)
}

// sparseField says what the byte at an offset of a valid stream belongs to.
func sparseField(data []byte, at int) string {
	for {
		typ, n := data[9], int(binary.LittleEndian.Uint32(data[10:]))
		rest := data[fixedSize+n:]
		names, sizes := []string{"magic", "flag", "type", "path length", "path"}, []int{8, 1, 1, 4, n}
		entries := 0
		if typ == 'S' {
			entries = int(binary.LittleEndian.Uint32(rest))
			rest = rest[4:]
			names, sizes = append(names, "number of entries"), append(sizes, 4)
		}
		if typ != 'E' {
			names = append(names, "length", "offset", "checksum", "entry", "payload")
			sizes = append(sizes, 8, 8, 4, entries*entrySize, int(binary.LittleEndian.Uint64(rest)))
		}
		size := 0
		for k, s := range sizes {
			if size += s; at < size {
				return names[k]
			}
		}
		data, at = data[size:], at-size
	}
}

func TestExtractFails(t *testing.T) {
	whole := stream(payload("d/a", 0, "xx"), end("d/a"), end("b"))
	for name, c := range map[string]struct {
		data []byte
		kind fault.Kind
		want string
	}{
		"damaged":      {replaced(bytes.Clone(whole), 38, 'y'), fault.Integrity, "do not match"},
		"cut off":      {whole[:50], fault.Integrity, "cut off"},
		"out of it":    {stream(payload("d/../../x", 0, "xx"), end("d/../../x")), fault.Integrity, "leads out"},
		"twice a file": {stream(end("d/a"), end("d//a")), fault.Other, "exists"},
		"a file's":     {stream(end("d"), end("d/a")), fault.Other, "not a directory"},
		"there":        {stream(end("there")), fault.Other, "exists"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "data")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "there"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Extract(context.Background(), bytes.NewReader(c.data), dir, durable.OS{})
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("kind %s: %v", fault.KindOf(err), err)
			}
			if entries, _ := os.ReadDir(parent); len(entries) != 1 {
				t.Errorf("beside the directory: %v", entries)
			}
			if mine, _ := os.ReadFile(filepath.Join(dir, "there")); string(mine) != "mine" {
				t.Errorf("what was there is %q", mine)
			}
		})
	}
	broken := errors.New("the archive is gone")
	if _, err := Extract(context.Background(), io.MultiReader(bytes.NewReader(whole[:40]), iotest.ErrReader(broken)), t.TempDir(), durable.OS{}); !errors.Is(err, broken) || fault.Is(err, fault.Integrity) {
		t.Errorf("the reader failed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Extract(ctx, bytes.NewReader(whole), t.TempDir(), durable.OS{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestExtractDisk fails every step of the disk in turn: each is said, none is taken for damage, and
// every file was synced.
func TestExtractDisk(t *testing.T) {
	data, files, _ := sparseSample(seeded(t))
	fsys := durabletest.New(durable.OS{}, nil)
	if _, err := Extract(context.Background(), bytes.NewReader(data), t.TempDir(), fsys); err != nil {
		t.Fatal(err)
	}
	if log := strings.Join(fsys.Log(), "\n"); strings.Count(log, "sync ") != len(files) {
		t.Errorf("%d files, and what was done:\n%s", len(files), log)
	}
	broken := errors.New("the disk is bad")
	for n := range fsys.Log() {
		k := 0
		faulty := durabletest.New(durable.OS{}, func(string, string) error {
			if k++; k == n+1 {
				return broken
			}
			return nil
		})
		_, err := Extract(context.Background(), bytes.NewReader(data), t.TempDir(), faulty)
		if !errors.Is(err, broken) || fault.Is(err, fault.Integrity) {
			t.Fatalf("step %d, %s: %v", n, fsys.Log()[n], err)
		}
	}
}
