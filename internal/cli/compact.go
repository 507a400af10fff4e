package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/compact"
	"tidemark/internal/config"
	"tidemark/internal/fault"
)

type compactOptions struct {
	cluster  string
	identity string
	size     string
	age      time.Duration
	grace    time.Duration
	dryRun   bool
}

func (a *app) newCompact() *cobra.Command {
	var o compactOptions
	cmd := &cobra.Command{
		Use:   "compact [CLUSTER]",
		Short: "Write runs of small segments as one",
		Long: `Write runs of small segments of the archive as one each, for every cluster or the one that is named, so that
there are fewer objects to list and to read. What the segments hold stays as it is, byte for byte, and so
do their numbers and digests in the chain: all that could be restored can be restored, at every moment.

A run lies in one binlog of the primary; the last of the log, which may still grow, is left alone. Each
compacted segment is read back before it counts. The small ones go, by a later call, when they have been
replaced for --grace: a restore that began before reads them still. The daemon may write meanwhile, and
one that is interrupted is simply called again. What is encrypted needs an identity, and is encrypted for
the recipients of the configuration.

"tidemark run" compacts what it archives by itself, as "compaction" in the configuration says, and without an
identity: this command is for what it has left, as after a restart on another machine, and for older archives.` + exits(fault.NoArchive, fault.Locked, fault.WrongKey, fault.Integrity, fault.Storage, fault.Config),
		Example: `  tidemark compact shop --dry-run
  tidemark compact
  tidemark compact shop --identity /root/shop.identity --size 64MiB`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster = first(args)
			r, err := a.runCompact(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	f := cmd.Flags()
	identityFlag(cmd, &o.identity)
	f.StringVar(&o.size, "size", "", "`size` of a compacted segment at most, plain (default compaction.size, 256MiB)")
	f.DurationVar(&o.age, "age", 0, "`time` that lies between its first and its last event at most (default compaction.age, 1h)")
	f.DurationVar(&o.grace, "grace", unsaid, "how long the small ones stay beside it; 0s removes them at once (default compaction.grace, 24h)")
	f.Lookup("grace").DefValue = "0s" // is not shown
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done and change nothing")
	return cmd
}

// unsaid is a grace that is not given.
const unsaid = -time.Nanosecond

type compactBounds struct {
	size       int64
	age, grace time.Duration
}

// boundsOf is what the flags say, else the configuration of the cluster, else, with zeros, the defaults of package compact.
func boundsOf(cfg *config.Config, cluster string, size int64, o compactOptions) compactBounds {
	b := compactBounds{size, o.age, o.grace}
	i := slices.IndexFunc(cfg.Clusters, func(c *config.Cluster) bool { return c.Name == cluster })
	if i >= 0 {
		k := cfg.Clusters[i].Compaction
		if b.size == 0 {
			b.size = int64(k.Size)
		}
		if b.age == 0 {
			b.age = k.Age
		}
		if b.grace == unsaid {
			b.grace = k.Grace
		}
	}
	switch b.grace {
	case unsaid:
		b.grace = 0
	case 0:
		b.grace = -1
	}
	return b
}

type compactResult struct {
	Clusters []compactReport `json:"clusters"`
	DryRun   bool            `json:"dry_run"`
}

type compactReport struct {
	*compact.Report
	Seconds float64 `json:"duration_seconds"`
}

func (a *app) runCompact(ctx context.Context, o compactOptions) (*compactResult, error) {
	var most int64
	if o.size != "" {
		var err error
		if most, err = sizeFlag("size", o.size); err != nil {
			return nil, err
		}
		if most <= 0 {
			return nil, usage("--size, --age and --grace are more than nothing", "tidemark compact")
		}
	}
	if o.age < 0 || o.grace < 0 && o.grace != unsaid {
		return nil, usage("--size, --age and --grace are more than nothing", "tidemark compact")
	}
	cfg, _, cats, err := a.catalogs(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	if err := unlock(cfg, o.identity, cats...); err != nil {
		return nil, err
	}
	p := a.progress()
	defer p.done()
	r := compactResult{DryRun: o.dryRun}
	for _, cat := range cats {
		bounds := boundsOf(cfg, cat.Cluster.Name, most, o)
		report, err := compact.Run(ctx, cat, compact.Options{Size: bounds.size, Age: bounds.age, Grace: bounds.grace, Recipients: cfg.Encryption.Keys(), DryRun: o.dryRun,
			Writer: "tidemark compact", Version: a.Version, Clock: a.Clock, Progress: func(v compact.Progress) {
				p.show(fmt.Sprintf("compact %s: %s, %s of %s", cat.Cluster.Name, percent(v.Bytes, v.AllBytes), size(v.Bytes), size(v.AllBytes)), v)
			}})
		if err != nil {
			return nil, err
		}
		r.Clusters = append(r.Clusters, compactReport{report, report.Duration.Seconds()})
	}
	return &r, nil
}

func (r *compactResult) text(t *text) {
	would := ""
	if r.DryRun {
		would = "would be "
	}
	for _, c := range r.Clusters {
		t.title("cluster %s", c.Cluster)
		t.line("  %s with %s %sput into %s in %s", counted(c.Segments, "segment"), size(c.Bytes), would, count(c.Into), took(c.Duration))
		if c.Removed > 0 {
			t.line("  %s of segments replaced before %sremoved", counted(c.Removed, "object"), would)
		}
		if c.Locked > 0 {
			t.line("  %s of segments replaced before kept by the storage", counted(c.Locked, "object"))
		}
		if c.Waiting > 0 {
			t.line("  %s replaced and stay until their grace ends", counted(c.Waiting, "segment"))
		}
	}
}
