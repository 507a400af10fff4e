package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/internal/seal"
	"tidemark/storage"
)

// This file reads data objects: what segments and parts of base backups are stored as.

// Unlock gives the identities that open what is encrypted; nil: there are none.
func (c *Catalog) Unlock(ids *keys.Identities) { c.ids = ids }

// Open opens a stored object for reading its plain bytes, checked against the manifest at the end. The
// error is of kind WrongKey when it is encrypted and no identity opens it.
func (c *Catalog) Open(ctx context.Context, s Stored) (io.ReadCloser, error) {
	return c.open(ctx, s, func(ctx context.Context, key string) (io.ReadCloser, error) { return c.store.Get(ctx, key, 0, -1) }, 1)
}

// open opens an object that get reads as it is stored.
func (c *Catalog) open(ctx context.Context, s Stored, get func(context.Context, string) (io.ReadCloser, error), threads int) (io.ReadCloser, error) {
	if s.Compression != seal.Compression {
		return nil, fault.New(fault.Integrity, "read", s.Key, fmt.Errorf("it is compressed with %q, which this program cannot undo", s.Compression)).
			WithHint("Use the version of tidemark that wrote it, or a later one.")
	}
	var ids *keys.Identities
	if len(s.Recipients) > 0 {
		if ids = c.ids; len(ids.Fingerprints()) == 0 {
			return nil, c.wrongKey(s)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	raw, err := get(ctx, c.key(s.Key))
	if err != nil {
		cancel()
		return nil, unopened(s, err)
	}
	r, err := seal.Open(raw, s.Size, s.SHA256[:], ids, threads)
	switch {
	case err == nil:
		return &object{r: r, key: s.Key, close: func() error {
			cancel() // it may be read ahead still
			r.Close()
			return raw.Close()
		}}, nil
	case errors.Is(err, keys.ErrWrong) && ids.AnyOf(s.Recipients):
		err = damaged("read", s.Key, errors.New("it is not encrypted for the recipients that its manifest names"))
	case errors.Is(err, keys.ErrWrong):
		err = c.wrongKey(s)
	default:
		err = objectError(s.Key, err)
	}
	cancel()
	raw.Close()
	return nil, err
}

// raw opens an object as it is stored.
func (c *Catalog) raw(ctx context.Context, s Stored) (io.ReadCloser, error) {
	raw, err := c.store.Get(ctx, c.key(s.Key), 0, -1)
	if err != nil {
		return nil, unopened(s, err)
	}
	return raw, nil
}

// unopened names an object that could not be opened. One that is not there is damage.
func unopened(s Stored, err error) error {
	if errors.Is(err, storage.ErrNotExist) {
		return damaged("read", s.Key, errors.New("the object is missing"))
	}
	return fmt.Errorf("read %s: %w", s.Key, err)
}

// CanOpen returns an error of kind WrongKey when an object is encrypted and no identity is one of a
// recipient that its manifest names.
func (c *Catalog) CanOpen(s Stored) error {
	if len(s.Recipients) == 0 || c.ids.AnyOf(s.Recipients) {
		return nil
	}
	return c.wrongKey(s)
}

func (c *Catalog) wrongKey(s Stored) error {
	what := "it is encrypted for " + strings.Join(s.Recipients, ", ")
	if len(c.ids.Fingerprints()) == 0 {
		return fault.New(fault.WrongKey, "read", s.Key, errors.New(what+", and no identity is given")).
			WithHint("Give the file of an identity with --identity FILE, or as encryption.identity_file; `tidemark verify`, also with --stored, needs none.")
	}
	return fault.New(fault.WrongKey, "read", s.Key, fmt.Errorf("%s; %s has the %s of %s", what, c.ids.From(),
		plural(len(c.ids.Fingerprints()), "identity", "identities"), strings.Join(c.ids.Fingerprints(), ", "))).
		WithHint("Give the identity of one of its recipients with --identity FILE; a file may hold several.")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// StoredAs describes an object that was sealed and stored under a key.
func StoredAs(key string, by *seal.Sealer, r seal.Result) Stored {
	return Stored{Key: key, Size: r.StoredBytes, CRC32C: r.StoredCRC32C, SHA256: r.StoredSHA256, Compression: seal.Compression,
		Recipients: by.Recipients().Fingerprints()}
}

// object names a stored object in errors of reading it.
type object struct {
	r     io.Reader
	key   string
	close func() error
}

func (o *object) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	if err != nil && err != io.EOF {
		err = objectError(o.key, err)
	}
	return n, err
}

func (o *object) Close() error { return o.close() }

// objectError names the object that could not be read, and tells damage from a failure of the storage.
func objectError(key string, err error) error {
	switch {
	case errors.Is(err, seal.ErrDamaged):
		return damaged("read", key, err)
	case fault.KindOf(err) == fault.Other: // of the storage, and not the object's fault
		return fault.New(fault.Storage, "read", key, err)
	}
	return fmt.Errorf("read %s: %w", key, err)
}

// CheckStored compares a stored object's presence and size with its manifest, without reading it.
func (c *Catalog) CheckStored(ctx context.Context, s Stored) error {
	o, err := c.store.Stat(ctx, c.key(s.Key))
	if errors.Is(err, storage.ErrNotExist) {
		return damaged("check", s.Key, errors.New("the object is missing"))
	}
	if err != nil {
		return err
	}
	if o.Size != s.Size {
		return damaged("check", s.Key, fmt.Errorf("the object has %d bytes, its manifest says %d", o.Size, s.Size))
	}
	return nil
}

// OpenStored opens an object as it is stored, which reading to io.EOF has checked against its manifest.
func (c *Catalog) OpenStored(ctx context.Context, s Stored) (io.ReadCloser, error) {
	raw, err := c.raw(ctx, s)
	if err != nil {
		return nil, err
	}
	return &object{r: seal.Check(raw, s.Size, s.SHA256[:]), key: s.Key, close: raw.Close}, nil
}

// VerifyStored reads an object as it is stored to its end.
func (c *Catalog) VerifyStored(ctx context.Context, s Stored) error {
	r, err := c.OpenStored(ctx, s)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
