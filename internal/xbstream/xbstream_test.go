package xbstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func chunk(typ byte, path string, flags byte) []byte {
	b := append([]byte(magic), flags, typ)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(path)))
	return append(b, path...)
}

func payload(path string, offset uint64, data string, flags ...byte) []byte {
	var fl, typ byte = 0, 'P'
	if len(flags) > 0 {
		fl = flags[0]
	}
	if fl&flagIgnorable != 0 {
		typ = 'Z'
	}
	b := binary.LittleEndian.AppendUint64(chunk(typ, path, fl), uint64(len(data)))
	b = binary.LittleEndian.AppendUint64(b, offset)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(data)))
	return append(b, data...)
}

func end(path string) []byte { return chunk('E', path, 0) }

func remove(path string) []byte { return chunk('D', path, 0) }

func rename(path, to string) []byte {
	return append(binary.LittleEndian.AppendUint32(chunk('R', path, 0), uint32(len(to))), to...)
}

func seek(path string, to uint64) []byte {
	return binary.LittleEndian.AppendUint64(chunk('S', path, 0), to)
}

func stream(chunks ...[]byte) []byte { return bytes.Join(chunks, nil) }

// inspect writes a stream in pieces of n bytes.
func inspect(i *Inspector, data []byte, n int) error {
	for len(data) > 0 {
		k := min(n, len(data))
		if _, err := i.Write(data[:k]); err != nil {
			return err
		}
		data = data[k:]
	}
	return i.Close()
}

func TestInspect(t *testing.T) {
	long := strings.Repeat("n", maxPath)
	for _, c := range []struct {
		name string
		data []byte
		want string // in the error; "" for none
	}{
		{"one", stream(payload("a", 0, "xx"), payload("a", 2, "yy"), end("a")), ""},
		{"empty file", end("d/a"), ""},
		{"interleaved", stream(payload("a", 0, "xx"), payload("d/b", 0, "y"), payload("a", 2, "z"), end("d/b"), end("a")), ""},
		{"empty payload", stream(payload("a", 0, ""), end("a")), ""},
		{"seek", stream(payload("a", 0, "xx"), seek("a", 100), payload("a", 100, "yy"), end("a")), ""},
		{"seek first", stream(seek("a", 100), payload("a", 100, "yy"), end("a")), ""},
		{"rename", stream(payload("a", 0, "xx"), end("a"), rename("a", "b"), payload("a", 0, "x"), end("a")), ""},
		{"remove", stream(end("a"), remove("a"), payload("a", 0, "x"), end("a")), ""},
		{"remove none", stream(end("a"), remove("b"), rename("c", "e")), ""},
		{"rewrite", stream(payload("a", 0, "xxyy"), end("a"), payload("a", 0, "zz", flagRewrite), payload("a", 2, "w", flagRewrite), end("a")), ""},
		{"ignorable", stream(payload("a", 0, "xx"), payload("a", 7, "?", flagIgnorable), payload("a", 2, "y"), end("a")), ""},
		{"long path", stream(payload(long, 0, "x"), end(long)), ""},
		{"dots", end("./a..b/..c"), ""},

		{"nothing", nil, "the stream is empty"},
		{"no end", payload("a", 0, "xx"), `file "a": the stream is cut off: 1 files have no end`},
		{"gap", stream(payload("a", 0, "xx"), payload("a", 3, "yy"), end("a")), `file "a": its bytes from 3 on`},
		{"overlap", stream(payload("a", 0, "xx"), payload("a", 1, "yy"), end("a")), `file "a": its bytes from 1 on`},
		{"begins late", payload("a", 1, "x"), `file "a": its bytes from 1 on`},
		{"seek back", stream(payload("a", 0, "xx"), seek("a", 1)), `file "a": it goes on at 1, before 2`},
		{"again", stream(end("a"), payload("a", 0, "x")), `file "a": it comes again`},
		{"end twice", stream(end("a"), end("a")), `file "a": it comes again`},
		{"renamed to", stream(end("a"), rename("a", "b"), payload("b", 0, "x")), `file "b": it comes again`},
		{"rename open", stream(payload("a", 0, "x"), rename("a", "b")), `file "a": it is renamed`},
		{"rename to open", stream(end("a"), payload("b", 0, "x"), rename("a", "b")), `file "a": it is renamed`},
		{"remove open", stream(payload("a", 0, "x"), remove("a")), `file "a": it is removed before its end`},
		{"checksum", bytes.Replace(payload("a", 0, "xyz"), []byte("xyz"), []byte("xyZ"), 1), `file "a": its bytes do not match`},
		{"checksum of nothing", stream(payload("a", 0, "")[:31], []byte{1, 0, 0, 0}), `file "a": its bytes do not match`},
		{"unknown type", chunk('Q', "a", 0), `file "a": the chunk has the unknown type 'Q'`},
		{"magic", []byte("XBSTCK02PP1234"), "byte 0: no chunk begins there"},
		{"long", chunk('E', long+"n", 0), "a path of 512 bytes"},
		{"no path", chunk('E', "", 0), "a path of 0 bytes"},
		{"absolute", end("/etc/passwd"), "leads out"},
		{"up", end("a/../../b"), "leads out"},
		{"rename up", rename("a", "../b"), "leads out"},
		{"huge", stream(chunk('P', "a", 0), []byte("\xff\xff\xff\xff\xff\xff\xff\xff12345678crc_")), "a payload of 18446744073709551615 bytes"},
		{"sparse info", seek("info", 3), `file "info": it has holes`},
		{"large info", payload("info", 0, strings.Repeat("x", MaxCapture+1)), `file "info": it is larger`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 3, 1 << 20} {
				i := NewInspector(Mbstream, "info")
				err := inspect(i, c.data, n)
				var damage *Error
				switch {
				case c.want == "" && err != nil:
					t.Errorf("in pieces of %d: %v", n, err)
				case c.want == "" && i.Bytes() != int64(len(c.data)):
					t.Errorf("in pieces of %d: %d of %d bytes counted", n, i.Bytes(), len(c.data))
				case c.want != "" && (!errors.As(err, &damage) || !strings.Contains(err.Error(), c.want)):
					t.Errorf("in pieces of %d: error %v, not %q", n, err, c.want)
				case c.want != "" && i.Close() == nil:
					t.Error("no error the second time")
				}
			}
		})
	}
}

func TestKept(t *testing.T) {
	i := NewInspector(Mbstream, "info", "open", "empty", "absent", "gone")
	data := stream(payload("info", 0, "one "), payload("other", 0, "x"), payload("open", 0, "half"), payload("info", 4, "two"),
		end("info"), end("other"), end("empty"), payload("gone", 0, "x"), end("gone"), remove("gone"))
	if _, err := i.Write(data); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"info": "one two", "empty": ""} {
		if got, ok := i.Kept(name); !ok || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"open", "absent", "other", "gone"} {
		if got, ok := i.Kept(name); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
	if i.Files() != 3 {
		t.Errorf("%d files", i.Files())
	}
	rewrite := stream(payload("info", 0, "three", flagRewrite), end("info"), end("open"))
	if _, err := i.Write(rewrite); err != nil {
		t.Fatal(err)
	}
	if got, _ := i.Kept("info"); string(got) != "three" {
		t.Errorf("rewritten: %q", got)
	}
}

// TestHeads: the first bytes of files are those that they have in the end, under the names that they have then.
func TestHeads(t *testing.T) {
	data := stream(payload("a", 0, "first", 0), payload("b", 0, "xy", 0), payload("a", 5, "more", 0), end("a"), end("b"),
		payload("c", 0, "third", 0), end("c"), payload("d", 0, "fourth", 0), end("d"),
		payload("a", 0, "again", flagRewrite), end("a"), remove("b"), rename("c", "e"))
	for size := range 12 {
		i := NewInspector(Mbstream)
		i.Head = func(path string) int {
			if path == "d" {
				return 0
			}
			return 3
		}
		if err := inspect(i, data, size+1); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"a": "aga", "e": "thi"}
		got := map[string]string{}
		for path, head := range i.Heads() {
			got[path] = string(head)
		}
		if !maps.Equal(got, want) {
			t.Errorf("written by %d bytes: %v, expected %v", size+1, got, want)
		}
	}
}

// TestHas: a file is there under its last name, and is known to have come again.
func TestHas(t *testing.T) {
	data := stream(payload("a", 0, "first", 0), payload("b", 0, "xy", 0), payload("a", 5, "more", 0), end("a"), end("b"),
		payload("c", 0, "third", flagRewrite), end("c"), payload("a", 0, "again", flagRewrite), end("a"), remove("b"), rename("c", "e"),
		payload("d", 0, "open", 0), end("empty"))
	for size := range 12 {
		i := NewInspector(Mbstream)
		content := map[string]string{}
		i.Content = func(path string, p []byte, at uint64) { content[path] = content[path][:at] + string(p) }
		for part := range slices.Chunk(data, size+1) {
			if _, err := i.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range map[string][2]bool{"a": {true, true}, "b": {}, "c": {}, "d": {}, "e": {true, true}, "empty": {true, false}, "f": {}} {
			if complete, again := i.Has(path); [2]bool{complete, again} != want {
				t.Errorf("written by %d bytes: %s is complete: %v, came again: %v", size+1, path, complete, again)
			}
		}
		if want := (map[string]string{"a": "again", "b": "xy", "c": "third", "d": "open"}); !maps.Equal(content, want) {
			t.Errorf("written by %d bytes: %v, expected %v", size+1, content, want)
		}
	}
}

// TestMissing: what a stream removes, and is wanted, has to come again.
func TestMissing(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"removed", stream(end("d/t.frm"), remove("d/t.frm")), "[d/t.frm]"},
		{"removed, not wanted", stream(end("d/t.ibd"), remove("d/t.ibd")), "[]"},
		{"came again", stream(end("d/t.frm"), remove("d/t.frm"), end("d/t.frm")), "[]"},
		{"renamed", stream(end("d/t.frm"), rename("d/t.frm", "d/u.frm")), "[d/t.frm]"},
		{"renamed to it", stream(end("d/t.frm"), remove("d/t.frm"), end("d/u"), rename("d/u", "d/t.frm")), "[]"},
		{"directory", stream(end("d/t.frm"), end("d/u.frm"), remove("d"), payload("d/u.frm", 0, "x", flagRewrite), end("d/u.frm")), "[d/t.frm]"},
	} {
		i := NewInspector(Mbstream)
		i.Removed = func(path string) []string {
			switch path {
			case "d":
				return []string{"d/t.frm", "d/u.frm"}
			case "d/t.frm":
				return []string{path}
			}
			return nil
		}
		if err := inspect(i, c.data, 7); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(i.Missing()); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
	}
}

// sample is a stream with everything in it, and the offsets at which its chunks begin.
func sample(r *rand.Rand) (data []byte, borders []int) {
	var chunks [][]byte
	for f := range 5 {
		name := fmt.Sprintf("d/t%d.ibd", f)
		at := uint64(0)
		for range 1 + r.IntN(4) {
			text := strings.Repeat(string(rune('a'+f)), r.IntN(300))
			chunks = append(chunks, payload(name, at, text))
			if at += uint64(len(text)); r.IntN(3) == 0 {
				at += uint64(r.IntN(1000))
				chunks = append(chunks, seek(name, at))
			}
		}
		chunks = append(chunks, end(name))
	}
	chunks = append(chunks, rename("d/t0.ibd", "d/u.ibd"), remove("d/t1.ibd"), payload("info", 0, "position"), end("info"))
	for _, c := range chunks {
		borders = append(borders, len(data))
		data = append(data, c...)
	}
	return data, borders
}

// TestTruncated cuts a stream everywhere. Only cuts between two files may pass Close, and never with
// the last file there.
func TestTruncated(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	data, borders := sample(r)
	if err := inspect(NewInspector(Mbstream, "info"), data, len(data)); err != nil {
		t.Fatalf("seed %d: whole: %v", seed, err)
	}
	border := map[int]bool{}
	for _, b := range borders {
		border[b] = true
	}
	for n := range data {
		i := NewInspector(Mbstream, "info")
		err := inspect(i, data[:n], 1+r.IntN(n+1))
		if err == nil && !border[n] {
			t.Fatalf("seed %d: cut inside a chunk, at %d of %d, and no error", seed, n, len(data))
		}
		if _, ok := i.Kept("info"); ok {
			t.Fatalf("seed %d: cut at %d, and the last file is whole", seed, n)
		}
		if err == nil && len(i.open) > 0 {
			t.Fatalf("seed %d: cut at %d, and a file is open", seed, n)
		}
	}
}

// TestFlipped flips every bit in turn. What is not found must have changed nothing but a name, an
// offset to seek to, a flag that changes nothing there, or the kind of a chunk that was the last of
// its file.
func TestFlipped(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	data, _ := sample(r)
	missed := map[string]int{}
	for bit := range 8 * len(data) {
		flipped := bytes.Clone(data)
		flipped[bit/8] ^= 1 << (bit % 8)
		i := NewInspector(Mbstream, "info")
		if err := inspect(i, flipped, 1+r.IntN(len(data))); err != nil {
			continue
		}
		what := field(data, bit/8)
		if missed[what]++; what == "payload" || what == "checksum" || what == "magic" || what == "length" || what == "offset" {
			t.Fatalf("seed %d: bit %d, of a %s, is flipped and nothing is found", seed, bit, what)
		}
	}
	t.Logf("seed %d: of %d flipped bits these change nothing that can be checked: %v", seed, 8*len(data), missed)
}

// field says what the byte at an offset of a valid stream belongs to.
func field(data []byte, at int) string {
	for {
		typ, n := data[9], int(binary.LittleEndian.Uint32(data[10:]))
		rest := data[fixedSize+n:]
		type part struct {
			name string
			size int
		}
		parts := []part{{"magic", 8}, {"flag", 1}, {"type", 1}, {"path length", 4}, {"path", n}}
		switch typ {
		case 'P':
			parts = append(parts, part{"length", 8}, part{"offset", 8}, part{"checksum", 4}, part{"payload", int(binary.LittleEndian.Uint64(rest))})
		case 'S':
			parts = append(parts, part{"seek", 8})
		case 'R':
			parts = append(parts, part{"path length", 4}, part{"path", int(binary.LittleEndian.Uint32(rest))})
		}
		size := 0
		for _, p := range parts {
			if size += p.size; at < size {
				return p.name
			}
		}
		data, at = data[size:], at-size
	}
}

// TestAgainstMbstream holds the verdict on made-up streams to that of the program that extracts them.
func TestAgainstMbstream(t *testing.T) {
	program, err := exec.LookPath("mbstream")
	if err != nil {
		if os.Getenv("TIDEMARK_MUST_RUN") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for k := range 40 {
		data, _ := sample(r)
		if k%2 == 1 {
			data = data[:r.IntN(len(data))]
		}
		if k%4 == 3 {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		cmd := exec.Command(program, "-x", "-C", t.TempDir())
		cmd.Stdin = bytes.NewReader(data)
		out, theirs := cmd.CombinedOutput()
		if ours := inspect(NewInspector(Mbstream), data, 100); ours == nil && (theirs != nil || len(out) > 0) {
			t.Errorf("seed %d, stream %d: we find nothing, mbstream: %v: %s", seed, k, theirs, out)
		}
	}
}

// TestMemory streams a gigabyte through.
func TestMemory(t *testing.T) {
	const chunks, size = 1024, 1 << 20
	body := strings.Repeat("x", size)
	i := NewInspector(Mbstream)
	begin := time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for k := range chunks {
		name := fmt.Sprintf("d/t%d.ibd", k/64)
		head := payload(name, uint64(k%64)*size, body)
		if k == 0 {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		if _, err := i.Write(head); err != nil {
			t.Fatal(err)
		}
		if k%64 == 63 {
			if _, err := i.Write(end(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d MiB in %s", i.Bytes()>>20, time.Since(begin))
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes of memory more than before", grown)
	}
}
