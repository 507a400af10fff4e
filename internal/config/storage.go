package config

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Storage says how an archive in object storage is used. It holds no credentials: each provider's
// library finds them where its own tools do.
type Storage struct {
	Endpoint     string     `key:"endpoint" doc:"URL of the service if it is not the provider's own; azblob: of the account, https://ACCOUNT.blob.core.windows.net"`
	Region       string     `key:"region" doc:"region of the bucket, if the environment does not name it; s3"`
	PathStyle    bool       `key:"path_style" default:"false" doc:"name the bucket in the path of requests instead of the host, as services other than AWS may need; s3"`
	StorageClass string     `key:"storage_class" doc:"storage class or access tier of segments and base backups; manifests have the bucket's; none from which objects must be brought back first"`
	SSE          SSE        `key:"sse" default:"bucket" doc:"encryption by the service: bucket (as the bucket says), aes256 or kms; s3"`
	KMSKey       string     `key:"kms_key" doc:"key that the service encrypts with; s3: ID or ARN, gs: resource name, azblob: encryption scope"`
	ObjectLock   ObjectLock `key:"object_lock"`
	Bandwidth    Size       `key:"bandwidth" default:"0" doc:"bytes a second that are written to the archive, and apart from that read, at most; 0: no limit"`
}

// ObjectLock keeps objects from being changed or removed by anyone, whatever their permissions.
type ObjectLock struct {
	Mode   LockMode      `key:"mode" default:"off" doc:"off, governance (who has a permission of its own can lift it) or compliance (nobody can); needs a bucket that allows it"`
	Retain time.Duration `key:"retain" default:"0s" doc:"how long each object is locked from when it is written"`
}

// SSE says what encrypts objects on the server.
type SSE string

// What does.
const (
	SSEBucket SSE = "bucket"
	SSEAES256 SSE = "aes256"
	SSEKMS    SSE = "kms"
)

// LockMode says who can lift an object lock.
type LockMode string

// The modes.
const (
	LockOff        LockMode = "off"
	LockGovernance LockMode = "governance"
	LockCompliance LockMode = "compliance"
)

// UnmarshalText accepts what there is.
func (s *SSE) UnmarshalText(b []byte) error { return choose(s, b, SSEBucket, SSEAES256, SSEKMS) }

// UnmarshalText accepts the modes there are.
func (m *LockMode) UnmarshalText(b []byte) error {
	return choose(m, b, LockOff, LockGovernance, LockCompliance)
}

// badStorage calls bad with each option that the archive's scheme does not have, or that contradicts
// another.
func (s Storage) badStorage(archive string, bad func(option, why string)) {
	scheme := "file"
	if u, err := url.Parse(archive); err == nil && u.Scheme != "" {
		scheme = u.Scheme
	}
	for _, o := range []struct {
		name  string
		given bool
		by    []string // the schemes that have it
	}{
		{"endpoint", s.Endpoint != "", []string{"s3", "gs", "azblob"}},
		{"region", s.Region != "", []string{"s3"}},
		{"path_style", s.PathStyle, []string{"s3"}},
		{"storage_class", s.StorageClass != "", []string{"s3", "gs", "azblob"}},
		{"sse", s.SSE != SSEBucket, []string{"s3"}},
		{"kms_key", s.KMSKey != "", []string{"s3", "gs", "azblob"}},
		{"object_lock.mode", s.ObjectLock.Mode != LockOff, []string{"s3", "gs", "azblob"}},
	} {
		if o.given && archive != "" && !slices.Contains(o.by, scheme) {
			bad(o.name, fmt.Sprintf("an archive of %s:// has no such option", scheme))
		}
	}
	if u, err := url.Parse(s.Endpoint); s.Endpoint != "" && (err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http") {
		bad("endpoint", fmt.Sprintf("%q is not the URL of a service: write https://host or https://host:port", redacted(s.Endpoint)))
	}
	if s.KMSKey != "" && s.SSE == SSEAES256 {
		bad("kms_key", "it is not used with sse: aes256")
	}
	switch locked := s.ObjectLock.Mode != LockOff; {
	case locked && s.ObjectLock.Retain < time.Hour:
		bad("object_lock.retain", "write for how long objects are locked: at least 1h")
	case !locked && s.ObjectLock.Retain > 0:
		bad("object_lock.retain", "it needs object_lock.mode")
	}
	if s.Bandwidth > 0 && s.Bandwidth < 64*KiB {
		bad("bandwidth", fmt.Sprintf("%s is less than 64KiB", s.Bandwidth))
	}
}
