package gcs_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/gcs"
)

// TestRequests: what is configured is asked for, and bytes are sent with their checksum.
func TestRequests(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.GCS)
	seen, first := service.Recorded(t)
	s := open(t, seen, service.Archive(t), cloud.Options{StorageClass: "NEARLINE", KMSKey: "projects/p/key", Lock: cloud.Lock{Mode: "compliance", For: 3600e9}})
	check := func(r emulatortest.Request, condition string, body ...string) {
		t.Helper()
		if r.Query.Get("kmsKeyName") != "projects/p/key" || r.Query.Get("ifGenerationMatch") != condition {
			t.Errorf("asked %v", r.Query)
		}
		for _, text := range append(body, `"mode":"Locked"`, `"retainUntilTime":"`) {
			if not := strings.TrimPrefix(text, "!"); strings.Contains(r.Body, not) == (not != text) {
				t.Errorf("%s in %s", text, r.Body)
			}
		}
	}
	check(first(func(ctx context.Context) { _ = s.Put(ctx, "k", []byte("x"), true) }), "0", `"crc32c":"qTxfkw=="`, "!NEARLINE")
	check(first(func(ctx context.Context) { _ = s.Put(ctx, "k", []byte("x"), false) }), "", `"crc32c":"qTxfkw=="`)
	check(first(func(ctx context.Context) { _, _ = s.Upload(ctx, "k", strings.NewReader("x")) }), "", `"storageClass":"NEARLINE"`)
	check(first(func(ctx context.Context) { _, _ = s.Upload(ctx, "k", io.LimitReader(zeros{}, 40<<20)) }), "", `"storageClass":"NEARLINE"`)
}

// TestReplies: a reply that is not what was asked for is no success, and a stream that fails at once
// asks for nothing.
func TestReplies(t *testing.T) {
	asked := 0
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if strings.HasSuffix(r.URL.Path, "/p/changed") {
			w.Header().Set("X-Goog-Hash", "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==")
		} else {
			w.Header().Set("X-Goog-Hash", "crc32c=mnG7TA==")
		}
		_, _ = io.WriteString(w, "hello")
	}))
	defer service.Close()
	t.Setenv(emulator, service.URL)
	s, err := gcs.Open(t.Context(), &url.URL{Scheme: "gs", Host: "bucket", Path: "/p"}, cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(key string, offset int64) (string, error) {
		r, err := s.Get(t.Context(), key, offset, -1)
		if err != nil {
			return "", err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}
	if got, err := get("k", 0); got != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := get("changed", 0); err == nil {
		t.Error("bytes with another checksum are taken")
	}
	if got, err := get("k", 1); err == nil {
		t.Errorf("from the second byte there is %q", got)
	}
	broken := errors.New("broken")
	asked = 0
	if _, err := s.Upload(t.Context(), "k", iotest.ErrReader(broken)); !errors.Is(err, broken) || asked > 0 {
		t.Errorf("got %v after %d requests", err, asked)
	}
}
