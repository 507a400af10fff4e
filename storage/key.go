package storage

import (
	"errors"
	"fmt"
	"strings"
)

// Longest key and longest element of one, in bytes: the least that any provider, and any file
// system, allows.
const (
	maxKey     = 1024
	maxElement = 255
)

// CheckKey returns an error unless key is valid: relative, of [A-Za-z0-9._-] and '/', at most 1024
// bytes, every element of 1 to 255 bytes and neither "." nor "..". Such a key means the same as an
// object name, a path and a URL, and needs no escaping in any of them.
func CheckKey(key string) error {
	if why := badKey(key); why != nil {
		return fmt.Errorf("invalid key %q: %w", key, why)
	}
	return nil
}

// CanBegin reports whether a valid key can begin with prefix.
func CanBegin(prefix string) bool {
	return prefix == "" || CheckKey(prefix+"k") == nil || CheckKey(prefix) == nil
}

func badKey(key string) error {
	if len(key) > maxKey {
		return errors.New("too long")
	}
	for element := range strings.SplitSeq(key, "/") {
		switch {
		case element == "":
			return errors.New("empty element")
		case element == "." || element == "..":
			return errors.New("relative element")
		case len(element) > maxElement:
			return errors.New("element too long")
		}
		for _, c := range []byte(element) {
			if !keyByte(c) {
				return fmt.Errorf("character %q", c)
			}
		}
	}
	return nil
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '-'
}
