package s3_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"tidemark/storage"
	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/storagetest"
)

// TestRefused: what is wrong is told apart, by every method.
func TestRefused(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.S3)
	there, missing := service.Archive(t), &url.URL{Scheme: "s3", Host: "no-such-bucket", Path: "/p"}
	t.Run("no bucket", func(t *testing.T) {
		storagetest.Refused(t, open(t, service, missing, cloud.Options{}), storage.NoBucket)
	})
	t.Run("unknown key", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "somebody")
		storagetest.Refused(t, open(t, service, there, cloud.Options{}), storage.BadCredentials)
	})
	t.Run("wrong secret", func(t *testing.T) {
		t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
		storagetest.Refused(t, open(t, service, there, cloud.Options{}), storage.BadCredentials)
	})
	t.Run("no credentials", func(t *testing.T) {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			t.Setenv(name, "")
		}
		t.Setenv("HOME", t.TempDir())
		storagetest.Refused(t, open(t, service, there, cloud.Options{}), storage.NoCredentials)
	})
	t.Run("wrong region", func(t *testing.T) {
		storagetest.Refused(t, open(t, service, there, cloud.Options{Region: "eu-north-1"}), storage.WrongRegion)
	})
	t.Run("nobody there", func(t *testing.T) {
		dead := httptest.NewServer(http.NotFoundHandler())
		dead.Close()
		there := *service
		there.Endpoint = dead.URL
		storagetest.Refused(t, open(t, &there, service.Archive(t), cloud.Options{}), storage.Passing)
	})
	t.Run("another certificate", func(t *testing.T) {
		other := httptest.NewTLSServer(http.NotFoundHandler())
		defer other.Close()
		there := *service
		there.Endpoint = other.URL
		storagetest.Refused(t, open(t, &there, service.Archive(t), cloud.Options{}), storage.BadCertificate)
	})
}

// TestObjectLock: a locked object cannot be removed for good by anyone.
func TestObjectLock(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.S3)
	bucket, err := service.LockingBucket()
	if err != nil {
		t.Fatal(err)
	}
	o := cloud.Options{Lock: cloud.Lock{Mode: "compliance", For: 24 * 3600e9}}
	s := open(t, service, &url.URL{Scheme: "s3", Host: bucket}, o)
	if err := s.Put(t.Context(), "put", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), "short", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), "long", zeros(20<<20)); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
	if err != nil {
		t.Fatal(err)
	}
	client := awss3.NewFromConfig(cfg, func(c *awss3.Options) { c.BaseEndpoint, c.UsePathStyle = &service.Endpoint, true })
	for _, key := range []string{"put", "short", "long"} {
		head, err := client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		if head.ObjectLockMode != "COMPLIANCE" || head.ObjectLockRetainUntilDate == nil {
			t.Errorf("%s: mode %q until %v", key, head.ObjectLockMode, head.ObjectLockRetainUntilDate)
		}
		_, err = client.DeleteObject(context.Background(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: head.VersionId})
		if err == nil {
			t.Errorf("%s was removed for good", key)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("%s cannot be deleted, leaving a version: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
