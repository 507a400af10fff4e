// Package gcs keeps an archive in a bucket of Google Cloud Storage: gs://bucket/prefix.
//
// Credentials are the application default ones: environment, file, or the service account of the
// machine.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	gcloud "cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"tidemark/internal/clock"
	"tidemark/storage"
	"tidemark/storage/cloud"
)

// chunk is how much of an upload is kept to be sent again: all the memory that one takes.
const chunk = 16 << 20

// Store is a bucket, or a part of one.
type Store struct {
	client  *gcloud.Client
	bucket  *gcloud.BucketHandle
	place   cloud.Place
	o       cloud.Options
	backoff storage.Backoff
	clock   clock.Clock
}

var _ storage.Store = (*Store)(nil)

// emulatorEnv is the SDK's own variable; with it there are no credentials.
const emulatorEnv = "STORAGE_EMULATOR_HOST"

// Open returns the store that u names. It looks for credentials and sends nothing to the storage.
func Open(ctx context.Context, u *url.URL, o cloud.Options) (*Store, error) {
	var auth []option.ClientOption
	if os.Getenv(emulatorEnv) != "" {
		auth = append(auth, option.WithoutAuthentication())
	} else {
		auth = append(auth, option.WithScopes(gcloud.ScopeReadWrite))
	}
	transport, err := htransport.NewTransport(ctx, cloud.Transport(), auth...)
	if err != nil {
		return nil, storage.Fail("open", u.String(), storage.NoCredentials, err)
	}
	settings := []option.ClientOption{option.WithHTTPClient(&http.Client{Transport: transport}), gcloud.WithJSONReads()}
	if o.Endpoint != "" {
		settings = append(settings, option.WithEndpoint(o.Endpoint))
	}
	client, err := gcloud.NewClient(ctx, settings...)
	if err != nil {
		return nil, storage.Fail("open", u.String(), storage.Refused, err)
	}
	place := cloud.PlaceOf(u)
	// One attempt: storage.Retry tries again, and knows of an attempt whose reply was lost.
	bucket := client.Bucket(place.Bucket).Retryer(gcloud.WithPolicy(gcloud.RetryNever))
	return &Store{client, bucket, place, o, storage.DefaultBackoff(), clock.System{}}, nil
}

// URL returns gs://bucket/prefix.
func (s *Store) URL() string { return s.place.URL() }

func (s *Store) object(key string) *gcloud.ObjectHandle { return s.bucket.Object(s.place.Name(key)) }

// Put stores an object by one request, on the condition that there is none if ifAbsent.
func (s *Store) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	if err := cloud.Begin(ctx, "put", key); err != nil {
		return err
	}
	object := s.object(key)
	if ifAbsent {
		object = object.If(gcloud.Conditions{DoesNotExist: true})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a writer that is left is given up by its context only
	w := s.writer(ctx, object)
	w.ChunkSize = 0 // one request
	w.CRC32C, w.SendCRC32C = crc32.Checksum(data, castagnoli), true
	_, err := w.Write(data)
	if cerr := w.Close(); err == nil || cerr != nil {
		err = cerr
	}
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
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	w := s.writer(sending, s.patient(ctx, key))
	w.ChunkSize = chunk
	w.ChunkRetryDeadline = 5 * time.Minute // a try may wait for a dead connection
	w.StorageClass = s.o.StorageClass
	src := storage.NewSource(ctx, r)
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(w, sum), src)
	if err == nil {
		err = w.Close()
		if err == nil && (w.Attrs().Size != n || w.Attrs().CRC32C != sum.Sum32()) {
			err = fmt.Errorf("the storage has %d other bytes than the %d that were sent", w.Attrs().Size, n)
			_ = s.Delete(ctx, key)
		}
		if err == nil {
			return n, nil
		}
	}
	cancel() // or closing would commit what has come so far
	_ = w.Close()
	if serr := src.Err(); serr != nil {
		return 0, cloud.Plain("upload", key, serr)
	}
	return 0, fail(ctx, "upload", key, err)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// patient returns an object's handle whose requests the SDK tries again, as often as ours are. It comes
// from a handle of the bucket that is its own: those that are derived of one share how they try again.
func (s *Store) patient(ctx context.Context, key string) *gcloud.ObjectHandle {
	tried := 0 // since one succeeded
	again := func(err error) bool {
		if tried++; err == nil {
			tried = 0
		}
		return err != nil && tried < s.backoff.Attempts && !storage.Permanent(fail(ctx, "upload", key, err))
	}
	return s.client.Bucket(s.place.Bucket).
		Retryer(gcloud.WithPolicy(gcloud.RetryAlways), gcloud.WithErrorFunc(again)).
		Object(s.place.Name(key))
}

func (s *Store) writer(ctx context.Context, object *gcloud.ObjectHandle) *gcloud.Writer {
	w := object.NewWriter(ctx)
	w.ContentType = "application/octet-stream"
	w.KMSKeyName = s.o.KMSKey
	if mode := map[string]string{"governance": "Unlocked", "compliance": "Locked"}[s.o.Lock.Mode]; mode != "" {
		w.Retention = &gcloud.ObjectRetention{Mode: mode, RetainUntil: s.clock.Now().Add(s.o.Lock.For)}
	}
	return w
}

// Delete removes an object. Where the bucket keeps versions, it becomes an old one.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := cloud.Begin(ctx, "delete", key); err != nil {
		return err
	}
	err := s.object(key).Delete(ctx)
	if err != nil {
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
	if !errors.Is(err, gcloud.ErrObjectNotExist) {
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
