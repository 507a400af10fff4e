package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// config loads the configuration.
func (a *app) config() (*config.Config, error) {
	return config.Load(config.Source{File: a.file, Environ: a.Environ, Flags: a.flags, Schemes: a.schemes()})
}

// schemes are those of the storage this build has.
func (a *app) schemes() (schemes []string) {
	for _, d := range a.Drivers {
		schemes = append(schemes, d.Scheme)
	}
	return schemes
}

// openStore opens the storage of the configured archive: what fails and may pass is tried again, and
// the bandwidth is bounded as configured.
func (a *app) openStore(ctx context.Context, cfg *config.Config) (storage.Store, error) {
	u, err := url.Parse(cfg.Archive)
	if err != nil {
		return nil, fault.New(fault.Config, "open archive", "", err)
	}
	i := slices.IndexFunc(a.Drivers, func(d Driver) bool { return d.Scheme == u.Scheme })
	if i < 0 {
		return nil, fault.New(fault.Config, "open archive", cfg.Archive, fmt.Errorf("storage %s:// is not supported by this build", u.Scheme))
	}
	store, err := a.Drivers[i].Open(ctx, u, cfg.Storage)
	if err != nil {
		return nil, err
	}
	if rate := cfg.Storage.Bandwidth; rate > 0 {
		store = storage.Limit(store, int64(rate), a.Clock)
	}
	return storage.Retry(store, storage.DefaultBackoff()), nil
}

// archive opens the configured archive.
func (a *app) archive(ctx context.Context) (*config.Config, storage.Store, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	if err := cfg.NeedArchive(); err != nil {
		return nil, nil, err
	}
	store, err := a.openStore(ctx, cfg)
	return cfg, store, err
}

// catalog opens the archive of one cluster: the one that is named, or the only one there is.
func (a *app) catalog(ctx context.Context, name string) (*config.Config, *catalog.Catalog, error) {
	cfg, store, err := a.archive(ctx)
	if err != nil {
		return nil, nil, err
	}
	if name == "" {
		name = a.flags.Cluster
	}
	if name == "" && len(cfg.Clusters) > 0 {
		cl, err := cfg.Cluster("")
		if err != nil {
			return nil, nil, err
		}
		name = cl.Name
	}
	if name == "" {
		names, err := archived(ctx, store)
		if err != nil {
			return nil, nil, err
		}
		if len(names) > 1 {
			return nil, nil, fault.New(fault.Usage, "", "", fmt.Errorf("%s holds %d clusters and none is named", store.URL(), len(names))).
				WithHint("Name one of: " + strings.Join(names, ", ") + ".")
		}
		name = names[0]
	}
	cat, err := catalog.Open(ctx, store, name, a.Version)
	return cfg, cat, err
}

// catalogs opens the archive of the cluster that is named, or of all that there are.
func (a *app) catalogs(ctx context.Context, name string) (*config.Config, storage.Store, []*catalog.Catalog, error) {
	cfg, store, err := a.archive(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if name == "" {
		name = a.flags.Cluster
	}
	names := []string{name}
	if name == "" {
		if names, err = archived(ctx, store); err != nil {
			return nil, nil, nil, err
		}
	}
	var all []*catalog.Catalog
	for _, n := range names {
		cat, err := catalog.Open(ctx, store, n, a.Version)
		if err != nil {
			return nil, nil, nil, err
		}
		all = append(all, cat)
	}
	return cfg, store, all, nil
}

// archived returns the names of the clusters in an archive; that there is none is an error.
func archived(ctx context.Context, store storage.Store) ([]string, error) {
	names, err := catalog.Clusters(ctx, store)
	if err == nil && len(names) == 0 {
		err = fault.New(fault.NoArchive, "open archive", store.URL(), errors.New("there is none")).
			WithHint("Check the URL, or start archiving with `tidemark run`.")
	}
	return names, err
}
