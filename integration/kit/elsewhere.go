package kit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tidemark/internal/keys"
)

// These variables of the environment move the archives of configurations that name none: so tests and the
// demo run unchanged on another storage.
const (
	envArchive   = "TIDEMARK_TEST_ARCHIVE"   // URL; each archive has a prefix of its own below it
	envStorage   = "TIDEMARK_TEST_STORAGE"   // the section storage
	envEncrypted = "TIDEMARK_TEST_ENCRYPTED" // 1: for a key of its own, whose identity is configured
)

// Elsewhere is the environment that moves archives below a URL.
func Elsewhere(archive, storage string, encrypted bool) []string {
	env := []string{envArchive + "=" + archive, envStorage + "=" + storage}
	if encrypted {
		env = append(env, envEncrypted+"=1")
	}
	return env
}

// elsewhere moves the archive, and returns the configuration's section encryption, which may be "".
func (c *Config) elsewhere() (string, error) {
	if url := os.Getenv(envArchive); url != "" && c.Archive == "" {
		own := sha256.Sum256([]byte(c.Dir))
		c.Archive, c.Storage = fmt.Sprintf("%s/%x", url, own[:8]), os.Getenv(envStorage)
	}
	if os.Getenv(envEncrypted) != "1" {
		return "", nil
	}
	path := filepath.Join(c.Dir, "identity")
	recipient, err := os.ReadFile(path + ".pub")
	if os.IsNotExist(err) {
		var identity, public string
		if identity, public, err = keys.Generate(false); err != nil {
			return "", err
		}
		recipient = []byte(public)
		err = errors.Join(os.WriteFile(path, []byte(identity+"\n"), 0o600), os.WriteFile(path+".pub", recipient, 0o600))
	}
	return fmt.Sprintf("encryption: {recipients: [%s], identity_file: %s}\n", recipient, path), err
}
