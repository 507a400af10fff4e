package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// storage puts an object, reads, lists and removes it: all that archiving asks of a storage.
func (c *checker) storage(ctx context.Context, store storage.Store) {
	if err := roundTrip(ctx, store, c.cl.Name+"/"+catalog.ProbePrefix+uuid.NewString()); err != nil {
		if fault.KindOf(err) == fault.Other {
			err = fault.New(fault.Storage, "", "", err)
		}
		c.fail("storage", err)
		return
	}
	c.ok("storage", "%s: put if absent, read, list and remove work", store.URL())
	cat, err := catalog.Open(ctx, store, c.cl.Name, c.a.Version)
	switch {
	case fault.Is(err, fault.NoArchive):
		c.ok("archive", "none yet: `tidemark run` begins it")
	case err != nil:
		c.fail("archive", err)
	default:
		c.ok("archive", "of %s, since %s", cat.Cluster.Flavor, when(cat.Cluster.Created))
	}
}

// roundTrip tries what a storage must do on an object of its own, which it removes.
func roundTrip(ctx context.Context, store storage.Store, key string) (err error) {
	data := []byte("tidemark check\n")
	if err := store.Put(ctx, key, data, true); err != nil {
		return fmt.Errorf("put an object: %w", err)
	}
	defer func() {
		if derr := store.Delete(context.WithoutCancel(ctx), key); derr != nil && err == nil {
			err = fmt.Errorf("remove an object: %w", derr)
		}
	}()
	switch err := store.Put(ctx, key, []byte("another\n"), true); {
	case err == nil:
		return errors.New("put-if-absent has replaced an object")
	case !errors.Is(err, storage.ErrExist):
		return fmt.Errorf("put an object that is there: %w", err)
	}
	back, err := storage.ReadAll(ctx, store, key, 1024)
	if err != nil {
		return fmt.Errorf("read an object: %w", err)
	}
	if !bytes.Equal(back, data) {
		return errors.New("an object reads otherwise than it was written")
	}
	seen := 0
	for o, err := range store.List(ctx, key, "") {
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		if o.Key == key && o.Size == int64(len(data)) {
			seen++
		}
	}
	if seen != 1 {
		return fmt.Errorf("an object is listed %d times after it was written", seen)
	}
	return nil
}

// stateDir checks that the spool can be written and has the room it may take.
func (c *checker) stateDir() {
	dir := c.cfg.StateDir
	there := dir
	for {
		if _, err := os.Stat(there); !errors.Is(err, os.ErrNotExist) || there == "/" {
			break
		}
		there = filepath.Dir(there)
	}
	if err := unix.Access(there, unix.W_OK|unix.X_OK); err != nil {
		c.fail("state_dir", fault.New(fault.Config, "write to", there, err).
			WithHint("Let the user that runs tidemark own "+dir+", or set state_dir to another directory."))
		return
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(there, &fs); err != nil {
		c.fail("state_dir", fault.New(fault.Config, "look at", there, err))
		return
	}
	free := config.Size(fs.Bavail * uint64(fs.Bsize))
	if limit := c.cl.Spool.MaxSize; free < limit {
		c.warn("state_dir", "Make room, or lower clusters."+c.cl.Name+".spool.max_size.",
			"%s: %s free, less than the spool may take (%s)", dir, size(int64(free)), limit)
		return
	}
	c.ok("state_dir", "%s can be written; %s free", dir, size(int64(free)))
}
