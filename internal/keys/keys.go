// Package keys is who may read an archive: recipients, the public keys of age that it is encrypted for,
// and identities, the secret keys that open it. Nothing of an identity is ever part of an error, or of
// what is printed.
package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Recipients are the public keys that streams are encrypted to; whoever has the identity of any of
// them can read those. nil is none: what is sealed is not encrypted.
type Recipients struct {
	keys  []age.Recipient
	names []string
}

// ParseRecipients reads recipients as age writes them, "age1…". Without any it returns nil. An error
// never repeats the text: it may be an identity that was taken for a recipient.
func ParseRecipients(texts []string) (*Recipients, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	r := new(Recipients)
	for _, text := range texts {
		keys, err := age.ParseRecipients(strings.NewReader(text))
		switch {
		case IsSecret(text):
			return nil, errors.New("an identity, which is secret, stands where a recipient belongs: write its public key, which begins with age1")
		case err != nil || len(keys) != 1:
			return nil, errors.New("it is no recipient of age: write a public key, which begins with age1")
		}
		r.keys, r.names = append(r.keys, keys[0]), append(r.names, Fingerprint(text))
	}
	// That some go together, as those of post-quantum keys and others do not, shows when they are used.
	if _, err := age.Encrypt(io.Discard, r.keys...); err != nil {
		return nil, fmt.Errorf("the recipients cannot be used together: %w", err)
	}
	return r, nil
}

// IsSecret reports whether a text is an identity, which nothing may repeat.
func IsSecret(text string) bool {
	return strings.HasPrefix(strings.ToUpper(strings.TrimSpace(text)), "AGE-SECRET-KEY-")
}

// Encrypt returns a writer that encrypts what is written to it; Close ends the file of age in w.
func (r *Recipients) Encrypt(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, r.keys...) }

// Fingerprints name the recipients, in their order, as manifests do.
func (r *Recipients) Fingerprints() []string {
	if r == nil {
		return nil
	}
	return r.names
}

// Fingerprint is the name of a recipient in manifests: 16 hexadecimal digits of the SHA-256 of its text.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(recipient)))
	return hex.EncodeToString(sum[:8])
}

// Identities are secret keys. nil is none.
type Identities struct {
	keys  []age.Identity
	names []string // of their recipients
	from  string   // the file
}

// ParseIdentities reads a file of identities as age-keygen writes it: one a line, with comments. The
// error says what is wrong without repeating anything of the file.
func ParseIdentities(from string, data []byte) (*Identities, error) {
	ids := &Identities{from: from}
	switch {
	case bytes.HasPrefix(data, []byte("age-encryption.org/")), bytes.HasPrefix(data, []byte("-----BEGIN AGE ENCRYPTED FILE")):
		return nil, errors.New("it is protected by a passphrase, which tidemark cannot ask for: decrypt it with age first")
	case bytes.Contains(data, []byte("PRIVATE KEY-----")):
		return nil, errors.New("it holds a key of SSH, which cannot be used: make an identity with tidemark keygen")
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		keys, err := age.ParseIdentities(strings.NewReader(line))
		if err != nil || len(keys) != 1 {
			return nil, fmt.Errorf("line %d is no identity of age", n)
		}
		ids.keys, ids.names = append(ids.keys, keys[0]), append(ids.names, Fingerprint(recipientOf(keys[0])))
	}
	if len(ids.keys) == 0 {
		return nil, errors.New("it holds no identity")
	}
	return ids, nil
}

// recipientOf returns the public half of an identity.
func recipientOf(id age.Identity) string {
	switch id := id.(type) {
	case *age.X25519Identity:
		return id.Recipient().String()
	case *age.HybridIdentity:
		return id.Recipient().String()
	}
	return ""
}

// ErrWrong: none of the identities is one of a recipient.
var ErrWrong = errors.New("no identity opens it")

// Decrypt returns what r holds, a file of age. Every byte has been authenticated before it is returned,
// and io.EOF says that none is missing.
func (ids *Identities) Decrypt(r io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(r, ids.keys...)
	if other := new(age.NoIdentityMatchError); errors.As(err, &other) {
		return nil, ErrWrong
	}
	return plain, err
}

// Fingerprints name the recipients whose identities these are.
func (ids *Identities) Fingerprints() []string {
	if ids == nil {
		return nil
	}
	return ids.names
}

// From names the file that they were read from.
func (ids *Identities) From() string {
	if ids == nil {
		return ""
	}
	return ids.from
}

// AnyOf reports whether one of them is that of a recipient with one of these fingerprints.
func (ids *Identities) AnyOf(recipients []string) bool {
	for _, name := range ids.Fingerprints() {
		for _, r := range recipients {
			if name == r {
				return true
			}
		}
	}
	return false
}

// String keeps the keys out of whatever prints the value.
func (ids *Identities) String() string {
	return fmt.Sprintf("%d identities of %s", len(ids.Fingerprints()), ids.From())
}

// Generate makes a new identity and returns the text of it and of its recipient. With
// postQuantum they are of the hybrid kind that a quantum computer does not break either; their
// recipients cannot be mixed with those of the other kind.
func Generate(postQuantum bool) (identity, recipient string, err error) {
	if postQuantum {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", fmt.Errorf("generate an identity: %w", err)
		}
		return id.String(), id.Recipient().String(), nil
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("generate an identity: %w", err)
	}
	return id.String(), id.Recipient().String(), nil
}
