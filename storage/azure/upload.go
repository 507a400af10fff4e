package azure

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/google/uuid"

	"tidemark/storage/cloud"
)

// Upload stores a stream: whole if it is short, else in blocks, each with its checksum. Blocks that no
// object was made of are not listed, and the service removes them after a week.
func (s *Store) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	if err := cloud.Begin(ctx, "upload", key); err != nil {
		return 0, err
	}
	return cloud.Upload(ctx, "upload", key, r, &multipart{s, key, uuid.New()}, s.backoff)
}

// multipart is one upload.
type multipart struct {
	store *Store
	key   string
	id    uuid.UUID // in the names of its blocks, so that they are of no other upload of the key
}

func (u *multipart) Whole(ctx context.Context, data []byte) error {
	o := u.store.upload(data)
	o.Tier = u.store.tier()
	_, err := u.store.blob(u.key).Upload(ctx, reader(data), o)
	return u.fail(ctx, err)
}

func (u *multipart) Begin(context.Context) error { return nil }

func (u *multipart) Part(ctx context.Context, n int, data []byte) error {
	o := &blockblob.StageBlockOptions{TransactionalValidation: checksum(data), CPKScopeInfo: u.store.scope()}
	_, err := u.store.blob(u.key).StageBlock(ctx, u.block(n), reader(data), o)
	return u.fail(ctx, err)
}

// Complete makes the object of its blocks. The service takes the same list again when its reply was
// lost.
func (u *multipart) Complete(ctx context.Context, parts int, _ int64) error {
	blocks := make([]string, parts)
	for i := range blocks {
		blocks[i] = u.block(i + 1)
	}
	o := &blockblob.CommitBlockListOptions{Tier: u.store.tier(), CPKScopeInfo: u.store.scope()}
	o.ImmutabilityPolicyMode, o.ImmutabilityPolicyExpiryTime = u.store.lock()
	_, err := u.store.blob(u.key).CommitBlockList(ctx, blocks, o)
	return u.fail(ctx, err)
}

// Abort leaves the blocks to the service: there is no request that removes them.
func (u *multipart) Abort(context.Context) {}

// block is the name of a block; all of an object are of one length.
func (u *multipart) block(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%06d", u.id, n))
}

func (u *multipart) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return fail(ctx, "upload", u.key, err)
}

// checksum is what the service compares with what it has received. It also knows a CRC-64 of its own,
// which its emulator does not check.
func checksum(data []byte) blob.TransferValidationType {
	sum := md5.Sum(data)
	return blob.TransferValidationTypeMD5(sum[:])
}
