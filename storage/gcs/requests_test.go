package gcs_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
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
