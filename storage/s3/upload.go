package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"tidemark/storage/cloud"
)

// Upload stores a stream: whole if it is short, else in parts, each with its checksum. What a process
// that dies leaves of an upload is not listed; a lifecycle rule of the bucket removes it.
func (s *Store) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	if err := cloud.Begin(ctx, "upload", key); err != nil {
		return 0, err
	}
	u := &multipart{store: s, key: key, token: uuid.NewString()}
	return cloud.Upload(ctx, "upload", key, r, u, s.backoff)
}

// multipart is one upload.
type multipart struct {
	store *Store
	key   string
	id    *string
	token string // is kept with the object, so that it can be told from any other

	mu   sync.Mutex
	done []types.CompletedPart
}

// tokenName is the metadata that the token is kept in.
const tokenName = "tidemark-upload"

func (u *multipart) Whole(ctx context.Context, data []byte) error {
	in := u.store.object(u.key, data)
	in.StorageClass = types.StorageClass(u.store.o.StorageClass)
	_, err := u.store.client.PutObject(ctx, in)
	return u.fail(ctx, err)
}

func (u *multipart) Begin(ctx context.Context) error {
	s := u.store
	in := &s3.CreateMultipartUploadInput{
		Bucket:               &s.place.Bucket,
		Key:                  aws.String(s.place.Name(u.key)),
		ChecksumAlgorithm:    types.ChecksumAlgorithmCrc32c,
		Metadata:             map[string]string{tokenName: u.token},
		StorageClass:         types.StorageClass(s.o.StorageClass),
		ServerSideEncryption: s.sse(),
		SSEKMSKeyId:          optional(s.o.KMSKey),
	}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = s.lock()
	out, err := s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return u.fail(ctx, err)
	}
	u.id = out.UploadId
	return nil
}

func (u *multipart) Part(ctx context.Context, n int, data []byte) error {
	sum := checksum(data)
	out, err := u.store.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket:         &u.store.place.Bucket,
		Key:            aws.String(u.store.place.Name(u.key)),
		UploadId:       u.id,
		PartNumber:     aws.Int32(int32(n)),
		Body:           bytes.NewReader(data),
		ContentLength:  aws.Int64(int64(len(data))),
		ChecksumCRC32C: sum,
	})
	if err != nil {
		return u.fail(ctx, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done = append(u.done, types.CompletedPart{PartNumber: aws.Int32(int32(n)), ETag: out.ETag, ChecksumCRC32C: sum})
	return nil
}

func (u *multipart) Complete(ctx context.Context, parts int, size int64) error {
	if len(u.done) != parts {
		return fmt.Errorf("upload %s: %d of %d parts are there", u.key, len(u.done), parts)
	}
	slices.SortFunc(u.done, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	_, err := u.store.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket:          &u.store.place.Bucket,
		Key:             aws.String(u.store.place.Name(u.key)),
		UploadId:        u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done},
	})
	if a := answer(err); a != nil && a.Code == "NoSuchUpload" && u.isThere(ctx, size) {
		return nil // by an earlier try, whose reply was lost
	}
	return u.fail(ctx, err)
}

// isThere reports whether the object is the one of this upload.
func (u *multipart) isThere(ctx context.Context, size int64) bool {
	out, err := u.store.head(ctx, u.key)
	return err == nil && out.Metadata[tokenName] == u.token && aws.ToInt64(out.ContentLength) == size
}

func (u *multipart) Abort(ctx context.Context) {
	_, _ = u.store.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.store.place.Bucket, Key: aws.String(u.store.place.Name(u.key)), UploadId: u.id})
}

func (u *multipart) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return fail(ctx, "upload", u.key, err)
}
