package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"tidemark/internal/fault"
	"tidemark/storage"
)

// Probe makes sure that an archive can be written, read, listed and deleted from, with an object of
// its own under the cluster's prefix, which it leaves behind only when deleting fails.
func Probe(ctx context.Context, store storage.Store, cluster string) error {
	key := cluster + "/check/" + uuid.NewString()
	data := []byte("tidemark checks that it can use this archive\n")
	failed := func(op string, err error) error {
		kind := fault.KindOf(err)
		if kind == fault.Other {
			kind = fault.Storage
		}
		hint := fault.HintOf(err)
		if hint == "" {
			hint = "Check the archive's URL, its permissions and its free space; `tidemark check` tries every step."
		}
		return fault.New(kind, op, store.URL(), err).WithHint(hint)
	}
	if err := store.Put(ctx, key, data, true); err != nil {
		return failed("write to the archive", err)
	}
	err := probeRead(ctx, store, key, data)
	if derr := store.Delete(ctx, key); err == nil && derr != nil {
		return failed("delete from the archive", derr)
	}
	if err != nil {
		return failed("use the archive", err)
	}
	return nil
}

func probeRead(ctx context.Context, store storage.Store, key string, data []byte) error {
	if err := store.Put(ctx, key, data, true); !errors.Is(err, storage.ErrExist) {
		return fmt.Errorf("a second put-if-absent of one key was not refused: %w", err)
	}
	got, err := storage.ReadAll(ctx, store, key, 1<<20)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return errors.New("an object read back is not what was written")
	}
	for o, err := range store.List(ctx, key, "") {
		if err != nil {
			return err
		}
		if o.Key == key {
			return nil
		}
	}
	return errors.New("an object just written is not listed")
}
