package config

import (
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
)

// A provider's options are refused for another one, and those that contradict each other.
func TestStorage(t *testing.T) {
	schemes := []string{"file", "s3", "gs", "azblob"}
	for _, tt := range []struct{ archive, storage, want string }{
		{"file:///a", "{bandwidth: 1MiB}", ""},
		{"file:///a", "{region: x}", "storage.region: an archive of file:// has no such option"},
		{"file:///a", "{object_lock: {mode: governance, retain: 1d}}", "no such option"},
		{"s3://b/p", "{endpoint: \"https://minio.lan:9000\", region: x, path_style: true, sse: kms, kms_key: k, object_lock: {mode: compliance, retain: 14d}}", ""},
		{"s3://b", "{sse: aes256}", ""},
		{"s3://b", "{sse: aes256, kms_key: k}", "not used"},
		{"s3://b", "{sse: rot13}", "write bucket, aes256 or kms"},
		{"s3://b", "{endpoint: \"minio.lan:9000\"}", "not the URL of a service"},
		{"s3://b", "{endpoint: \"https://key:secret@minio.lan\"}", "not the URL of a service"},
		{"s3://b", "{object_lock: {mode: compliance}}", "for how long"},
		{"s3://b", "{object_lock: {retain: 1d}}", "needs object_lock.mode"},
		{"s3://b", "{bandwidth: 10}", "less than 64KiB"},
		{"s3://b", "{secret: x}", "secret"},
		{"gs://b/p", "{storage_class: NEARLINE, kms_key: projects/p}", ""},
		{"gs://b/p", "{path_style: true}", "no such option"},
		{"azblob://c/p", "{endpoint: \"https://account.blob.core.windows.net\", storage_class: Cool}", ""},
		{"azblob://c/p", "{sse: kms}", "no such option"},
	} {
		c, err := Load(Source{File: write(t, "archive: "+tt.archive+"\nstorage: "+tt.storage+"\n"), Schemes: schemes})
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s %s: %v", tt.archive, tt.storage, err)
			}
			continue
		}
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %q", tt.archive, tt.storage, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "key:secret") {
			t.Errorf("the error tells a password: %v", err)
		}
		_ = c
	}
	c := load(t, "archive: s3://b\n", "TIDEMARK_STORAGE_OBJECT_LOCK_MODE=governance", "TIDEMARK_STORAGE_OBJECT_LOCK_RETAIN=2d", "TIDEMARK_STORAGE_PATH_STYLE=true")
	if c.Storage.ObjectLock != (ObjectLock{LockGovernance, 48 * time.Hour}) || !c.Storage.PathStyle || c.Storage.SSE != SSEBucket {
		t.Errorf("%+v", c.Storage)
	}
}
