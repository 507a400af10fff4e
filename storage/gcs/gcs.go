// Package gcs keeps an archive in a bucket of Google Cloud Storage: gs://bucket/prefix.
//
// Credentials are the application default ones: environment, file, or the service account of the
// machine.
package gcs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	gapi "google.golang.org/api/storage/v1"
	htransport "google.golang.org/api/transport/http"

	"tidemark/internal/clock"
	"tidemark/storage"
	"tidemark/storage/cloud"
)

// chunk is how much of an upload is kept to be sent again: all the memory that one takes.
const chunk = 16 << 20

// Store is a bucket, or a part of one.
type Store struct {
	objects *gapi.ObjectsService
	place   cloud.Place
	o       cloud.Options
	backoff storage.Backoff
	clock   clock.Clock
}

var _ storage.Store = (*Store)(nil)

// emulatorEnv names the service of tests, as it does for Google's own libraries; with it there are no
// credentials.
const emulatorEnv = "STORAGE_EMULATOR_HOST"

// Open returns the store that u names. It looks for credentials and sends nothing to the storage.
func Open(ctx context.Context, u *url.URL, o cloud.Options) (*Store, error) {
	emulator, auth := os.Getenv(emulatorEnv), option.WithScopes(gapi.DevstorageReadWriteScope)
	if emulator != "" {
		auth = option.WithoutAuthentication()
	}
	transport, err := htransport.NewTransport(ctx, cloud.Transport(), auth)
	if err != nil {
		return nil, storage.Fail("open", u.String(), storage.NoCredentials, err)
	}
	endpoint := o.Endpoint
	if endpoint == "" && emulator != "" {
		if endpoint, err = emulated(emulator); err != nil {
			return nil, storage.Fail("open", u.String(), storage.Refused, err)
		}
	}
	settings := []option.ClientOption{option.WithHTTPClient(&http.Client{Transport: transport})}
	if endpoint != "" {
		settings = append(settings, option.WithEndpoint(endpoint))
	}
	service, err := gapi.NewService(ctx, settings...)
	if err != nil {
		return nil, storage.Fail("open", u.String(), storage.Refused, err)
	}
	return &Store{service.Objects, cloud.PlaceOf(u), o, storage.DefaultBackoff(), clock.System{}}, nil
}

// emulated returns the endpoint of the service that is named as host:port or as a URL.
func emulated(host string) (string, error) {
	if !strings.Contains(host, "://") {
		host = "http://" + host
	}
	u, err := url.Parse(host)
	if err != nil {
		return "", err
	}
	u.Path = "/storage/v1/"
	return u.String(), nil
}

// URL returns gs://bucket/prefix.
func (s *Store) URL() string { return s.place.URL() }

// Put stores an object by one request, on the condition that there is none if ifAbsent. It is not tried
// again here: storage.Retry does so, and knows of an attempt whose reply was lost.
func (s *Store) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	if err := cloud.Begin(ctx, "put", key); err != nil {
		return err
	}
	object := s.described(key)
	object.Crc32c = encoded(crc32.Checksum(data, castagnoli))
	call := s.insert(ctx, object).Media(bytes.NewReader(data), googleapi.ChunkSize(0)) // one request
	if ifAbsent {
		call.IfGenerationMatch(0)
	}
	_, err := call.Do()
	if a := answer(err); a != nil && ifAbsent && a.Status == http.StatusPreconditionFailed {
		return cloud.Plain("put", key, storage.ErrExist)
	}
	if err != nil {
		return fail(ctx, "put", key, err)
	}
	return nil
}

// Upload stores a stream in chunks. Each is tried again by the SDK, and the object, whose checksum is
// sent with it, appears when the last has come.
func (s *Store) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	if err := cloud.Begin(ctx, "upload", key); err != nil {
		return 0, err
	}
	object := s.described(key)
	object.StorageClass = s.o.StorageClass
	src := storage.NewSource(ctx, r)
	sent := &counted{r: src}
	// This reads the first chunk. A try of one may wait for a dead connection.
	call := s.insert(ctx, object).WithRetry(nil, s.again(ctx, key)).
		Media(sent, googleapi.ChunkSize(chunk), googleapi.ChunkRetryDeadline(5*time.Minute), googleapi.EnableAutoChecksum())
	if err := src.Err(); err != nil {
		return 0, cloud.Plain("upload", key, err) // before anything is sent
	}
	stored, err := call.Do()
	if serr := src.Err(); serr != nil {
		return 0, cloud.Plain("upload", key, serr)
	}
	if err != nil {
		return 0, fail(ctx, "upload", key, err)
	}
	if stored.Size != uint64(sent.n) || stored.Crc32c != encoded(sent.sum) {
		_ = s.Delete(ctx, key)
		return 0, fail(ctx, "upload", key, fmt.Errorf("the storage has %d other bytes than the %d that were sent", stored.Size, sent.n))
	}
	return sent.n, nil
}

// counted counts and sums up what is read.
type counted struct {
	r   io.Reader
	n   int64
	sum uint32
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.sum = crc32.Update(c.sum, castagnoli, p[:n])
	return n, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encoded is how the service writes a checksum.
func encoded(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// again returns what the SDK asks whether to try a request of an upload again: as often as ours are.
func (s *Store) again(ctx context.Context, key string) func(error) bool {
	tried := 0 // since one succeeded
	return func(err error) bool {
		if tried++; err == nil {
			tried = 0
		}
		return err != nil && tried < s.backoff.Attempts && !storage.Permanent(fail(ctx, "upload", key, err))
	}
}

// described says what an object that is stored is to be.
func (s *Store) described(key string) *gapi.Object {
	o := &gapi.Object{Bucket: s.place.Bucket, Name: s.place.Name(key), ContentType: "application/octet-stream"}
	if mode := map[string]string{"governance": "Unlocked", "compliance": "Locked"}[s.o.Lock.Mode]; mode != "" {
		o.Retention = &gapi.ObjectRetention{Mode: mode, RetainUntilTime: s.clock.Now().Add(s.o.Lock.For).Format(time.RFC3339)}
	}
	return o
}

func (s *Store) insert(ctx context.Context, o *gapi.Object) *gapi.ObjectsInsertCall {
	call := s.objects.Insert(o.Bucket, o).Name(o.Name).Projection(whole).Context(ctx)
	if s.o.KMSKey != "" {
		call.KmsKeyName(s.o.KMSKey)
	}
	return call
}

// whole asks for all that is known of an object.
const whole = "full"

// Delete removes an object. Where the bucket keeps versions, it becomes an old one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := cloud.Begin(ctx, "delete", key); err != nil {
		return err
	}
	if err := s.objects.Delete(s.place.Bucket, s.place.Name(key)).Context(ctx).Do(); err != nil {
		if err = s.absent(ctx, "delete", key, err); !errors.Is(err, storage.ErrNotExist) {
			return err
		}
	}
	return nil
}

// answer returns what the service said, or nil if err is nil or not from the service.
func answer(err error) *cloud.Answer {
	var api *googleapi.Error
	if !errors.As(err, &api) {
		return nil
	}
	a := &cloud.Answer{Status: api.Code, Message: api.Message}
	if len(api.Errors) > 0 {
		a.Code = api.Errors[0].Reason
	}
	if a.Message == "" {
		a.Message = api.Body
	}
	return a
}

// fail returns the driver's error for one of the SDK.
func fail(ctx context.Context, op, key string, err error) error {
	return cloud.Fail(ctx, op, key, translate(err))
}

// translate takes out of an error of the SDK what matters. That something is not there is said of the
// bucket, unless it is asked for an object.
func translate(err error) error {
	var token *oauth2.RetrieveError
	if errors.As(err, &token) && token.Response != nil && token.Response.StatusCode < 500 {
		return &storage.Failure{Reason: storage.BadCredentials, Err: token}
	}
	a := answer(err)
	if a == nil {
		return err
	}
	if a.Status == http.StatusNotFound {
		return &storage.Failure{Reason: storage.NoBucket, Err: a}
	}
	return a
}

// absent turns err into ErrNotExist or a failure. The service has one answer for an object and for a
// bucket that is not there; so the bucket is asked for.
func (s *Store) absent(ctx context.Context, op, key string, err error) error {
	if a := answer(err); a == nil || a.Status != http.StatusNotFound {
		return fail(ctx, op, key, err)
	}
	for _, berr := range s.List(ctx, "", "") {
		if berr != nil {
			return fmt.Errorf("%s: %w", op, berr)
		}
		break
	}
	return cloud.Plain(op, key, storage.ErrNotExist)
}
