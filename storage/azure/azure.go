// Package azure keeps an archive in a container of Azure Blob Storage: azblob://container/prefix.
//
// The account comes with the endpoint, https://ACCOUNT.blob.core.windows.net, or with the environment,
// as for Azure's own tools: AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT, and with it
// AZURE_STORAGE_KEY if there is one. Otherwise credentials are those of the SDK's default chain:
// environment, workload identity, managed identity, Azure's command line.
package azure

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/storage"
	"tidemark/storage/cloud"
)

// Store is a container, or a part of one.
type Store struct {
	container *container.Client
	place     cloud.Place
	o         cloud.Options
	backoff   storage.Backoff
	clock     clock.Clock
}

var _ storage.Store = (*Store)(nil)

// Open returns the store that u names. It sends nothing.
func Open(_ context.Context, u *url.URL, o cloud.Options) (*Store, error) {
	client, err := connect(o.Endpoint)
	if err != nil {
		return nil, err
	}
	place := cloud.PlaceOf(u)
	return &Store{client.ServiceClient().NewContainerClient(place.Bucket), place, o, storage.DefaultBackoff(), clock.System{}}, nil
}

// connect finds the account and what to sign requests with.
func connect(endpoint string) (*azblob.Client, error) {
	// One attempt: storage.Retry tries again, and knows of an attempt whose reply was lost.
	options := policy.ClientOptions{
		Transport: &http.Client{Transport: cloud.Transport()},
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
	account, key := os.Getenv("AZURE_STORAGE_ACCOUNT"), os.Getenv("AZURE_STORAGE_KEY")
	if text := os.Getenv("AZURE_STORAGE_CONNECTION_STRING"); text != "" {
		client, err := azblob.NewClientFromConnectionString(text, &azblob.ClientOptions{ClientOptions: options})
		if err != nil {
			// The error may quote what it cannot read, which holds a secret.
			return nil, fault.New(fault.Config, "read", "AZURE_STORAGE_CONNECTION_STRING", errors.New("it is no connection string")).
				WithHint("Copy it again from the account's access keys, or unset it to use another kind of credentials.")
		}
		return client, nil
	}
	if endpoint == "" && account == "" {
		return nil, fault.New(fault.Config, "", "", errors.New("the archive is in Azure, and no account is named")).
			WithHint("Set storage.endpoint to https://ACCOUNT.blob.core.windows.net, or AZURE_STORAGE_ACCOUNT.")
	}
	if endpoint == "" {
		endpoint = "https://" + account + ".blob.core.windows.net"
	}
	if account != "" && key != "" {
		shared, err := azblob.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, fault.New(fault.Config, "read", "AZURE_STORAGE_KEY", errors.New("it is no key of an account")).
				WithHint("Copy it again from the account's access keys.")
		}
		return opened(azblob.NewClientWithSharedKeyCredential(endpoint, shared, &azblob.ClientOptions{ClientOptions: options}))
	}
	chain, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: policy.ClientOptions{Transport: options.Transport}})
	if err != nil {
		return nil, storage.Fail("open", endpoint, storage.NoCredentials, err)
	}
	return opened(azblob.NewClient(endpoint, token{chain}, &azblob.ClientOptions{ClientOptions: options}))
}

func opened(c *azblob.Client, err error) (*azblob.Client, error) {
	if err != nil {
		return nil, fault.New(fault.Config, "open", "storage", err).WithHint("Correct storage.endpoint.")
	}
	return c, nil
}

// URL returns azblob://container/prefix.
func (s *Store) URL() string { return s.place.URL() }

func (s *Store) blob(key string) *blockblob.Client {
	return s.container.NewBlockBlobClient(s.place.Name(key))
}

// Put stores an object by one request, on the condition that there is none if ifAbsent.
func (s *Store) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	if err := cloud.Begin(ctx, "put", key); err != nil {
		return err
	}
	o := s.upload(data)
	if ifAbsent {
		o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}
	}
	_, err := s.blob(key).Upload(ctx, reader(data), o)
	// 409 if it was there, 412 if another writer was faster.
	if a := answer(err); a != nil && ifAbsent && (a.Code == "BlobAlreadyExists" || a.Status == http.StatusPreconditionFailed) {
		return cloud.Plain("put", key, storage.ErrExist)
	}
	if err != nil {
		return fail(ctx, "put", key, err)
	}
	return nil
}

// upload describes a put of the whole object.
func (s *Store) upload(data []byte) *blockblob.UploadOptions {
	o := &blockblob.UploadOptions{TransactionalValidation: checksum(data), CPKScopeInfo: s.scope()}
	o.ImmutabilityPolicyMode, o.ImmutabilityPolicyExpiryTime = s.lock()
	return o
}

// Delete removes an object. Where the account keeps versions, it becomes an old one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := cloud.Begin(ctx, "delete", key); err != nil {
		return err
	}
	_, err := s.blob(key).Delete(ctx, nil)
	if err != nil && !missing(err) {
		return fail(ctx, "delete", key, err)
	}
	return nil
}

func (s *Store) scope() *blob.CPKScopeInfo {
	if s.o.KMSKey == "" {
		return nil
	}
	return &blob.CPKScopeInfo{EncryptionScope: &s.o.KMSKey}
}

func (s *Store) lock() (*blob.ImmutabilityPolicySetting, *time.Time) {
	var mode blob.ImmutabilityPolicySetting
	switch s.o.Lock.Mode {
	case "governance":
		mode = blob.ImmutabilityPolicySettingUnlocked
	case "compliance":
		mode = blob.ImmutabilityPolicySettingLocked
	default:
		return nil, nil
	}
	return &mode, to.Ptr(s.clock.Now().Add(s.o.Lock.For))
}

func (s *Store) tier() *blob.AccessTier {
	if s.o.StorageClass == "" {
		return nil
	}
	return to.Ptr(blob.AccessTier(s.o.StorageClass))
}

func reader(data []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(data)) }
