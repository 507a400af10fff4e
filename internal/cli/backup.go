package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tidemark/basebackup"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/daemon"
	"tidemark/internal/fault"
	"tidemark/replica"
)

func (a *app) newBackup() *cobra.Command {
	return &cobra.Command{
		Use:   "backup [CLUSTER]",
		Short: "Take a base backup now",
		Long: `Take a base backup of the cluster's primary now and put it into the archive. It streams: nothing is
stored on this machine in between.

MariaDB is copied by mariadb-backup of the server's version: this has to run on the server's machine,
as a user that may read the data directory. MySQL is cloned over the network, from any machine; the
server needs its clone plugin. With base.engine: xtrabackup it is copied by Percona XtraBackup of the
server's series, on the server's machine as MariaDB is.

The backup counts once the archived log has reached its position, so "tidemark run" must be archiving
the cluster. Until then, and after any failure, there is nothing in the archive but objects that
nobody reads, and those are removed.` +
			exits(fault.NoArchive, fault.Unreachable, fault.Integrity, fault.Primary, fault.Storage, fault.Config),
		Example: `  tidemark backup
  tidemark backup shop --json | jq -r .id`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runBackup(cmd.Context(), first(args))
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
}

type backupResult struct {
	Cluster string `json:"cluster"`
	listBase
}

func (a *app) runBackup(ctx context.Context, name string) (*backupResult, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	cl, err := cfg.Cluster(name)
	if err != nil {
		return nil, err
	}
	if err := cfg.NeedPrimary(cl); err != nil {
		return nil, err
	}
	_, cat, err := a.catalog(ctx, cl.Name)
	if err != nil {
		return nil, err
	}
	host, _, err := daemon.Choose(ctx, cl, replica.Choice{}, config.Address{}, a.Clock)
	if err != nil {
		return nil, err
	}
	engine, err := a.engine(cfg, cl, host, cat.Cluster.Flavor)
	if err != nil {
		return nil, err
	}
	p := a.progress()
	b, err := basebackup.Take(ctx, basebackup.Options{Catalog: cat, Engine: engine, Clock: a.Clock,
		PartSize: int64(cl.Base.PartSize), Threads: cl.Base.Threads, Recipients: cfg.Encryption.Keys(), Writer: "tidemark backup", Version: a.Version,
		Progress: func(b basebackup.Progress) { p.show(backupLine(cl.Name, b), b) }})
	p.done()
	if err != nil {
		return nil, err
	}
	return &backupResult{cl.Name, baseOf(b)}, nil
}

func backupLine(cluster string, b basebackup.Progress) string {
	line := fmt.Sprintf("backup %s: %s, %s copied, %s stored, %s/s, %s", cluster, b.Phase, size(b.Plain), size(b.Stored),
		size(int64(b.Rate)), took(b.Elapsed))
	if b.Waiting != "" {
		line = fmt.Sprintf("backup %s: %s", cluster, b.Waiting)
	}
	return line
}

func (r *backupResult) text(t *text) {
	t.line("base backup %s of cluster %s", r.ID, r.Cluster)
	t.line("  consistent at  %s, position %s (%s)", when(r.Consistent), r.Position, r.Source)
	t.line("  size           %s, %s stored in %s, taken in %s", size(r.Bytes), size(r.StoredBytes), counted(r.Parts, "part"), r.took())
}

// baseOf describes a base backup.
func baseOf(b *catalog.Base) listBase {
	return listBase{b.ID, b.Timeline, b.Consistent, b.PositionMax.GTID, b.Source.String(), b.Engine,
		b.ServerVersion, b.PlainBytes, b.StoredBytes(), len(b.Parts), b.Finished.Sub(b.Started).Seconds()}
}
