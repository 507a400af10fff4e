package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/internal/fault"
	"tidemark/storage"
)

// fakeClock goes on at once when it is waited for, and remembers for how long.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	waits []time.Duration
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.waits = c.now.Add(d), append(c.waits, d)
	at := make(chan time.Time, 1)
	at <- c.now
	return at
}

var passing = storage.Fail("try", "k", storage.Passing, errors.New("503"))

// TestBackoff: waits are bounded, random, and as many as tries less one.
func TestBackoff(t *testing.T) {
	most := make([]time.Duration, 6)
	for range 200 {
		c := new(fakeClock)
		b := storage.Backoff{Attempts: 7, First: 100 * time.Millisecond, Most: time.Second, Clock: c}
		tries := 0
		if err := b.Do(t.Context(), func() error { tries++; return passing }); err != passing || tries != 7 || len(c.waits) != 6 {
			t.Fatalf("%v after %d tries and waits %v", err, tries, c.waits)
		}
		for i, d := range c.waits {
			most[i] = max(most[i], d)
			if bound := min(100*time.Millisecond<<i, time.Second); d > bound || d < 0 {
				t.Fatalf("wait %d was %v, bound %v", i, d, bound)
			}
		}
	}
	for i, d := range most {
		if bound := min(100*time.Millisecond<<i, time.Second); d < bound/2 {
			t.Errorf("of 200 waits none was longer than %v, where they may be %v", d, bound)
		}
	}
}

// TestPermanent: only what a driver calls passing is tried again.
func TestPermanent(t *testing.T) {
	for reason := storage.Refused; reason <= storage.Unordered; reason++ {
		err := fmt.Errorf("do: %w", storage.Fail("put", "k", reason, errors.New("x")))
		if got := storage.Permanent(err); got != (reason != storage.Passing) {
			t.Errorf("reason %d: %v", reason, got)
		}
		if fault.HintOf(err) == "" || !fault.Is(err, fault.Storage) {
			t.Errorf("reason %d has no hint", reason)
		}
	}
	for _, err := range []error{errors.New("x"), context.Canceled, context.DeadlineExceeded, storage.ErrExist, storage.ErrNotExist, io.ErrUnexpectedEOF} {
		if !storage.Permanent(err) {
			t.Errorf("%v is tried again", err)
		}
	}
}

// TestRetry fails each operation twice, before and after it is done.
func TestRetry(t *testing.T) {
	for _, late := range []bool{false, true} {
		left := map[string]int{}
		under := open(t)
		s := storage.Retry(storage.Faulty(under, func(op, _ string) error {
			if left[op]++; left[op] > 2 {
				return nil
			}
			if late {
				return storage.After(passing)
			}
			return passing
		}), storage.Backoff{Attempts: 8, First: 1, Most: 1, Clock: new(fakeClock)})
		ctx := t.Context()
		for _, key := range []string{"a", "b", "c"} {
			clear(left)
			if err := s.Put(ctx, key, []byte("of "+key), true); err != nil {
				t.Errorf("late %v: put %s: %v", late, key, err)
			}
			if err := s.Put(ctx, key, []byte("of "+key), true); !errors.Is(err, storage.ErrExist) {
				t.Errorf("late %v: put %s again: %v", late, key, err)
			}
			if _, err := s.Stat(ctx, key); err != nil {
				t.Error(err)
			}
			if got, err := storage.ReadAll(ctx, s, key, 10); err != nil || string(got) != "of "+key {
				t.Errorf("late %v: read %q, %v", late, got, err)
			}
		}
		clear(left)
		if got, err := list(ctx, s, ""); err != nil || !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("late %v: listed %q, %v", late, got, err)
		}
		clear(left)
		if err := s.Delete(ctx, "a"); err != nil {
			t.Error(err)
		}
		clear(left)
		if n, err := s.Upload(ctx, "u", strings.NewReader("x")); !errors.Is(err, passing) || n != 0 {
			t.Errorf("late %v: an upload was tried again: %d, %v", late, n, err)
		}
	}
}

// TestLostReply: a put whose outcome is unknown and that then finds the key taken has won if it finds
// its own bytes, and lost if it finds others.
func TestLostReply(t *testing.T) {
	for _, tt := range []struct {
		there string
		lost  bool
		want  error
	}{
		{"ours", true, nil}, {"ours", false, storage.ErrExist},
		{"their", true, storage.ErrExist}, {"ours and more", true, storage.ErrExist}, {"", true, storage.ErrExist},
	} {
		under := open(t)
		if err := under.Put(t.Context(), "k", []byte(tt.there), true); err != nil {
			t.Fatal(err)
		}
		first := tt.lost
		s := storage.Retry(storage.Faulty(under, func(op, _ string) error {
			if op == "put" && first {
				first = false
				return passing
			}
			return nil
		}), storage.Backoff{Attempts: 3, First: 1, Most: 1, Clock: new(fakeClock)})
		if err := s.Put(t.Context(), "k", []byte("ours"), true); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// abrupt is a store of which each read breaks once, and gives bytes with the error, as what comes over a network does.
type abrupt struct{ storage.Store }

func (s abrupt) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.Store.Get(ctx, key, offset, length)
	return &abruptReader{ReadCloser: r}, err
}

type abruptReader struct {
	io.ReadCloser
	reads int
}

func (r *abruptReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.reads++; err == nil && r.reads == 2 {
		err = passing
	}
	return n, err
}

// TestReadGoesOnBehindBytes: what comes together with an error is not read again.
func TestReadGoesOnBehindBytes(t *testing.T) {
	under := open(t)
	const data = "0123456789"
	if err := under.Put(t.Context(), "k", []byte(data), true); err != nil {
		t.Fatal(err)
	}
	s := storage.Retry(abrupt{under}, storage.Backoff{Attempts: 3, First: 1, Most: 1, Clock: new(fakeClock)})
	for size := 1; size < 5; size++ {
		r, err := s.Get(t.Context(), "k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for p := make([]byte, size); err == nil; {
			var n int
			n, err = r.Read(p)
			got = append(got, p[:n]...)
		}
		if err != io.EOF || string(got) != data || r.Close() != nil {
			t.Errorf("%d bytes at a time: %q, %v", size, got, err)
		}
	}
}

// TestReadGoesOn: a read that breaks goes on where it was, whatever range was asked for, and breaks for
// good when it breaks too often without a byte.
func TestReadGoesOn(t *testing.T) {
	under := open(t)
	const data = "0123456789"
	if err := under.Put(t.Context(), "k", []byte(data), true); err != nil {
		t.Fatal(err)
	}
	reads, every := 0, 2
	s := storage.Retry(storage.Faulty(under, func(op, _ string) error {
		if op == "read" {
			if reads++; reads%every == 0 {
				return passing
			}
		}
		return nil
	}), storage.Backoff{Attempts: 3, First: 1, Most: 1, Clock: new(fakeClock)})
	for offset := range int64(12) {
		for length := int64(-1); length < 12; length++ {
			want := data[min(offset, 10):]
			if length >= 0 {
				want = want[:min(length, int64(len(want)))]
			}
			r, err := s.Get(t.Context(), "k", offset, length)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for p := make([]byte, 3); err == nil; {
				var n int
				n, err = r.Read(p)
				got = append(got, p[:n]...)
			}
			if err != io.EOF || string(got) != want || r.Close() != nil {
				t.Errorf("%d+%d: %q, %v", offset, length, got, err)
			}
		}
	}
	every = 1
	if _, err := storage.ReadAll(t.Context(), s, "k", 10); !errors.Is(err, passing) {
		t.Errorf("got %v", err)
	}
}

// TestLimit: bytes take as long as they should, in each direction for itself.
func TestLimit(t *testing.T) {
	c := new(fakeClock)
	s := storage.Limit(open(t), 1000, c)
	took := func() time.Duration {
		d := c.now.Sub(time.Time{})
		c.now = time.Time{}.Add(0)
		return d
	}
	for i := range 3 {
		if err := s.Put(t.Context(), fmt.Sprint(i), make([]byte, 1000), true); err != nil {
			t.Fatal(err)
		}
	}
	if d := took(); d != 2*time.Second { // the first goes at once
		t.Errorf("3,000 bytes put took %v at 1,000 a second", d)
	}
	s = storage.Limit(s, 1000, c)
	if n, err := s.Upload(t.Context(), "u", strings.NewReader(strings.Repeat("x", 10_000))); n != 10_000 || err != nil {
		t.Fatal(n, err)
	}
	if d := took(); d < 9*time.Second || d > 14*time.Second {
		t.Errorf("10,000 bytes uploaded took %v", d)
	}
	if data, err := storage.ReadAll(t.Context(), s, "u", 10_000); len(data) != 10_000 || err != nil {
		t.Fatal(len(data), err)
	}
	if d := took(); d < 9*time.Second || d > 11*time.Second {
		t.Errorf("10,000 bytes read took %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "c", nil, true); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestObserve: each operation is reported once, with its bytes and error.
func TestObserve(t *testing.T) {
	var seen []string
	s := storage.Observe(open(t), new(fakeClock), func(o storage.Observation) {
		seen = append(seen, fmt.Sprintf("%s %d %v", o.Op, o.Bytes, o.Err != nil))
	})
	ctx := t.Context()
	_ = s.Put(ctx, "k", []byte("123"), true)
	_ = s.Put(ctx, "k", []byte("123"), true)
	_, _ = s.Upload(ctx, "u", strings.NewReader("12345"))
	_, _ = storage.ReadAll(ctx, s, "u", 10)
	_, _ = storage.ReadAll(ctx, s, "none", 10)
	_, _ = s.Stat(ctx, "u")
	_, _ = list(ctx, s, "")
	_ = s.Delete(ctx, "u")
	want := "put 3 false,put 3 true,upload 5 false,get 5 false,get 0 true,stat 0 false,list 0 false,delete 0 false"
	if got := strings.Join(seen, ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
