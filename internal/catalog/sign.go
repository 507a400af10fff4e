package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// An object of JSON carries its own digest, so that damage shows in what nothing else repeats: the
// SHA-256 of all its bytes, with the 64 digits of the digest itself taken as zeros.

const digestField = `"manifestSha256"`

var noDigest = strings.Repeat("0", hex.EncodedLen(sha256.Size))

func setDigest(m proto.Message, value string) {
	r := m.ProtoReflect()
	r.Set(r.Descriptor().Fields().ByName("manifest_sha256"), protoreflect.ValueOfString(value))
}

// sign returns a copy of an encoded object with its digest filled in.
func sign(data []byte) ([]byte, error) {
	at := bytes.Index(data, []byte(digestField))
	if at < 0 {
		return nil, errors.New("it has no SHA-256 of its own")
	}
	at += len(digestField)
	at += bytes.IndexByte(data[at:], '"') + 1
	if at+len(noDigest) > len(data) || bytes.IndexByte(data[at:at+len(noDigest)], '"') >= 0 {
		return nil, errors.New("its own SHA-256 is cut off")
	}
	signed := bytes.Clone(data)
	copy(signed[at:], noDigest)
	sum := sha256.Sum256(signed)
	hex.Encode(signed[at:], sum[:])
	return signed, nil
}

// signedWith reports whether an encoded object is the one that has a digest.
func signedWith(data []byte, digest Digest) bool {
	signed, err := sign(data)
	return err == nil && bytes.Equal(signed, data) && bytes.Contains(data, []byte(`"`+hex.EncodeToString(digest[:])+`"`))
}
