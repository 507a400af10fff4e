package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/expire"
	"tidemark/internal/fault"
)

type keepOptions struct {
	cluster, base string
	until         string
	forever       bool
	release       bool
}

func (a *app) newKeep() *cobra.Command {
	var o keepOptions
	cmd := &cobra.Command{
		Use:   "keep [CLUSTER] BACKUP",
		Short: "Keep a base backup beyond the retention",
		Long: `Mark a base backup, so that the retention lets it stay: until a time, for ever, or no longer. The last
mark counts.

A base backup that is kept stays with the part of the log that makes it consistent. When the log that
follows it has expired it can be restored to its own end only: "tidemark list" says so, and with which
--to-position that is asked for.` + exits(fault.NoArchive, fault.Unreachable, fault.Integrity, fault.Storage, fault.Config),
		Example: `  tidemark keep shop 20261121T031500Z-1a2b --until 2027-12-31T00:00:00Z
  tidemark keep shop 20261121T031500Z-1a2b --until '2027-12-31 00:00'
  tidemark keep shop 20261121T031500Z-1a2b --release`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 {
				return usage("the ID of one base backup is expected, after the name of its cluster if there are several", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.base = args[len(args)-1]
			if len(args) == 2 {
				o.cluster = args[0]
			}
			r, err := a.runKeep(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	cmd.Flags().StringVar(&o.until, "until", "", "keep it until this `time`, as '2027-12-31 00:00'")
	cmd.Flags().BoolVar(&o.forever, "forever", false, "keep it until it is released")
	cmd.Flags().BoolVar(&o.release, "release", false, "keep it no longer than the retention does")
	return cmd
}

type keepResult struct {
	Cluster string     `json:"cluster"`
	Base    string     `json:"base"`
	Kept    bool       `json:"kept"`
	Until   *time.Time `json:"keep_until,omitempty"` // absent: until it is released
}

func (a *app) runKeep(ctx context.Context, o keepOptions) (*keepResult, error) {
	given := 0
	for _, b := range []bool{o.until != "", o.forever, o.release} {
		if b {
			given++
		}
	}
	if given != 1 {
		return nil, usage("give one of --until, --forever and --release", "tidemark keep")
	}
	k := &catalog.Keep{Base: o.base, Released: o.release, Marked: a.Clock.Now().UTC()}
	if o.until != "" {
		t, _, err := a.moment("until", o.until)
		if err != nil {
			return nil, err
		}
		if k.Until = t.UTC(); !k.Until.After(k.Marked) {
			return nil, usage("--until "+o.until+" is over", "tidemark keep")
		}
	}
	_, cat, err := a.catalog(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	if _, err := expire.Mark(ctx, cat, k); err != nil {
		return nil, err
	}
	return &keepResult{cat.Cluster.Name, k.Base, !k.Released, known(k.Until)}, nil
}

func (r *keepResult) text(t *text) {
	switch {
	case !r.Kept:
		t.line("base backup %s of cluster %s is kept no longer than the retention does", r.Base, r.Cluster)
	case r.Until == nil:
		t.line("base backup %s of cluster %s is kept until it is released", r.Base, r.Cluster)
	default:
		t.line("base backup %s of cluster %s is kept until %s", r.Base, r.Cluster, when(*r.Until))
	}
}
