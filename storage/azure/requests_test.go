package azure_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
)

// TestRequests: what is configured is asked for, and every byte is sent with its checksum.
func TestRequests(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.Azure)
	seen, first := service.Recorded(t)
	s := open(t, seen, service.Archive(t), cloud.Options{StorageClass: "Cool", KMSKey: "scope", Lock: cloud.Lock{Mode: "compliance", For: 3600e9}})
	asked := []string{"X-Ms-Encryption-Scope", "scope", "X-Ms-Immutability-Policy-Mode", "Locked"}

	r := first(func(ctx context.Context) { _ = s.Put(ctx, "k", []byte("x"), true) })
	r.Wants(t, append(asked, "If-None-Match", "*", "X-Ms-Access-Tier", "", "Content-Md5", "ndTkYSaMgDT1yFZOFVxnpg==")...)
	r = first(func(ctx context.Context) { _ = s.Put(ctx, "k", []byte("x"), false) })
	r.Wants(t, append(asked, "If-None-Match", "")...)
	r = first(func(ctx context.Context) { _, _ = s.Upload(ctx, "k", strings.NewReader("x")) })
	r.Wants(t, append(asked, "X-Ms-Access-Tier", "Cool")...)
	r = first(func(ctx context.Context) { _, _ = s.Upload(ctx, "k", io.LimitReader(zeros{}, 20<<20)) }) // a block
	r.Wants(t, "X-Ms-Encryption-Scope", "scope")
	if r.Header.Get("Content-Md5") == "" {
		t.Error("a block is sent without its checksum")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
