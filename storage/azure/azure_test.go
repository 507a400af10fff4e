package azure_test

import (
	"net/http"
	"net/url"
	"testing"

	"tidemark/storage"
	"tidemark/storage/azure"
	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/storagetest"
)

func TestConformance(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.Azure)
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, service, service.Archive(t), cloud.Options{}) })
}

func TestUploadMemory(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.Azure)
	storagetest.UploadMemory(t, open(t, service, service.Archive(t), cloud.Options{}), 200<<20, 40<<20)
}

func TestFaults(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.Azure)
	storagetest.RunFaults(t, func(t *testing.T, decide func(*http.Request) storagetest.Fault) storage.Store {
		return open(t, service.Behind(t, decide), service.Archive(t), cloud.Options{})
	})
}

func open(t *testing.T, service *emulatortest.Service, u *url.URL, o cloud.Options) storage.Store {
	t.Helper()
	s, err := azure.Open(t.Context(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
