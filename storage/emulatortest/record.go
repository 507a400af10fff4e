package emulatortest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"tidemark/storage/storagetest"
)

// Request is what a driver sent.
type Request struct {
	Header http.Header
	Query  url.Values
	Body   string // its first mebibyte
}

// Recorded returns the service as it is seen through a proxy that refuses everything, and a function
// that calls op and returns the first request that it makes.
func (s *Service) Recorded(t *testing.T) (*Service, func(op func(ctx context.Context)) Request) {
	t.Helper()
	var mu sync.Mutex
	var first *Request
	var cancel context.CancelFunc
	seen := s.Behind(t, func(r *http.Request) storagetest.Fault {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = &Request{r.Header.Clone(), r.URL.Query(), string(body)}
		}
		cancel() // one is enough
		return storagetest.Busy
	})
	return seen, func(op func(ctx context.Context)) Request {
		t.Helper()
		var ctx context.Context
		mu.Lock()
		first = nil
		ctx, cancel = context.WithCancel(t.Context())
		mu.Unlock()
		op(ctx)
		mu.Lock()
		defer mu.Unlock()
		cancel()
		if first == nil {
			t.Fatal("nothing was sent")
		}
		return *first
	}
}

// Wants compares headers, given as name and value in turn.
func (r Request) Wants(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := r.Header.Get(pairs[i]); got != pairs[i+1] {
			t.Errorf("%s is %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}
