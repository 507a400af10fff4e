package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/fault"
	"tidemark/internal/keys"
)

// TestEncryption: recipients come from the file or the environment; the file of identities is read
// only when it is asked for, and not when everybody can.
func TestEncryption(t *testing.T) {
	identity, recipient, err := keys.Generate(false)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := keys.Generate(false)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, "encryption: {identity_file: /not/there}\n", "TIDEMARK_ENCRYPTION_RECIPIENTS="+recipient+", "+second)
	if got := c.Encryption.Keys().Fingerprints(); len(got) != 2 || got[0] != keys.Fingerprint(recipient) || got[1] != keys.Fingerprint(second) {
		t.Errorf("recipients %v", got)
	}
	if _, err := c.Encryption.Identities(""); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "/not/there") {
		t.Errorf("no file: %v", err)
	}
	ids, err := c.Encryption.Identities(file)
	if err != nil || !ids.AnyOf([]string{keys.Fingerprint(recipient)}) || ids.From() != file {
		t.Errorf("%v, %v", ids, err)
	}
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encryption.Identities(file); !fault.Is(err, fault.Config) || !strings.Contains(fault.HintOf(err), "chmod 0600") {
		t.Errorf("readable by all: %v", err)
	}
	if err := os.WriteFile(file, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encryption.Identities(file); !fault.Is(err, fault.WrongKey) {
		t.Errorf("no identity: %v", err)
	}
	if _, err := c.Encryption.Identities(identity); err == nil || strings.Contains(err.Error(), identity[20:50]) {
		t.Errorf("an identity for a file: %v", err)
	}
	c = load(t, "archive: file:///a\n")
	if ids, err := c.Encryption.Identities(""); c.Encryption.Keys() != nil || ids != nil || err != nil {
		t.Errorf("%v, %v, %v", c.Encryption, ids, err)
	}
}
