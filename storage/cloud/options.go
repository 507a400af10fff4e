// Package cloud is what the drivers of object storage (storage/s3, storage/gcs, storage/azure) share:
// their options, how an upload of unknown length is cut into parts, what a provider's answer means,
// and a transport that notices a dead connection. It knows no provider's SDK.
package cloud

import (
	"net/url"
	"strings"
	"time"
)

// Options say where and how objects are stored. What a provider does not have is left empty.
type Options struct {
	Endpoint     string // URL of the service, if not the provider's own
	Region       string // of the bucket
	PathStyle    bool   // the bucket is named in the path
	StorageClass string // of uploaded objects; those that are put whole have the bucket's
	SSE          string // server-side encryption: "", "aes256" or "kms"
	KMSKey       string // the key that objects are encrypted with on the server
	Lock         Lock
}

// Lock keeps objects from being changed or removed by anyone.
type Lock struct {
	Mode string // "", "governance" (those with a special permission can lift it) or "compliance" (nobody)
	For  time.Duration
}

// Place is the part of a bucket that a store is: the bucket or container, and the prefix of its
// objects' names, "" or ending with '/'.
type Place struct {
	Scheme, Bucket, Prefix string
}

// PlaceOf returns the place that scheme://bucket/prefix names.
func PlaceOf(u *url.URL) Place {
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		prefix += "/"
	}
	return Place{u.Scheme, u.Host, prefix}
}

// URL names the place.
func (p Place) URL() string {
	return (&url.URL{Scheme: p.Scheme, Host: p.Bucket, Path: "/" + strings.TrimSuffix(p.Prefix, "/")}).String()
}

// Name returns the object's name of a key.
func (p Place) Name(key string) string { return p.Prefix + key }
