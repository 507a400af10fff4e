// Package daemon runs the clusters of a configuration: for each the stream with its reconnects, the
// archiver and the scheduled base backups; and for all of them the status port.
package daemon

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"tidemark/basebackup"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/internal/keys"
	"tidemark/storage"
)

// Options of a daemon.
type Options struct {
	Config    *config.Config
	OpenStore func(ctx context.Context, url string) (storage.Store, error)
	Log       *zap.Logger
	Version   string
	// Recipients are who can open what is archived; nil: everybody who can read it.
	Recipients *keys.Recipients
	Clock      clock.Clock
	FS         durable.FS
	// Engine returns what takes base backups of a cluster from a host of it; nil: none are taken.
	Engine func(*config.Cluster, config.Address, gtid.Flavor) (basebackup.Engine, error)
	// Listening is told the address of the status port once it accepts connections; may be nil.
	Listening func(addr string)
}

// Run archives every cluster until ctx ends, then seals and uploads what it has and returns nil. It
// returns an error when it cannot start, or when no cluster can go on without an operator.
func Run(ctx context.Context, o Options) error {
	if err := o.Config.NeedArchive(); err != nil {
		return err
	}
	store, err := o.OpenStore(ctx, o.Config.Archive)
	if err != nil {
		return err
	}
	counted := newStorageMetrics()
	store = storage.Observe(store, o.Clock, counted.seen)
	started := o.Clock.Now()
	var clusters []*cluster
	for _, c := range o.Config.Clusters {
		if err := o.Config.NeedPrimary(c); err != nil {
			return err
		}
		clusters = append(clusters, newCluster(o, c, store))
	}
	if len(clusters) == 0 {
		_, err := o.Config.Cluster("")
		return err
	}
	port := &port{clusters: clusters, version: o.Version, started: started, clock: o.Clock, storage: counted}
	stopPort, err := port.listen(o.Config.Status, o.Log, o.Listening)
	if err != nil {
		return err
	}
	defer stopPort()

	sweeping, stopSweeping := context.WithCancel(ctx)
	var swept sync.WaitGroup
	swept.Go(func() { sweep(sweeping, store, o.Clock, o.Log) })
	defer swept.Wait()
	defer stopSweeping()

	errs := make([]error, len(clusters))
	var wg sync.WaitGroup
	for i, c := range clusters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = c.run(ctx)
			if errs[i] != nil {
				c.stopped(errs[i])
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}
