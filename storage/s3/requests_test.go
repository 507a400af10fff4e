package s3_test

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
	service := emulatortest.Start(t, emulatortest.S3)
	seen, first := service.Recorded(t)
	s := open(t, seen, service.Archive(t), cloud.Options{StorageClass: "STANDARD_IA", KMSKey: "key", Lock: cloud.Lock{Mode: "governance", For: 3600e9}})
	encrypted := []string{"X-Amz-Server-Side-Encryption", "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "key", "X-Amz-Object-Lock-Mode", "GOVERNANCE"}

	r := first(func(ctx context.Context) { _ = s.Put(ctx, "k", []byte("x"), true) })
	r.Wants(t, append(encrypted, "If-None-Match", "*", "X-Amz-Storage-Class", "", "X-Amz-Checksum-Crc32c", "qTxfkw==")...)
	r = first(func(ctx context.Context) { _ = s.Put(ctx, "k", []byte("x"), false) })
	r.Wants(t, append(encrypted, "If-None-Match", "")...)
	r = first(func(ctx context.Context) { _, _ = s.Upload(ctx, "k", strings.NewReader("x")) })
	r.Wants(t, append(encrypted, "X-Amz-Storage-Class", "STANDARD_IA")...)
	r = first(func(ctx context.Context) { _, _ = s.Upload(ctx, "k", zeros(20<<20)) })
	r.Wants(t, append(encrypted, "X-Amz-Storage-Class", "STANDARD_IA", "X-Amz-Checksum-Algorithm", "CRC32C")...)

	s = open(t, seen, service.Archive(t), cloud.Options{SSE: "aes256"})
	r = first(func(ctx context.Context) { _ = s.Put(ctx, "k", nil, false) })
	r.Wants(t, "X-Amz-Server-Side-Encryption", "AES256", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "", "X-Amz-Object-Lock-Mode", "")
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }
