// Package catalog is the archive of one cluster as one thing: it opens and creates it, appends
// segments and base backups, walks and checks the chain, and answers what a restore needs.
//
// It is the only reader and writer of the archive's messages (proto/archive); others see the model
// of this package. What the objects are called and what they promise is specified in docs/format.md.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"tidemark/internal/failpoint"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/storage"
)

// maxObject bounds the memory a manifest, head or timeline may take.
const maxObject = 64 << 20

// Catalog is an open archive of one cluster.
type Catalog struct {
	Cluster Cluster
	store   storage.Store
	by      string           // program version, recorded in what is written
	ids     *keys.Identities // that open what is encrypted
}

// Clusters lists the names of the clusters in an archive.
func Clusters(ctx context.Context, store storage.Store) ([]string, error) {
	var names []string
	after := ""
	for {
		found := false
		for o, err := range store.List(ctx, "", after) {
			if err != nil {
				return nil, fmt.Errorf("list the archive: %w", err)
			}
			name, _, nested := strings.Cut(o.Key, "/")
			if nested && o.Key == name+"/cluster.json" {
				names = append(names, name)
			}
			// '0' follows '/': go on behind everything of this cluster. Its cluster.json sorts
			// between base/ and lease/, so step to it first.
			switch {
			case !nested:
				after = o.Key
			case o.Key < name+"/cluster.json":
				after = name + "/cluster.jso"
			default:
				after = name + "0"
			}
			found = true
			break
		}
		if !found {
			return names, nil
		}
	}
}

// Open opens the archive of a cluster. The error is of kind NoArchive when there is none.
func Open(ctx context.Context, store storage.Store, name, by string) (*Catalog, error) {
	key := name + "/cluster.json"
	m, err := readObject(ctx, store, key, newCluster)
	if errors.Is(err, storage.ErrNotExist) {
		return nil, fault.New(fault.NoArchive, "open cluster "+name+" in", store.URL(), errors.New("there is no such cluster")).
			WithHint("Name a cluster that `tidemark list` shows, or start archiving with `tidemark run`.")
	}
	if err != nil {
		return nil, err
	}
	c := clusterFromWire(m)
	if c.Name != name {
		return nil, fault.New(fault.Integrity, "open", key, fmt.Errorf("it is the description of cluster %q", c.Name))
	}
	return &Catalog{Cluster: *c, store: store, by: by}, nil
}

// Create opens the archive of a cluster, and begins one when there is none: its description and
// timeline 1. An archive of another flavor is refused.
func Create(ctx context.Context, store storage.Store, name, by string, flavor gtid.Flavor, now time.Time) (*Catalog, error) {
	c, err := Open(ctx, store, name, by)
	if fault.Is(err, fault.NoArchive) {
		cluster := Cluster{UUID: uuid.NewString(), Name: name, Flavor: flavor, Created: now}
		data, eerr := encode(clusterToWire(&cluster, by))
		if eerr != nil {
			return nil, eerr
		}
		if perr := store.Put(ctx, name+"/cluster.json", data, true); perr != nil && !errors.Is(perr, storage.ErrExist) {
			return nil, fmt.Errorf("create cluster %s: %w", name, perr)
		}
		c, err = Open(ctx, store, name, by) // ours, or that of who was first
	}
	if err != nil {
		return nil, err
	}
	if c.Cluster.Flavor != flavor {
		return nil, fault.New(fault.Config, "open cluster", name, fmt.Errorf("the archive is of %s, the primary is %s", c.Cluster.Flavor, flavor)).
			WithHint("Archive this primary under another cluster name.")
	}
	if err := c.PutTimeline(ctx, &Timeline{Number: 1, Reason: "start", Created: now, Seed: c.seed()}); err != nil && !errors.Is(err, storage.ErrExist) {
		return nil, err
	}
	return c, nil
}

// seed makes the chains of two clusters differ from their first digest on.
func (c *Catalog) seed() Digest { return NextDigest(Digest{}, sha([]byte(c.Cluster.UUID))) }

// URL names the archive for people.
func (c *Catalog) URL() string { return strings.TrimSuffix(c.store.URL(), "/") + "/" + c.Cluster.Name }

// Upload stores a data object under a key relative to the cluster.
func (c *Catalog) Upload(ctx context.Context, key string, r io.Reader) error {
	failpoint.Before(failpoint.PutData)
	_, err := c.store.Upload(ctx, c.key(key), r)
	failpoint.After(failpoint.PutData)
	return err
}

// Discard removes a data object that no manifest names.
func (c *Catalog) Discard(ctx context.Context, key string) error {
	failpoint.Before(failpoint.Delete)
	err := c.store.Delete(ctx, c.key(key))
	failpoint.After(failpoint.Delete)
	return err
}

func (c *Catalog) key(rel string) string { return c.Cluster.Name + "/" + rel }

// damaged is an integrity error about an object.
func damaged(op, subject string, err error) error {
	return fault.New(fault.Integrity, op, subject, err).
		WithHint("Run `tidemark verify --data` to see everything that is damaged.")
}
