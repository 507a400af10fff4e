package storage

import (
	"strings"
	"testing"
)

// FuzzCheckKey: a valid key stays inside the directory or prefix it is joined to.
func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"", "a", "a/b.json", "../a", "a/..", "a//b", "/a", "a/", "a b", "é", ".", "...", strings.Repeat("a", 256)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		if key == "" || len(key) > 1024 || strings.ContainsAny(key, "~\\%:? \x00") {
			t.Errorf("%q is taken for valid", key)
		}
		padded := "/" + key + "/"
		for _, bad := range []string{"//", "/./", "/../"} {
			if strings.Contains(padded, bad) {
				t.Errorf("%q is taken for valid", key)
			}
		}
	})
}
