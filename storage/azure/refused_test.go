package azure_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"tidemark/internal/fault"
	"tidemark/storage"
	"tidemark/storage/azure"
	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/storagetest"
)

const connection = "AZURE_STORAGE_CONNECTION_STRING"

// TestRefused: what is wrong is told apart, by every method.
func TestRefused(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.Azure)
	there, missing := service.Archive(t), &url.URL{Scheme: "azblob", Host: "no-such-container", Path: "/p"}
	right := os.Getenv(connection)
	with := func(t *testing.T, old, changed string) {
		if !strings.Contains(right, old) {
			t.Fatalf("no %s in the connection string", old)
		}
		t.Setenv(connection, strings.ReplaceAll(right, old, changed))
	}
	t.Run("no container", func(t *testing.T) {
		storagetest.Refused(t, open(t, service, missing, cloud.Options{}), storage.NoBucket)
	})
	t.Run("wrong key", func(t *testing.T) {
		with(t, "Eby8", "AAAA")
		// The service itself says AuthenticationFailed, which is BadCredentials.
		storagetest.Refused(t, open(t, service, there, cloud.Options{}), storage.Denied)
	})
	t.Run("nobody there", func(t *testing.T) {
		dead := httptest.NewServer(http.NotFoundHandler())
		dead.Close()
		with(t, strings.TrimSuffix(service.Endpoint, "/devstoreaccount1"), dead.URL)
		storagetest.Refused(t, open(t, service, there, cloud.Options{}), storage.Passing)
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv(connection, "")
		t.Setenv("HOME", t.TempDir())
		t.Setenv("PATH", "")
		t.Setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
		o := cloud.Options{Endpoint: strings.Replace(service.Endpoint, "http:", "https:", 1)}
		s, err := azure.Open(t.Context(), there, o)
		if err != nil {
			if reason, _ := storage.ReasonOf(err); reason != storage.NoCredentials {
				t.Error(err)
			}
			return
		}
		storagetest.Refused(t, s, storage.NoCredentials)
	})
}

// TestOpen: what is missing or unreadable is said without telling it.
func TestOpen(t *testing.T) {
	u := &url.URL{Scheme: "azblob", Host: "container", Path: "/a/b"}
	for _, env := range []map[string]string{
		{},
		{connection: "AccountKey=s3cret"},
		{"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "s3cret!"},
	} {
		for _, name := range []string{connection, "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY"} {
			t.Setenv(name, env[name])
		}
		_, err := azure.Open(context.Background(), u, cloud.Options{})
		if !fault.Is(err, fault.Config) || fault.HintOf(err) == "" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: %v", env, err)
		}
	}
	t.Setenv("AZURE_STORAGE_KEY", "AAAA")
	s, err := azure.Open(context.Background(), u, cloud.Options{})
	if err != nil || s.URL() != "azblob://container/a/b" {
		t.Errorf("%v, %v", s, err)
	}
}
