package gcs_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/storage"
	"tidemark/storage/cloud"
	"tidemark/storage/emulatortest"
	"tidemark/storage/gcs"
	"tidemark/storage/storagetest"
)

const (
	emulator    = "STORAGE_EMULATOR_HOST"
	credentials = "GOOGLE_APPLICATION_CREDENTIALS"
)

// TestRefused: what is wrong is told apart, by every method.
func TestRefused(t *testing.T) {
	service := emulatortest.Start(t, emulatortest.GCS)
	there, missing := service.Archive(t), &url.URL{Scheme: "gs", Host: "no-such-bucket", Path: "/p"}
	t.Run("no bucket", func(t *testing.T) {
		storagetest.Refused(t, open(t, service, missing, cloud.Options{}), storage.NoBucket)
	})
	t.Run("nobody there", func(t *testing.T) {
		dead := httptest.NewServer(http.NotFoundHandler())
		dead.Close()
		t.Setenv(emulator, strings.TrimPrefix(dead.URL, "http://"))
		storagetest.Refused(t, open(t, service, there, cloud.Options{}), storage.Passing)
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv(emulator, "")
		t.Setenv(credentials, filepath.Join(t.TempDir(), "none"))
		_, err := gcs.Open(t.Context(), there, cloud.Options{})
		if reason, ok := storage.ReasonOf(err); !ok || reason != storage.NoCredentials {
			t.Errorf("got %v", err)
		}
		t.Log(err)
	})
	t.Run("refused credentials", func(t *testing.T) {
		tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}`))
		}))
		defer tokens.Close()
		t.Setenv(emulator, "")
		t.Setenv(credentials, account(t, tokens.URL))
		storagetest.Refused(t, open(t, service, there, cloud.Options{Endpoint: service.Endpoint + "/storage/v1/"}), storage.BadCredentials)
	})
}

// account writes the file of a service account whose tokens are issued at uri.
func account(t *testing.T, uri string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "private_key_id": "k", "client_email": "a@p.iam.gserviceaccount.com",
		"token_uri": uri, "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
