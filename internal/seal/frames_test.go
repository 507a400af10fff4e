package seal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
)

// TestFrames reads rows of frames of all kinds, by one thread and by several.
func TestFrames(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	small, large := text(rng, 3*frameSize+5), text(rng, largestFrame+1)
	stream, frames := sealer(t, Options{}), sealer(t, Options{Threads: 3})
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	cat := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	of := func(s *Sealer, plain []byte) []byte { b, _ := sealed(t, s, bytes.NewReader(plain)); return b }
	skipped := []byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	for name, c := range map[string]struct{ stored, plain []byte }{
		"frames":           {of(frames, small), small},
		"a stream":         {of(stream, small), small},
		"frames, a stream": {cat(of(frames, small), of(stream, small)), cat(small, small)},
		"stream, frames":   {cat(of(stream, small), of(frames, small)), cat(small, small)},
		"a large frame":    {cat(of(frames, small), enc.EncodeAll(large, nil), of(frames, small)), cat(small, large, small)},
		"something else":   {cat(of(frames, small), skipped, of(frames, small)), cat(small, small)},
		"zeroes":           {of(frames, make([]byte, 9<<20)), make([]byte, 9<<20)},
		"nothing":          {nil, nil},
	} {
		sum := sha256.Sum256(c.stored)
		for _, threads := range []int{1, 4} {
			for how, in := range map[string]io.Reader{"whole": bytes.NewReader(c.stored), "half": iotest.HalfReader(bytes.NewReader(c.stored)),
				"with its end": iotest.DataErrReader(bytes.NewReader(c.stored))} {
				r, err := Open(in, int64(len(c.stored)), sum[:], nil, threads)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, c.plain) {
					t.Errorf("seed %d, %s, %d threads, %s: %d of %d bytes, %v", seed, name, threads, how, len(got), len(c.plain), err)
				}
				r.Close()
			}
			if len(c.stored) == 0 {
				continue
			}
			cut := rng.IntN(len(c.stored))
			r, err := Open(bytes.NewReader(c.stored[:cut]), int64(len(c.stored)), sum[:], nil, threads)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); !errors.Is(err, ErrDamaged) || !bytes.HasPrefix(c.plain, got) {
				t.Errorf("seed %d, %s, %d threads: cut to %d, %d bytes, %v", seed, name, threads, cut, len(got), err)
			}
			r.Close()
		}
		if out, err := unzstd(c.stored); err != nil || !bytes.Equal(out, c.plain) {
			t.Errorf("%s: zstd reads %d of %d bytes, %v", name, len(out), len(c.plain), err)
		}
	}
}

// unzstd decompresses with the standard tool.
func unzstd(stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	cmd := exec.Command("zstd", "-dc")
	cmd.Stdin = bytes.NewReader(stored)
	return cmd.Output()
}

// TestFramesBomb: frames that grow, or that say less than they hold, take no more memory than others.
func TestFramesBomb(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := enc.EncodeAll(make([]byte, 1<<20), nil)
	var h zstd.Header
	if err := h.Decode(frame); err != nil || !h.HasFCS {
		t.Fatal(h, err)
	}
	lies := bytes.Clone(frame)
	at := bytes.Index(lies[:h.HeaderSize], []byte{0, 0, 0x10, 0})
	if at < 0 {
		t.Fatalf("% x", lies[:h.HeaderSize])
	}
	lies[at+2] = 0x01 // 64 KiB
	sum := sha256.Sum256(lies)
	r, err := Open(bytes.NewReader(lies), int64(len(lies)), sum[:], nil, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, ErrDamaged) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
