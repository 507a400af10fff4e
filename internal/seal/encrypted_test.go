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
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"tidemark/internal/keys"
)

// pair returns a recipient and its identity.
func pair(t testing.TB) (*keys.Recipients, *keys.Identities) {
	t.Helper()
	identity, recipient, err := keys.Generate(false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := keys.ParseRecipients([]string{recipient})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := keys.ParseIdentities("file", []byte(identity))
	if err != nil {
		t.Fatal(err)
	}
	return r, ids
}

func unsealWith(stored io.Reader, r Result, ids *keys.Identities) ([]byte, error) {
	u, err := Open(stored, r.StoredBytes, r.StoredSHA256[:], ids, threads())
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return io.ReadAll(u)
}

// TestEncrypted: what is sealed for a recipient comes back with its identity only, holds nothing in
// the clear, and is zstd in a file of age.
func TestEncrypted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	r, ids := pair(t)
	_, others := pair(t)
	for _, o := range []Options{{Recipients: r}, {Recipients: r, Threads: 4}} {
		s := sealer(t, o)
		if s.Suffix() != ".age" || sealer(t, Options{}).Suffix() != "" {
			t.Error("the suffix is wrong")
		}
		for _, n := range []int{0, 1, 1000, 1 << 16, 9<<20 + 17} {
			plain := text(rng, n)
			stored, res := sealed(t, s, bytes.NewReader(plain))
			if res.PlainBytes != int64(n) || res.StoredBytes != int64(len(stored)) || res.StoredSHA256 != sha256.Sum256(stored) ||
				res.StoredCRC32C != crc32.Checksum(stored, crc32.MakeTable(crc32.Castagnoli)) || res.PlainSHA256 != sha256.Sum256(plain) {
				t.Errorf("seed %d, %d bytes: %+v", seed, n, res)
			}
			for _, in := range []io.Reader{bytes.NewReader(stored), iotest.HalfReader(bytes.NewReader(stored)), iotest.DataErrReader(bytes.NewReader(stored))} {
				if got, err := unsealWith(in, res, ids); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("seed %d, %d bytes: %d come back, %v", seed, n, len(got), err)
				}
			}
			if _, err := unsealWith(bytes.NewReader(stored), res, others); !errors.Is(err, keys.ErrWrong) {
				t.Errorf("with another identity: %v", err)
			}
			if n >= 1000 && bytes.Contains(stored, plain[:20]) {
				t.Error("it is in the clear")
			}
			if got, err := io.ReadAll(Check(bytes.NewReader(stored), res.StoredBytes, res.StoredSHA256[:])); err != nil || !bytes.Equal(got, stored) {
				t.Errorf("as stored: %v", err)
			}
			age, err := ids.Decrypt(bytes.NewReader(stored))
			if err != nil {
				t.Fatal(err)
			}
			d, err := zstd.NewReader(age)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("age and zstd read %d of %d bytes, %v", len(got), n, err)
			}
			d.Close()
		}
	}
}

// TestEncryptedDamaged: whatever happens to the stored bytes is found before io.EOF; only what looks
// as if it were for somebody else may be called that. Failures of the storage are neither.
func TestEncryptedDamaged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	r, ids := pair(t)
	s := sealer(t, Options{Recipients: r})
	stored, res := sealed(t, s, bytes.NewReader(text(rng, 400_000)))
	other, _ := sealed(t, s, bytes.NewReader(text(rng, 100)))
	bare, bareRes := sealed(t, sealer(t, Options{}), bytes.NewReader(text(rng, 100)))
	for name, b := range map[string][]byte{"empty": nil, "another": other, "not encrypted": bare, "twice": append(bytes.Clone(stored), stored...),
		"longer": append(bytes.Clone(stored), 0)} {
		if _, err := unsealWith(bytes.NewReader(b), res, ids); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := io.ReadAll(Check(bytes.NewReader(b), res.StoredBytes, res.StoredSHA256[:])); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s, as stored: %v", name, err)
		}
	}
	if _, err := unsealWith(bytes.NewReader(bare), bareRes, ids); !errors.Is(err, ErrDamaged) {
		t.Errorf("not encrypted, and described so: %v", err)
	}
	for range 300 {
		b := bytes.Clone(stored)
		at := rng.IntN(len(b))
		if rng.IntN(3) == 0 {
			at = rng.IntN(300) // the header
		}
		b[at] ^= 1 << rng.IntN(8)
		if _, err := unsealWith(bytes.NewReader(b), res, ids); !errors.Is(err, ErrDamaged) && (!errors.Is(err, keys.ErrWrong) || at >= 300) {
			t.Errorf("seed %d: a flipped bit in byte %d gives %v", seed, at, err)
		}
		if _, err := unsealWith(bytes.NewReader(stored[:at]), res, ids); !errors.Is(err, ErrDamaged) {
			t.Errorf("seed %d: cut to %d bytes gives %v", seed, at, err)
		}
		broken := errors.New("connection reset")
		_, err := unsealWith(io.MultiReader(bytes.NewReader(stored[:at]), iotest.ErrReader(broken)), res, ids)
		if !errors.Is(err, broken) || errors.Is(err, ErrDamaged) || errors.Is(err, keys.ErrWrong) {
			t.Errorf("seed %d: a failure after %d bytes gives %v", seed, at, err)
		}
	}
}

// TestEncryptedSealFails: a reader or a store that fails ends Seal with its error and leaves nothing
// running.
func TestEncryptedSealFails(t *testing.T) {
	r, ids := pair(t)
	broken := errors.New("broken")
	plain := text(rand.New(rand.NewPCG(1, 1)), 5<<20)
	s := sealer(t, Options{Recipients: r})
	for name, tt := range map[string]struct {
		plain io.Reader
		store func(context.Context, io.Reader) error
		want  error
	}{
		"store fails at once":  {bytes.NewReader(plain), func(context.Context, io.Reader) error { return broken }, broken},
		"store fails midway":   {bytes.NewReader(plain), func(_ context.Context, r io.Reader) error { _, _ = io.CopyN(io.Discard, r, 1000); return broken }, broken},
		"store stops reading":  {bytes.NewReader(plain), func(_ context.Context, r io.Reader) error { _, _ = io.CopyN(io.Discard, r, 1000); return nil }, io.ErrClosedPipe},
		"reader fails midway":  {io.MultiReader(bytes.NewReader(plain[:3<<20]), iotest.ErrReader(broken)), func(_ context.Context, r io.Reader) error { _, err := io.ReadAll(r); return err }, broken},
		"the store says it is": {iotest.ErrReader(broken), func(_ context.Context, r io.Reader) error { _, _ = io.ReadAll(r); return nil }, broken},
	} {
		before := runtime.NumGoroutine()
		if got, err := s.Seal(context.Background(), tt.plain, tt.store); !errors.Is(err, tt.want) || got != (Result{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		settle(t, name, before)
		stored, res := sealed(t, s, bytes.NewReader(plain[:100_000]))
		if got, err := unsealWith(bytes.NewReader(stored), res, ids); err != nil || !bytes.Equal(got, plain[:100_000]) {
			t.Errorf("%s: then %d bytes come back, %v", name, len(got), err)
		}
	}
}
