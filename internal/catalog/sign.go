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
	at, sum, err := ownDigest(data)
	if err != nil {
		return nil, err
	}
	signed := bytes.Clone(data)
	hex.Encode(signed[at:], sum[:])
	return signed, nil
}

// signature returns the digest that an encoded object carries; an error when it is not its own.
func signature(data []byte) (Digest, error) {
	at, sum, err := ownDigest(data)
	if err == nil && hex.EncodeToString(sum[:]) != string(data[at:at+len(noDigest)]) {
		err = errors.New("its own SHA-256 does not match")
	}
	return sum, err
}

// ownDigest returns the digest of an encoded object, and where in it that is written.
func ownDigest(data []byte) (at int, sum Digest, err error) {
	if at = bytes.LastIndex(data, []byte(digestField)); at < 0 {
		return 0, sum, errors.New("it has no SHA-256 of its own")
	}
	at += len(digestField)
	at += bytes.IndexByte(data[at:], '"') + 1
	if at+len(noDigest) > len(data) || bytes.IndexByte(data[at:at+len(noDigest)], '"') >= 0 {
		return 0, sum, errors.New("its own SHA-256 is cut off")
	}
	h := sha256.New()
	h.Write(data[:at])
	h.Write([]byte(noDigest))
	h.Write(data[at+len(noDigest):])
	return at, Digest(h.Sum(nil)), nil
}
