// Package s3 keeps an archive in a bucket of S3, or of a service that speaks its protocol: s3://bucket/prefix.
//
// The service must honour If-None-Match: * on a put, which the commit of a segment rests on; `tidemark
// check` tries it. Credentials and region come from where the SDK looks for them by default:
// environment, files, roles.
package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"tidemark/internal/clock"
	"tidemark/internal/fault"
	"tidemark/storage"
	"tidemark/storage/cloud"
)

// Store is a bucket, or a part of one.
type Store struct {
	client  *s3.Client
	place   cloud.Place
	o       cloud.Options
	backoff storage.Backoff
	clock   clock.Clock
}

var _ storage.Store = (*Store)(nil)

// Open returns the store that u names. It sends nothing.
func Open(ctx context.Context, u *url.URL, o cloud.Options) (*Store, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(cloud.Tune)),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fault.New(fault.Config, "open", u.String(), err).
			WithHint("Look at the AWS_ variables of the environment, and at ~/.aws of the user that runs tidemark.")
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // where it is another one, the service says so
	}
	cfg.Credentials = credentials{cfg.Credentials}
	client := s3.NewFromConfig(cfg, func(c *s3.Options) {
		if o.Endpoint != "" {
			c.BaseEndpoint = &o.Endpoint
		}
		c.UsePathStyle = o.PathStyle
		// One attempt: storage.Retry tries again, and knows of an attempt whose reply was lost.
		c.Retryer = aws.NopRetryer{}
		// Every object is sent with its checksum by this driver, in a form that all services know.
		c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		c.DisableLogOutputChecksumValidationSkipped = true
	})
	return &Store{client, cloud.PlaceOf(u), o, storage.DefaultBackoff(), clock.System{}}, nil
}

// URL returns s3://bucket/prefix.
func (s *Store) URL() string { return s.place.URL() }

// Put stores an object by one request, on the condition that there is none if ifAbsent.
func (s *Store) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	if err := cloud.Begin(ctx, "put", key); err != nil {
		return err
	}
	in := s.object(key, data)
	if ifAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := s.client.PutObject(ctx, in)
	if a := answer(err); a != nil && ifAbsent && a.Status == http.StatusPreconditionFailed {
		return cloud.Plain("put", key, storage.ErrExist)
	}
	if err != nil {
		return fail(ctx, "put", key, err)
	}
	return nil
}

// object describes a put of the whole object.
func (s *Store) object(key string, data []byte) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket:               &s.place.Bucket,
		Key:                  aws.String(s.place.Name(key)),
		Body:                 bytes.NewReader(data),
		ContentLength:        aws.Int64(int64(len(data))),
		ChecksumCRC32C:       checksum(data),
		ServerSideEncryption: s.sse(),
		SSEKMSKeyId:          optional(s.o.KMSKey),
	}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = s.lock()
	return in
}

// Delete removes an object. Where the bucket keeps versions, it becomes an old one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := cloud.Begin(ctx, "delete", key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.place.Bucket, Key: aws.String(s.place.Name(key))})
	if err != nil && !missing(err) {
		return fail(ctx, "delete", key, err)
	}
	return nil
}

func (s *Store) sse() types.ServerSideEncryption {
	switch {
	case s.o.SSE == "kms" || s.o.SSE == "" && s.o.KMSKey != "":
		return types.ServerSideEncryptionAwsKms
	case s.o.SSE == "aes256":
		return types.ServerSideEncryptionAes256
	}
	return ""
}

func (s *Store) lock() (types.ObjectLockMode, *time.Time) {
	var mode types.ObjectLockMode
	switch s.o.Lock.Mode {
	case "governance":
		mode = types.ObjectLockModeGovernance
	case "compliance":
		mode = types.ObjectLockModeCompliance
	default:
		return "", nil
	}
	return mode, aws.Time(s.clock.Now().Add(s.o.Lock.For))
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is what the service compares with what it has received.
func checksum(data []byte) *string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	return aws.String(base64.StdEncoding.EncodeToString(sum))
}
