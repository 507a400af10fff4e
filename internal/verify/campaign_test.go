package verify

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/restore/archivetest"
)

// TestCampaign damages every object of an archive in every way, and random bits of the data, one
// damage at a time: each is found. TIDEMARK_N is the number of random ones.
func TestCampaign(t *testing.T) {
	a, _ := sample(t)
	must(t, a.Catalog.PutIndex(context.Background(), 1, 1, catalog.IndexEvery))
	objects := load(t, a.Dir)
	var keys []string
	for l, err := range a.Catalog.Objects(context.Background(), "") {
		must(t, err)
		keys = append(keys, l.Key)
	}
	tried := 0
	try := func(what, key string, data []byte) {
		t.Helper()
		tried++
		file := path(a, key)
		if data == nil {
			must(t, os.Remove(file))
		} else {
			must(t, os.WriteFile(file, data, 0o600))
		}
		if !found(a) {
			t.Errorf("%s of %s is not found", what, key)
		}
		must(t, os.WriteFile(file, objects[key], 0o600))
	}
	newest := catalog.HeadKey(1, 2) // that it was there, only the archiver's own state can tell
	for i, key := range keys {
		data := objects[key]
		if key != newest && !strings.Contains(key, "/index/") {
			try("loss", key, nil)
		}
		try("truncation", key, data[:len(data)/2])
		try("emptying", key, []byte{})
		try("zeroing", key, make([]byte, len(data)))
		if other := keys[(i+1)%len(keys)]; string(objects[other]) != string(data) {
			try("replacement by "+other, key, objects[other])
		}
	}

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	n, err := strconv.Atoi(os.Getenv("TIDEMARK_N"))
	if err != nil {
		n = 100
	}
	for range n {
		key := keys[rng.IntN(len(keys))]
		data := append([]byte{}, objects[key]...)
		data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		try("a flipped bit", key, data)
	}
	if found(a) {
		t.Error("there is a finding where there is no damage")
	}
	t.Logf("%d damages, all found", tried)
}

// found reports whether a check of everything has anything to say.
func found(a *archivetest.Archive) bool {
	cat, err := catalog.Open(context.Background(), a.Store, "default", "test")
	if err != nil {
		return true
	}
	r, err := Run(context.Background(), cat, Options{Data: true, Clock: clock.System{}})
	return err != nil || len(r.Findings) > 0
}

// load returns all objects of the cluster by key.
func load(t *testing.T, dir string) map[string][]byte {
	root := filepath.Join(dir, "default")
	objects := make(map[string][]byte)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, rerr := os.ReadFile(p)
		key, kerr := filepath.Rel(root, p)
		objects[filepath.ToSlash(key)] = data
		return errors.Join(rerr, kerr)
	})
	must(t, err)
	return objects
}
