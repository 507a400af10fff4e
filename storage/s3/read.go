package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

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
	in := &s3.GetObjectInput{Bucket: &s.place.Bucket, Key: aws.String(s.place.Name(key))}
	switch {
	case length > 0 && length <= math.MaxInt64-offset:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0 || length > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := s.client.GetObject(ctx, in)
	if err == nil {
		return cloud.Body(ctx, key, out.Body), nil
	}
	if a := answer(err); a != nil && a.Status == http.StatusRequestedRangeNotSatisfiable {
		return cloud.Nothing(), nil
	}
	return nil, s.absent(ctx, "get", key, err)
}

// Stat describes an object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := cloud.Begin(ctx, "stat", key); err != nil {
		return storage.Object{}, err
	}
	out, err := s.head(ctx, key)
	if err != nil {
		return storage.Object{}, s.absent(ctx, "stat", key, err)
	}
	return storage.Object{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, nil
}

func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	return s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.place.Bucket, Key: aws.String(s.place.Name(key))})
}

// absent turns err into ErrNotExist or a failure. The answer to a HEAD has no body, and so does not
// say whether it is the object or the bucket that is not there, or why something is forbidden; then
// the bucket is asked for.
func (s *Store) absent(ctx context.Context, op, key string, err error) error {
	a := answer(err)
	if a == nil || a.Code == "NoSuchBucket" {
		return fail(ctx, op, key, err)
	}
	if op == "stat" {
		one := int32(1)
		_, berr := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.place.Bucket, Prefix: &s.place.Prefix, MaxKeys: &one})
		if berr != nil {
			return fail(ctx, op, key, berr)
		}
	}
	if missing(err) {
		return cloud.Plain(op, key, storage.ErrNotExist)
	}
	return fail(ctx, op, key, err)
}

// List yields the objects of a range, a thousand an answer.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		l := cloud.NewListing(ctx, s.place, prefix, after, yield)
		if l == nil {
			return
		}
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.place.Bucket, Prefix: aws.String(l.Prefix()), StartAfter: optional(l.After())})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				l.Fail(translate(err))
				return
			}
			for _, o := range page.Contents {
				object := storage.Object{Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}
				if !l.Add(aws.ToString(o.Key), object) {
					return
				}
			}
		}
	}
}
