package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"tidemark/storage"
	"tidemark/storage/file"
)

const mib = 1 << 20

// counted counts the requests that are under way at once, and lets one fail.
type counted struct {
	storage.Store
	now, most, all atomic.Int32
	fail           int32
}

var errBroken = errors.New("connection reset")

func (c *counted) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := c.Store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	for n := c.now.Add(1); ; {
		if most := c.most.Load(); n <= most || c.most.CompareAndSwap(most, n) {
			break
		}
	}
	r := io.Reader(body)
	if c.all.Add(1) == c.fail {
		r = io.MultiReader(io.LimitReader(body, 1000), iotest.ErrReader(errBroken))
	}
	return &counting{r, body, c}, nil
}

type counting struct {
	io.Reader
	io.Closer
	c *counted
}

func (c *counting) Close() error { c.c.now.Add(-1); return c.Closer.Close() }

// TestAhead reads objects of all sizes in pieces, and gets their bytes.
func TestAhead(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	files, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 90*mib)
	for i := 0; i < len(data); i += 1000 {
		data[i] = byte(rng.Uint32())
	}
	read := func(c *counted, size int64) ([]byte, error) {
		r, err := storage.Ahead(t.Context(), c, "a", size)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		if cerr := r.Close(); cerr != nil {
			t.Error(cerr)
		}
		if n := c.now.Load(); n != 0 {
			t.Errorf("%d requests are left", n)
		}
		return b, err
	}
	for _, n := range []int{0, 1, 8*mib - 1, 8 * mib, 8*mib + 1, 16*mib - 1, 16 * mib, 16*mib + 1, 64*mib + rng.IntN(mib), 90 * mib} {
		if _, err := files.Upload(t.Context(), "a", bytes.NewReader(data[:n])); err != nil {
			t.Fatal(err)
		}
		c := &counted{Store: files}
		if b, err := read(c, int64(n)); err != nil || !bytes.Equal(b, data[:n]) {
			t.Errorf("seed %d: %d of %d bytes: %v", seed, len(b), n, err)
		}
		if most := c.most.Load(); most > 4 || n == 90*mib && most < 2 {
			t.Errorf("%d requests at once", most)
		}
		// The size is not what it should be: that shows.
		if b, err := read(c, int64(n)+1); err != nil || len(b) != n {
			t.Errorf("%d bytes of %d that should be one more: %v", len(b), n, err)
		}
		if b, err := read(c, int64(n)-1); n > 0 && (err != nil || len(b) != n) {
			t.Errorf("%d bytes of %d that should be one less: %v", len(b), n, err)
		}
	}
	for i := range 12 {
		c := &counted{Store: files, fail: int32(i + 1)}
		if b, err := read(c, 90*mib); !errors.Is(err, errBroken) || !bytes.HasPrefix(data, b) {
			t.Errorf("request %d fails: %d bytes, %v", i, len(b), err)
		}
	}
	if _, err := storage.Ahead(t.Context(), files, "missing", 90*mib); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("a missing object: %v", err)
	}
}

// TestAheadLeft: who stops reading leaves nothing behind, and a context that ends is no end of the object.
func TestAheadLeft(t *testing.T) {
	files, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Upload(t.Context(), "a", bytes.NewReader(make([]byte, 90*mib))); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, 1, 9 * mib, 70 * mib} {
		c := &counted{Store: files}
		ctx, cancel := context.WithCancel(t.Context())
		r, err := storage.Ahead(ctx, c, "a", 90*mib)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			t.Error(err)
		}
		cancel()
		if rest, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) && (err != nil || n+rest != 90*mib) {
			t.Errorf("cancelled behind %d bytes: %d more, %v", n, rest, err)
		}
		if err := errors.Join(r.Close(), settled(c)); err != nil {
			t.Error(err)
		}
	}
}

func settled(c *counted) error {
	if n := c.now.Load(); n != 0 {
		return fmt.Errorf("%d requests are left", n)
	}
	return nil
}
