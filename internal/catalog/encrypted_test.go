package catalog

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/internal/seal"
)

// TestEncryptedObject: an encrypted object is opened by an identity of a recipient; without one the
// error is WrongKey and names both sides; damage is damage, whatever part of the object it hits.
func TestEncryptedObject(t *testing.T) {
	a := newArchive(t)
	identity, recipient, err := keys.Generate(false)
	a.must(err)
	other, _, err := keys.Generate(false)
	a.must(err)
	r, err := keys.ParseRecipients([]string{recipient})
	a.must(err)
	sealer, err := seal.New(seal.Options{Recipients: r})
	a.must(err)
	key := SegmentDataKey(1, 1, 1, "n") + sealer.Suffix()
	plain := bytes.Repeat([]byte("hello "), 10_000)
	res, err := sealer.Seal(ctx, bytes.NewReader(plain), func(ctx context.Context, r io.Reader) error { return a.Upload(ctx, key, r) })
	a.must(err)
	s := StoredAs(key, sealer, res)
	if !strings.HasSuffix(key, ".binlog.zst.age") || len(s.Recipients) != 1 || s.Recipients[0] != keys.Fingerprint(recipient) {
		t.Fatalf("%+v", s)
	}
	with := func(text string) {
		t.Helper()
		ids, err := keys.ParseIdentities("the-file", []byte(text))
		a.must(err)
		a.Unlock(ids)
	}
	read := func() ([]byte, error) {
		r, err := a.Open(ctx, s)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}

	for _, err := range []error{a.CanOpen(s), func() error { _, err := read(); return err }()} {
		if !fault.Is(err, fault.WrongKey) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), s.Recipients[0]) ||
			!strings.Contains(fault.HintOf(err), "--identity") {
			t.Errorf("without an identity: %v", err)
		}
	}
	a.must(a.VerifyStored(ctx, s))
	with(other)
	for _, err := range []error{a.CanOpen(s), func() error { _, err := read(); return err }()} {
		if !fault.Is(err, fault.WrongKey) || !strings.Contains(err.Error(), "the-file") || !strings.Contains(err.Error(), a.ids.Fingerprints()[0]) {
			t.Errorf("with another identity: %v", err)
		}
	}
	with(other + "\n" + identity)
	a.must(a.CanOpen(s))
	if got, err := read(); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	good, err := os.ReadFile(a.path(key))
	a.must(err)
	for at := 0; at < len(good); at += 1 + at/40 {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		a.must(os.WriteFile(a.path(key), bad, 0o600))
		if _, err := read(); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), key) {
			t.Errorf("byte %d is changed: %v", at, err)
		}
		if err := a.VerifyStored(ctx, s); !fault.Is(err, fault.Integrity) || !strings.Contains(err.Error(), key) {
			t.Errorf("byte %d is changed, as stored: %v", at, err)
		}
	}
	a.must(os.Remove(a.path(key)))
	if _, err := read(); !fault.Is(err, fault.Integrity) {
		t.Errorf("it is missing: %v", err)
	}
	if err := a.VerifyStored(ctx, s); !fault.Is(err, fault.Integrity) {
		t.Errorf("it is missing, as stored: %v", err)
	}
}
