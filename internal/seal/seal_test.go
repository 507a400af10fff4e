package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
)

// text is n bytes that compress somewhat.
func text(rng *rand.Rand, n int) []byte {
	words := []string{"insert ", "into ", "orders ", "values ", "(17, 'x'); "}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[rng.IntN(len(words))])
		b.WriteByte(byte(rng.Uint32()))
	}
	return b.Bytes()[:n]
}

// sealed seals plain bytes into memory.
func sealed(t testing.TB, s *Sealer, plain io.Reader) ([]byte, Result) {
	t.Helper()
	var stored []byte
	r, err := s.Seal(context.Background(), plain, func(_ context.Context, r io.Reader) (err error) {
		stored, err = io.ReadAll(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored, r
}

func sealer(t testing.TB, o Options) *Sealer {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var opened atomic.Uint32

// threads are one or several, in turn.
func threads() int {
	if opened.Add(1)%3 == 0 {
		return 1
	}
	return 4
}

// unseal reads stored bytes to their end.
func unseal(stored io.Reader, r Result) ([]byte, error) {
	u, err := Open(stored, r.StoredBytes, r.StoredSHA256[:], nil, threads())
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return io.ReadAll(u)
}

// TestRoundTrip: what is sealed comes back, what is said of it is true, and a plain zstd decoder reads it.
func TestRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, o := range []Options{{}, {Threads: 4}, {SkipPlainHash: true}} {
		s := sealer(t, o)
		for _, n := range []int{0, 1, 4, 1000, 1 << 17, 9<<20 + 17} {
			plain := text(rng, n)
			var in io.Reader = bytes.NewReader(plain)
			if n < 2000 {
				in = iotest.OneByteReader(in)
			}
			stored, r := sealed(t, s, in)
			if r.PlainBytes != int64(n) || r.StoredBytes != int64(len(stored)) || r.StoredSHA256 != sha256.Sum256(stored) ||
				r.StoredCRC32C != crc32.Checksum(stored, crc32.MakeTable(crc32.Castagnoli)) {
				t.Errorf("seed %d, %d bytes: %+v", seed, n, r)
			}
			if want := sha256.Sum256(plain); o.SkipPlainHash != (r.PlainSHA256 != want) {
				t.Errorf("seed %d, %d bytes: plain hash is %x", seed, n, r.PlainSHA256)
			}
			for _, in := range []io.Reader{bytes.NewReader(stored), iotest.HalfReader(bytes.NewReader(stored)), iotest.DataErrReader(bytes.NewReader(stored))} {
				if got, err := unseal(in, r); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("seed %d, %d bytes: %d come back, %v", seed, n, len(got), err)
				}
			}
			d, err := zstd.NewReader(bytes.NewReader(stored))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: zstd reads %d, %v", n, len(got), err)
			}
			d.Close()
		}
	}
}

// TestDamaged: whatever happens to the stored bytes is found before io.EOF.
func TestDamaged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	s := sealer(t, Options{})
	plain := text(rng, 300_000)
	stored, r := sealed(t, s, bytes.NewReader(plain))
	other, _ := sealed(t, s, strings.NewReader("x"))
	short := r
	short.StoredBytes--
	wrong := r
	wrong.StoredSHA256[5] ^= 1
	for name, tt := range map[string]struct {
		stored []byte
		r      Result
	}{
		"empty":             {nil, r},
		"one byte":          {stored[:1], r},
		"another object":    {other, r},
		"trailing garbage":  {append(bytes.Clone(stored), "garbage"...), r},
		"trailing zeros":    {append(bytes.Clone(stored), make([]byte, 100)...), r},
		"trailing frame":    {append(bytes.Clone(stored), other...), r},
		"trailing skipped":  {append(bytes.Clone(stored), 0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9), r},
		"twice":             {append(bytes.Clone(stored), stored...), r},
		"size too small":    {stored, short},
		"other hash":        {stored, wrong},
		"not zstd at all":   {[]byte("hello, world, this is plain text"), r},
		"empty, as told":    {nil, Result{StoredBytes: 0, StoredSHA256: r.StoredSHA256}},
		"first half":        {stored[:len(stored)/2], r},
		"without last byte": {stored[:len(stored)-1], r},
	} {
		if got, err := unseal(bytes.NewReader(tt.stored), tt.r); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d bytes and %v", name, len(got), err)
		}
	}
	for range 300 {
		b := bytes.Clone(stored)
		at := rng.IntN(len(b))
		b[at] ^= 1 << rng.IntN(8)
		if _, err := unseal(bytes.NewReader(b), r); !errors.Is(err, ErrDamaged) {
			t.Errorf("seed %d: a flipped bit in byte %d gives %v", seed, at, err)
		}
		if _, err := unseal(bytes.NewReader(stored[:at]), r); !errors.Is(err, ErrDamaged) {
			t.Errorf("seed %d: cut to %d bytes gives %v", seed, at, err)
		}
	}
	// Once damaged, always: no second Read may end well.
	u, err := Open(bytes.NewReader(stored), r.StoredBytes, wrong.StoredSHA256[:], nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for range 3 {
		if _, err := io.ReadAll(u); !errors.Is(err, ErrDamaged) {
			t.Errorf("read again: %v", err)
		}
	}
}

// TestStorageFails: an error of the storage is not taken for damage.
func TestStorageFails(t *testing.T) {
	broken := errors.New("connection reset")
	stored, r := sealed(t, sealer(t, Options{}), bytes.NewReader(text(rand.New(rand.NewPCG(1, 1)), 100_000)))
	for _, n := range []int{0, 1, 10, len(stored) / 2, len(stored)} {
		for _, failure := range []error{broken, io.ErrUnexpectedEOF} {
			_, err := unseal(io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(failure)), r)
			if !errors.Is(err, failure) || errors.Is(err, ErrDamaged) {
				t.Errorf("%v after %d bytes: %v", failure, n, err)
			}
		}
	}
}

// TestSealFails: a reader or a store that fails ends Seal with its error, leaves nothing running, and
// the Sealer is as good as before.
func TestSealFails(t *testing.T) {
	broken := errors.New("broken")
	rng := rand.New(rand.NewPCG(1, 1))
	plain := text(rng, 5<<20)
	for _, threads := range []int{1, 3} {
		s := sealer(t, Options{Threads: threads})
		for name, tt := range map[string]struct {
			plain io.Reader
			store func(context.Context, io.Reader) error
			want  error
		}{
			"store fails at once":   {bytes.NewReader(plain), func(context.Context, io.Reader) error { return broken }, broken},
			"store fails midway":    {bytes.NewReader(plain), func(_ context.Context, r io.Reader) error { _, _ = io.CopyN(io.Discard, r, 1000); return broken }, broken},
			"store stops reading":   {bytes.NewReader(plain), func(_ context.Context, r io.Reader) error { _, _ = io.CopyN(io.Discard, r, 1000); return nil }, io.ErrClosedPipe},
			"store reads nothing":   {bytes.NewReader(plain), func(context.Context, io.Reader) error { return nil }, io.ErrClosedPipe},
			"reader fails at once":  {iotest.ErrReader(broken), func(_ context.Context, r io.Reader) error { _, err := io.ReadAll(r); return err }, broken},
			"reader fails midway":   {io.MultiReader(bytes.NewReader(plain[:3<<20]), iotest.ErrReader(broken)), func(_ context.Context, r io.Reader) error { _, err := io.ReadAll(r); return err }, broken},
			"the store says it is":  {iotest.ErrReader(broken), func(_ context.Context, r io.Reader) error { _, _ = io.ReadAll(r); return nil }, broken},
			"store fails after all": {bytes.NewReader(plain), func(_ context.Context, r io.Reader) error { _, _ = io.ReadAll(r); return broken }, broken},
		} {
			before := runtime.NumGoroutine()
			if r, err := s.Seal(context.Background(), tt.plain, tt.store); !errors.Is(err, tt.want) || r != (Result{}) {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			settle(t, name, before)
			stored, r := sealed(t, s, bytes.NewReader(plain[:100_000]))
			if got, err := unseal(bytes.NewReader(stored), r); err != nil || !bytes.Equal(got, plain[:100_000]) {
				t.Errorf("%s: then %d bytes come back, %v", name, len(got), err)
			}
		}
	}
}

// settle waits for goroutines to end.
func settle(t *testing.T, name string, before int) {
	t.Helper()
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: %d goroutines, %d before", name, runtime.NumGoroutine(), before)
}

// FuzzOpen: no bytes make a Reader panic or take much memory, and none end well.
func FuzzOpen(f *testing.F) {
	stored, r := sealed(f, sealer(f, Options{}), strings.NewReader("hello, hello, hello"))
	f.Add(stored)
	f.Add(stored[:5])
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := Open(bytes.NewReader(data), r.StoredBytes, r.StoredSHA256[:], nil, threads())
		if err != nil {
			return
		}
		defer u.Close()
		_, err = io.Copy(io.Discard, io.LimitReader(u, 64<<20))
		if sha256.Sum256(data) != r.StoredSHA256 && err == nil {
			if _, err := u.Read(make([]byte, 1)); err == io.EOF {
				t.Error("other bytes end well")
			}
		}
	})
}
