package cloud

import (
	"context"
	"fmt"
	"io"
	"strings"

	"tidemark/storage"
)

// Listing is one listing of a store: it makes of what a provider lists what was asked for.
type Listing struct {
	ctx    context.Context
	place  Place
	prefix string
	after  string // of the listing, then the last key that came
	yield  func(storage.Object, error) bool
	came   bool
}

// NewListing returns the listing of the objects whose keys begin with prefix and come after after, or
// nil when there can be none or the context has ended, which it then yields.
func NewListing(ctx context.Context, place Place, prefix, after string, yield func(storage.Object, error) bool) *Listing {
	if !storage.CanBegin(prefix) || after > prefix && !strings.HasPrefix(after, prefix) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		yield(storage.Object{}, Plain("list", prefix, err))
		return nil
	}
	return &Listing{ctx: ctx, place: place, prefix: prefix, after: after, yield: yield}
}

// Prefix is what the names of all objects begin with.
func (l *Listing) Prefix() string { return l.place.Name(l.prefix) }

// After is a name that those of all objects come after, or "" if their prefix says enough.
func (l *Listing) After() string {
	if l.after <= l.prefix {
		return ""
	}
	return l.place.Name(l.after)
}

// Add yields an object under its key, and returns false when the listing is over. Names that are no
// keys are none of ours. The order is what the archive is read by, so it is not taken on trust.
func (l *Listing) Add(name string, o storage.Object) bool {
	key, ok := strings.CutPrefix(name, l.place.Prefix)
	if !ok || storage.CheckKey(key) != nil {
		return true
	}
	if l.came && key <= l.after {
		l.yield(storage.Object{}, storage.Fail("list", l.prefix, storage.Unordered, fmt.Errorf("%s comes after %s", key, l.after)))
		return false
	}
	if key <= l.after { // named in the request, and some providers begin with it
		return true
	}
	l.came, l.after = true, key
	o.Key = key
	return l.yield(o, nil)
}

// Fail ends the listing with a provider's error.
func (l *Listing) Fail(err error) { l.yield(storage.Object{}, Fail(l.ctx, "list", l.prefix, err)) }

// Body returns r with the errors of a driver.
func Body(ctx context.Context, key string, r io.ReadCloser) io.ReadCloser {
	return &body{ctx, key, r}
}

type body struct {
	ctx context.Context
	key string
	r   io.ReadCloser
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = Fail(b.ctx, "read", b.key, err)
	}
	return n, err
}

func (b *body) Close() error { return b.r.Close() }

// Beyond reports whether a range has no bytes whatever the object is, so that only its existence is
// to be asked for: no provider has objects of a pebibyte.
func Beyond(offset, length int64) bool { return length == 0 || offset >= 1<<50 }

// Nothing is the body of a range without bytes.
func Nothing() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }
