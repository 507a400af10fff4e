package gcs

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"

	gcloud "cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

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
	r, err := s.object(key).NewRangeReader(ctx, offset, min(length, 1<<50))
	if err == nil {
		return cloud.Body(ctx, key, reader{r}), nil
	}
	if a := answer(err); a != nil && a.Status == http.StatusRequestedRangeNotSatisfiable {
		return cloud.Nothing(), nil
	}
	return nil, s.absent(ctx, "get", key, err)
}

// reader gives the errors of the service that come while it is read.
type reader struct{ io.ReadCloser }

func (r reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = translate(err)
	}
	return n, err
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := cloud.Begin(ctx, "stat", key); err != nil {
		return storage.Object{}, err
	}
	attrs, err := s.object(key).Attrs(ctx)
	if err != nil {
		return storage.Object{}, s.absent(ctx, "stat", key, err)
	}
	o := described(attrs)
	o.Key = key
	return o, nil
}

func described(attrs *gcloud.ObjectAttrs) storage.Object {
	return storage.Object{Size: attrs.Size, Modified: attrs.Updated}
}

// List yields the objects of a range, a thousand an answer.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		l := cloud.NewListing(ctx, s.place, prefix, after, yield)
		if l == nil {
			return
		}
		q := &gcloud.Query{Prefix: l.Prefix(), StartOffset: l.After(), Projection: gcloud.ProjectionNoACL}
		if err := q.SetAttrSelection([]string{"Name", "Size", "Updated"}); err != nil {
			l.Fail(err)
			return
		}
		for objects := s.bucket.Objects(ctx, q); ; {
			attrs, err := objects.Next()
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				l.Fail(translate(err))
				return
			}
			if !l.Add(attrs.Name, described(attrs)) {
				return
			}
		}
	}
}
