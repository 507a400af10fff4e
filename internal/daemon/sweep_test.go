package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/clock"
	"tidemark/storage"
	"tidemark/storage/file"
)

// TestSweep: what a kill has left of a write goes when it is old, through all that the storage is decorated with;
// what may be under way stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	store, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "shop/base/b/part", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "shop", "base", "b")
	old, young := filepath.Join(below, ".tmp~OLD"), filepath.Join(below, ".tmp~YOUNG")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-25 * time.Hour)
	if err := errors.Join(os.Chtimes(old, yesterday, yesterday), os.Chtimes(filepath.Join(below, "part"), yesterday, yesterday)); err != nil {
		t.Fatal(err)
	}
	clk := clock.System{}
	decorated := storage.Observe(storage.Retry(storage.Limit(store, 1<<20, clk), storage.DefaultBackoff()), clk, func(storage.Observation) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { sweep(ctx, decorated, clk, zap.NewNop()); close(done) }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(old); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	cancel()
	<-done
	entries, err := os.ReadDir(below)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".tmp~YOUNG" || entries[1].Name() != "part" {
		t.Errorf("left %v, %v", entries, err)
	}
}
