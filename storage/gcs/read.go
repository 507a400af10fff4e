package gcs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	gapi "google.golang.org/api/storage/v1"

	"tidemark/storage"
	"tidemark/storage/cloud"
)

// Get opens a range of an object, of the version that is there now.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := cloud.Begin(ctx, "get", key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, cloud.Plain("get", key, errors.New("negative offset"))
	}
	if cloud.Beyond(offset, length) {
		_, err := s.Stat(ctx, key)
		return cloud.Nothing(), err
	}
	call := s.get(ctx, key)
	switch {
	case length > 0:
		call.Header().Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+min(length, 1<<50)-1))
	case offset > 0:
		call.Header().Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := call.Download()
	if err == nil && offset > 0 && res.StatusCode != http.StatusPartialContent {
		res.Body.Close()
		err = errors.New("the storage sends the whole object when asked for a part")
	}
	if err == nil {
		return cloud.Body(ctx, key, &reader{ReadCloser: res.Body, want: checksum(res)}), nil
	}
	if a := answer(err); a != nil && a.Status == http.StatusRequestedRangeNotSatisfiable {
		return cloud.Nothing(), nil
	}
	return nil, s.absent(ctx, "get", key, err)
}

func (s *Store) get(ctx context.Context, key string) *gapi.ObjectsGetCall {
	return s.objects.Get(s.place.Bucket, s.place.Name(key)).Projection(whole).Context(ctx)
}

// checksum returns the object's checksum as the service writes it, or "" if what comes is not the bytes
// that are stored, and all of them.
func checksum(res *http.Response) string {
	if res.StatusCode == http.StatusPartialContent || res.Uncompressed || res.Header.Get("X-Goog-Stored-Content-Encoding") == "gzip" {
		return ""
	}
	for _, values := range res.Header["X-Goog-Hash"] {
		for value := range strings.SplitSeq(values, ",") {
			if sum, ok := strings.CutPrefix(strings.TrimSpace(value), "crc32c="); ok {
				return sum
			}
		}
	}
	return ""
}

// reader compares what is read with its checksum, if there is one.
type reader struct {
	io.ReadCloser
	want string
	sum  uint32
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	if err == io.EOF && r.want != "" && r.want != encoded(r.sum) {
		err = errors.New("what came has another checksum than what is stored")
	}
	return n, err
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := cloud.Begin(ctx, "stat", key); err != nil {
		return storage.Object{}, err
	}
	object, err := s.get(ctx, key).Do()
	if err != nil {
		return storage.Object{}, s.absent(ctx, "stat", key, err)
	}
	o := found(object)
	o.Key = key
	return o, nil
}

func found(o *gapi.Object) storage.Object {
	updated, _ := time.Parse(time.RFC3339, o.Updated) // unknown is the zero time
	return storage.Object{Size: int64(o.Size), Modified: updated}
}

// List yields the objects of a range, a thousand an answer.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		l := cloud.NewListing(ctx, s.place, prefix, after, yield)
		if l == nil {
			return
		}
		call := s.objects.List(s.place.Bucket).Prefix(l.Prefix()).Projection("noAcl").
			Fields("nextPageToken", "items(name,size,updated)").Context(ctx)
		if after := l.After(); after != "" {
			call.StartOffset(after)
		}
		for {
			page, err := call.Do()
			if err != nil {
				l.Fail(translate(err))
				return
			}
			for _, o := range page.Items {
				if !l.Add(o.Name, found(o)) {
					return
				}
			}
			if page.NextPageToken == "" {
				return
			}
			call.PageToken(page.NextPageToken)
		}
	}
}
