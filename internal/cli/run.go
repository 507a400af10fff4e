package cli

import (
	"context"

	"github.com/spf13/cobra"

	"tidemark/basebackup"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/storage"
)

func (a *app) newRun() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Archive continuously, as the configuration says",
		Long: `Archive every cluster of the configuration continuously, take the scheduled base backups, compact small
segments, and serve the status port. It runs in the foreground until it gets SIGINT or SIGTERM; then it
seals and uploads what it has, and exits with 0. What fails is tried again for as long as it may pass; it
ends by itself only when no cluster can go on without an operator.

While another "tidemark run" holds the lease of a cluster it stands by, and takes over when that one ends
or is lost.` +
			exits(fault.Locked, fault.Unreachable, fault.Integrity, fault.Primary, fault.Storage, fault.Config),
		Example: `  tidemark run
  tidemark run --primary 127.0.0.1:3306 --user tidemark --archive file:///srv/archive --cluster shop`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runRun(cmd.Context()) },
	}
}

func (a *app) runRun(ctx context.Context) error {
	log, err := a.logger(a.log.level)
	if err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	return daemon.Run(ctx, daemon.Options{
		Config:     cfg,
		OpenStore:  func(ctx context.Context, _ string) (storage.Store, error) { return a.openStore(ctx, cfg) },
		Log:        log,
		Version:    a.Version,
		Recipients: cfg.Encryption.Keys(),
		Clock:      a.Clock,
		FS:         durable.OS{},
		Engine: func(cl *config.Cluster, host config.Address, f gtid.Flavor) (basebackup.Engine, error) {
			return a.engine(cfg, cl, host, f)
		},
	})
}
