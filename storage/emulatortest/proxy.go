package emulatortest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"tidemark/storage/storagetest"
)

// Behind returns the service as it is seen through a proxy, on which each request meets with the fault
// that decide says, and sets the environment for it.
func (s *Service) Behind(t *testing.T, decide func(*http.Request) storagetest.Fault) *Service {
	t.Helper()
	seen := s.Seen(t, decide)
	setenv(t, seen.Env)
	return seen
}

// Seen is Behind for tests that run beside others: the environment of the process stays as it is.
func (s *Service) Seen(t *testing.T, decide func(*http.Request) storagetest.Fault) *Service {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		// The host stays the one that was asked for: it is signed.
		Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", target.Host },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := decide(r)
		if fault == storagetest.Busy {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if fault == storagetest.Pass {
			proxy.ServeHTTP(w, r)
			return
		}
		reply := httptest.NewRecorder()
		proxy.ServeHTTP(reply, r)
		if fault == storagetest.Cut {
			for name, values := range reply.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(reply.Code)
			_, _ = w.Write(reply.Body.Bytes()[:reply.Body.Len()/2])
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(server.Close)
	seen := kinds[s.Scheme].service(strings.TrimPrefix(server.URL, "http://"))
	seen.Scheme = s.Scheme
	return &seen
}
