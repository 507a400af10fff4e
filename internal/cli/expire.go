package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/expire"
	"tidemark/internal/fault"
)

type expireOptions struct {
	cluster string
	dryRun  bool
	grace   time.Duration // negative: as configured
}

func (a *app) newExpire() *cobra.Command {
	o := expireOptions{grace: -1}
	cmd := &cobra.Command{
		Use:   "expire [CLUSTER]",
		Short: "Delete what the retention does not promise any more",
		Long: `Delete from the archive of every configured cluster, or of the one that is named, what its retention
(clusters.NAME.retention) does not promise any more. Without a retention nothing ever expires.

Every moment of the window stays restorable, and so do the newest base backups, as many as min_backups
says, and those that "tidemark keep" has marked. The rest expires: restores to it are refused from then
on, and its objects are deleted when they have been expired for the grace, by a later run. A run that
is interrupted goes on where it was with the next one. Nothing is deleted from an archive that is
damaged where the window needs it.

"tidemark run" does the same by retention.schedule. With --dry-run it says what would expire, and why,
and changes nothing.` + exits(fault.Warnings, fault.NoArchive, fault.Integrity, fault.Storage, fault.Config),
		Example: `  tidemark expire shop --dry-run
  tidemark expire shop
  tidemark expire shop --grace 0s      # when no restore runs
  tidemark expire --json | jq '.clusters[].deleted_bytes'`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster = first(args)
			if cmd.Flags().Changed("grace") && o.grace < 0 {
				return usage("--grace is negative", cmd.CommandPath())
			}
			r, err := a.runExpire(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would expire and be deleted")
	cmd.Flags().DurationVar(&o.grace, "grace", o.grace, "how `long` objects stay after they have expired, instead of retention.grace")
	cmd.Flags().Lookup("grace").DefValue = "0s" // none is shown
	return cmd
}

type expireResult struct {
	Clusters []*expire.Report `json:"clusters"`
}

func (a *app) runExpire(ctx context.Context, o expireOptions) (*expireResult, error) {
	cfg, store, err := a.archive(ctx)
	if err != nil {
		return nil, err
	}
	clusters := cfg.Clusters
	if name := o.cluster; name != "" || a.flags.Cluster != "" || len(clusters) == 0 {
		if name == "" {
			name = a.flags.Cluster
		}
		cl, err := cfg.Cluster(name)
		if err != nil {
			return nil, err
		}
		clusters = []*config.Cluster{cl}
	}
	r := new(expireResult)
	var worst error
	p := a.progress()
	defer p.done()
	for _, cl := range clusters {
		cat, err := catalog.Open(ctx, store, cl.Name, a.Version)
		if err != nil {
			return nil, err
		}
		eo := expire.Options{Policy: expire.PolicyOf(cl.Retention), Grace: cl.Retention.Grace, DryRun: o.dryRun, Clock: a.Clock,
			Progress: func(n int64) {
				p.show(fmt.Sprintf("expire %s: %s deleted", cl.Name, counted(n, "object")), map[string]int64{"deleted_objects": n})
			}}
		if o.grace >= 0 {
			eo.Grace = o.grace
		}
		report, err := expire.Run(ctx, cat, eo)
		r.Clusters = append(r.Clusters, report)
		if err != nil && (worst == nil || fault.Is(worst, fault.Warnings)) {
			worst = err
		}
	}
	return r, worst
}

func (r *expireResult) text(t *text) {
	for _, c := range r.Clusters {
		t.title("cluster %s in %s", c.Cluster, c.Archive)
		if c.Never {
			t.line("  no retention is configured: nothing is ever deleted")
			continue
		}
		if c.Plan == nil {
			continue // why, the error says
		}
		expirePlan(t, c.Plan)
		t.line("")
		verb := "deleted"
		if c.DryRun {
			verb = "would be deleted now"
		}
		t.line("  %s, %s: %s", counted(c.Deleted, "object"), size(c.Bytes), verb)
		if c.Orphans > 0 {
			t.line("  %s of them had no manifest: left by uploads that were not finished", counted(c.Orphans, "object"))
		}
		if c.Waiting > 0 {
			t.line("  %s expired, and are deleted after their grace: all by a run after %s", counted(c.Waiting, "object"), when(c.DeleteAfter))
		}
		for i, f := range c.Refused {
			if i == 0 {
				t.title("the storage refuses to delete %s", counted(c.RefusedAll, "object"))
			}
			t.line("  %s: %s", f.Key, f.Error)
		}
		for _, w := range c.Warnings {
			t.line("  warning: %s", w)
		}
	}
}

func expirePlan(t *text, p *expire.Plan) {
	if w := when(p.WindowBegins); w != "" {
		t.line("  every moment from %s on stays restorable", w)
	}
	var rows [][]string
	for _, b := range p.Bases {
		fate := "stays"
		switch {
		case b.Goes:
			fate = "expires"
		case b.Alone:
			fate = "stays alone"
		}
		rows = append(rows, []string{b.ID, fmt.Sprint(b.Timeline), when(b.Consistent), size(b.Bytes), fate, b.Why})
	}
	if len(rows) > 0 {
		t.title("base backups")
		t.table([]string{"id", ">timeline", "consistent at", ">stored", "", "because"}, rows)
	}
	rows = nil
	for _, l := range p.Logs {
		rows = append(rows, []string{fmt.Sprint(l.Timeline), count(l.Segments), size(l.Bytes), count(l.Begins), count(l.Stay), count(l.Kept)})
	}
	t.title("log")
	t.table([]string{">timeline", ">segments that expire", ">size", ">begins with", ">segments that stay", ">kept before it"}, rows)
}
