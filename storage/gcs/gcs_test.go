package gcs_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"tidemark/internal/fault"
	"tidemark/storage"
	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/gcs"
	"tidemark/storage/storagetest"
)

func TestConformance(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.GCS)
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, service, service.Archive(t), cloud.Options{}) })
}

func TestUploadMemory(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.GCS)
	storagetest.UploadMemory(t, open(t, service, service.Archive(t), cloud.Options{}), 200<<20, 40<<20)
}

func TestFaults(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.GCS)
	storagetest.RunFaults(t, func(t *testing.T, decide func(*http.Request) storagetest.Fault) storage.Store {
		return open(t, service.Behind(t, spare(decide)), service.Archive(t), cloud.Options{})
	})
}

// spare loses no reply to a chunk of a large upload: the emulator appends a chunk again that is sent
// again, wherever it belongs. The service does not.
func spare(decide func(*http.Request) storagetest.Fault) func(*http.Request) storagetest.Fault {
	return func(r *http.Request) storagetest.Fault {
		fault := decide(r)
		if fault == storagetest.Lost && isChunk(r) {
			return storagetest.Busy
		}
		return fault
	}
}

// TestUploadCompared: a service that has stored other bytes than were sent is not believed.
func TestUploadCompared(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.GCS)
	u := service.Archive(t)
	var chunks atomic.Int32
	s := open(t, service.Behind(t, func(r *http.Request) storagetest.Fault {
		if isChunk(r) && chunks.Add(1) == 1 {
			return storagetest.Lost
		}
		return storagetest.Pass
	}), u, cloud.Options{})
	const size = 40 << 20
	if _, err := s.Upload(t.Context(), "k", io.LimitReader(zeros{}, size)); !fault.Is(err, fault.Storage) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("the object is there: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func open(t *testing.T, service *emulatortest.Service, u *url.URL, o cloud.Options) storage.Store {
	t.Helper()
	s, err := gcs.Open(t.Context(), u, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func isChunk(r *http.Request) bool { return r.URL.Query().Has("upload_id") }
