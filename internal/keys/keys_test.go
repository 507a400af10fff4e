package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func generate(t *testing.T, pq bool) (identity, recipient string) {
	t.Helper()
	identity, recipient, err := Generate(pq)
	if err != nil {
		t.Fatal(err)
	}
	return identity, recipient
}

func recipients(t *testing.T, texts ...string) *Recipients {
	t.Helper()
	r, err := ParseRecipients(texts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func identities(t *testing.T, text string) *Identities {
	t.Helper()
	ids, err := ParseIdentities("file", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestKeys: what is encrypted for several is opened by the identity of any of them, and by no other.
func TestKeys(t *testing.T) {
	for _, pq := range []bool{false, true} {
		id1, r1 := generate(t, pq)
		id2, r2 := generate(t, pq)
		id3, r3 := generate(t, pq)
		r := recipients(t, r1, r2)
		if got := fmt.Sprint(r.Fingerprints()); got != fmt.Sprintf("[%s %s]", Fingerprint(r1), Fingerprint(r2)) || len(Fingerprint(r1)) != 16 {
			t.Errorf("fingerprints %s", got)
		}
		var stored bytes.Buffer
		w, err := r.Encrypt(&stored)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "plain"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for text, ok := range map[string]bool{
			id1:                                    true,
			"# made today\n\n" + id2 + "\n":        true,
			id3 + "\n# another\r\n" + id1 + "\r\n": true,
			id3:                                    false,
		} {
			ids := identities(t, text)
			plain, err := ids.Decrypt(bytes.NewReader(stored.Bytes()))
			if ok != (err == nil) || ok != ids.AnyOf(r.Fingerprints()) || !ok && !errors.Is(err, ErrWrong) {
				t.Errorf("%v; any of: %v", err, ids.AnyOf(r.Fingerprints()))
			}
			if ok {
				if got, err := io.ReadAll(plain); err != nil || string(got) != "plain" {
					t.Errorf("%q, %v", got, err)
				}
			}
		}
		if identities(t, id3).Fingerprints()[0] != Fingerprint(r3) {
			t.Error("an identity is not named as its recipient is")
		}
	}
}

// TestNone: nil is no recipient and no identity.
func TestNone(t *testing.T) {
	r, err := ParseRecipients(nil)
	if r != nil || err != nil || r.Fingerprints() != nil {
		t.Errorf("%v, %v", r, err)
	}
	var ids *Identities
	if ids.Fingerprints() != nil || ids.From() != "" || ids.AnyOf([]string{"x"}) {
		t.Error("nil has identities")
	}
}

// TestRefused: what is no key is refused by an error that does not repeat it.
func TestRefused(t *testing.T) {
	secret, r := generate(t, false)
	pqSecret, pq := generate(t, true)
	part := secret[20:50]
	for _, texts := range [][]string{{""}, {"age1"}, {r[:len(r)-1]}, {"ssh-ed25519 AAAA"}, {secret}, {strings.ToLower(secret)}, {" " + secret},
		{pqSecret}, {r, secret}, {r + "\n" + r}, {"# " + r}, {r, pq}} {
		got, err := ParseRecipients(texts)
		if err == nil || got != nil {
			t.Errorf("%d texts are taken", len(texts))
		} else if strings.Contains(err.Error(), part) || strings.Contains(strings.ToUpper(err.Error()), part) {
			t.Errorf("the error tells: %v", err)
		}
	}
	for _, text := range []string{"", "\n# nothing\n", secret[:len(secret)-1], secret + "x", "AGE-PLUGIN-YUBIKEY-1QQQQ", r,
		"age-encryption.org/v1\n-> scrypt", "-----BEGIN AGE ENCRYPTED FILE-----\nabc", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n",
		secret + "\n" + secret[:40] + "\n"} {
		ids, err := ParseIdentities("file", []byte(text))
		if err == nil || ids != nil {
			t.Errorf("%.20q is taken", text)
		} else if strings.Contains(err.Error(), part) {
			t.Errorf("the error tells: %v", err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		if ids := identities(t, secret); strings.Contains(fmt.Sprintf(verb, ids), part) {
			t.Errorf("%s prints an identity", verb)
		}
	}
}
