package azure

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

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
	o := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset}} // count 0 is to the end
	if length > 0 && length <= math.MaxInt64-offset {
		o.Range.Count = length
	}
	out, err := s.blob(key).DownloadStream(ctx, o)
	if err == nil {
		return cloud.Body(ctx, key, out.Body), nil
	}
	if a := answer(err); a != nil && a.Status == http.StatusRequestedRangeNotSatisfiable {
		return cloud.Nothing(), nil
	}
	return nil, absent(ctx, "get", key, err)
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := cloud.Begin(ctx, "stat", key); err != nil {
		return storage.Object{}, err
	}
	out, err := s.blob(key).GetProperties(ctx, nil)
	if err != nil {
		return storage.Object{}, absent(ctx, "stat", key, err)
	}
	o := described(out.ContentLength, out.LastModified)
	o.Key = key
	return o, nil
}

func described(size *int64, modified *time.Time) (o storage.Object) {
	if size != nil {
		o.Size = *size
	}
	if modified != nil {
		o.Modified = *modified
	}
	return o
}

// List yields the objects of a range, five thousand an answer. A service that does not know where to
// start from begins with the first.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		l := cloud.NewListing(ctx, s.place, prefix, after, yield)
		if l == nil {
			return
		}
		o := &container.ListBlobsFlatOptions{}
		if p := l.Prefix(); p != "" {
			o.Prefix = &p
		}
		if from := l.After(); from != "" {
			o.StartFrom = &from
		}
		for pages := s.container.NewListBlobsFlatPager(o); pages.More(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				l.Fail(translate(err))
				return
			}
			for _, b := range page.Segment.BlobItems {
				if !l.Add(*b.Name, described(b.Properties.ContentLength, b.Properties.LastModified)) {
					return
				}
			}
		}
	}
}
