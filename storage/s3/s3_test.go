package s3_test

import (
	"net/http"
	"net/url"
	"testing"

	"tidemark/storage"
	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/s3"
	"tidemark/storage/storagetest"
)

func TestConformance(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.S3)
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, service, service.Archive(t), cloud.Options{}) })
}

func TestUploadMemory(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.S3)
	storagetest.UploadMemory(t, open(t, service, service.Archive(t), cloud.Options{}), 200<<20, 40<<20)
}

func TestFaults(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.S3)
	storagetest.RunFaults(t, func(t *testing.T, decide func(*http.Request) storagetest.Fault) storage.Store {
		return open(t, service.Behind(t, decide), service.Archive(t), cloud.Options{})
	})
}

func open(t *testing.T, service *emulatortest.Service, u *url.URL, o cloud.Options) storage.Store {
	t.Helper()
	o.Endpoint, o.PathStyle = service.Endpoint, true
	s, err := s3.Open(t.Context(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
