package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/archiver"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/verify"
)

type verifyOptions struct {
	cluster  string
	data     bool
	stored   bool
	subset   string
	identity string
	timeline uint32
}

func (a *app) newVerify() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify [CLUSTER]",
		Short: "Check that the archive is whole",
		Long: `Check the archive of every cluster, or of the one that is named, and name everything that is damaged,
missing, swapped or stale. Nothing is changed.

Without --data all manifests are read and the presence and size of all objects is checked: this finds
holes, a cut-off end, contradictions. With --data every byte is read: hashes, the checksum of every
event, and the positions, times and counts that the manifests tell. For that an encrypted archive needs
an identity; with --stored every stored byte is read and compared with its hash, which needs none. It is
safe, and useful, to run it while the archive is written to.

With --subset 5% a twentieth of the data is read, and the next twentieth by the next run: after twenty
runs every byte has been read once. Where that stands is kept in state_dir; with --subset 3/20 you name
the part yourself.` + exits(fault.Warnings, fault.NoArchive, fault.WrongKey, fault.Integrity, fault.Storage, fault.Config),
		Example: `  tidemark verify
  tidemark verify shop --data
  tidemark verify shop --data --subset 5%
  tidemark verify --json | jq '.clusters[].findings[] | select(.severity == "damage")'`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster = first(args)
			r, err := a.runVerify(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	cmd.Flags().BoolVar(&o.data, "data", false, "read and check every byte, and every event")
	cmd.Flags().BoolVar(&o.stored, "stored", false, "read and check every byte as it is stored, without opening what is encrypted")
	cmd.Flags().StringVar(&o.subset, "subset", "", "read this `share` of the data, 5%, or part of it, 3/20")
	identityFlag(cmd, &o.identity)
	cmd.Flags().Uint32Var(&o.timeline, "timeline", 0, "check this timeline only")
	return cmd
}

type verifyResult struct {
	Clusters []verifyReport `json:"clusters"`
}

type verifyReport struct {
	*verify.Report
	Seconds float64 `json:"duration_seconds"`
}

func (a *app) runVerify(ctx context.Context, o verifyOptions) (*verifyResult, error) {
	if o.data && o.stored {
		return nil, usage("give --data or --stored: the first checks all that the second does", "tidemark verify")
	}
	parts, err := o.parts()
	if err != nil {
		return nil, err
	}
	cfg, _, cats, err := a.catalogs(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	if o.data || o.identity != "" {
		if err := unlock(cfg, o.identity, cats...); err != nil {
			return nil, err
		}
	}
	var r verifyResult
	var worst error
	p := a.progress()
	defer p.done()
	for _, cat := range cats {
		if _, err := cat.Timeline(ctx, o.timeline); o.timeline != 0 && err != nil && !fault.Is(err, fault.Integrity) {
			return nil, err
		}
		run := verify.Options{Data: o.data, Stored: o.stored, Timeline: o.timeline, Clock: a.Clock,
			Progress: func(v verify.Progress) { p.show(verifyLine(cat.Cluster.Name, v), v) }}
		if run.Anchor, err = a.anchor(cfg, cat.Cluster.Name); err != nil {
			return nil, err
		}
		report, err := parts.run(ctx, filepath.Join(cfg.StateDir, cat.Cluster.Name), cat, run)
		if report == nil {
			return nil, err
		}
		r.Clusters = append(r.Clusters, verifyReport{report, report.Duration.Seconds()})
		if worst == nil || fault.Is(err, fault.Integrity) && !fault.Is(worst, fault.Integrity) {
			worst = err
		}
	}
	return &r, worst
}

// parts says which part of the data is read: all, one that is named, or the next one of so many.
type parts struct {
	named verify.Subset
	of    int
}

func (o verifyOptions) parts() (p parts, err error) {
	if o.subset == "" {
		return p, nil
	}
	if !o.data && !o.stored {
		return p, usage("--subset says how much is read: give --data or --stored too", "tidemark verify")
	}
	if strings.Contains(o.subset, "/") {
		p.named, err = verify.ParseSubset(o.subset)
	} else {
		var share config.Share
		if err = share.UnmarshalText([]byte(o.subset)); err == nil && share == 0 {
			err = fmt.Errorf("%q is nothing: leave --data out to read manifests only", o.subset)
		}
		p.of = share.Parts()
	}
	if err != nil {
		return p, fault.New(fault.Usage, "", "--subset", err).WithHint("Write a share of the data, as 5%, or a part of it, as 3/20.")
	}
	return p, nil
}

// run checks an archive, and records in dir which part of it has been read.
func (p parts) run(ctx context.Context, dir string, cat *catalog.Catalog, o verify.Options) (*verify.Report, error) {
	o.Subset = p.named
	if p.of <= 1 {
		return verify.Run(ctx, cat, o)
	}
	at, err := verify.ReadPosition(durable.OS{}, dir)
	if err != nil {
		return nil, err
	}
	o.Subset = at.Next(p.of)
	report, err := verify.Run(ctx, cat, o)
	if report == nil {
		return nil, err
	}
	at.Read(o.Subset)
	if serr := at.Save(durable.OS{}, dir); serr != nil && (err == nil || !fault.Is(err, fault.Integrity)) {
		return report, serr
	}
	return report, err
}

// anchor is what the spool of a cluster, if it is on this machine, knows of the configured archive.
func (a *app) anchor(cfg *config.Config, cluster string) (*catalog.Anchor, error) {
	if a.flags.Archive != "" || !slices.ContainsFunc(cfg.Clusters, func(cl *config.Cluster) bool { return cl.Name == cluster }) {
		return nil, nil // it may be another archive, of which the spool knows nothing
	}
	return archiver.ReadAnchor(durable.OS{}, filepath.Join(cfg.StateDir, cluster, "spool"))
}

func verifyLine(cluster string, v verify.Progress) string {
	left := ""
	if v.Left >= 1 {
		left = ", " + took(time.Duration(v.Left)*time.Second) + " left"
	}
	if v.AllBytes > 0 {
		return fmt.Sprintf("verify %s: %s, %s of %s, %s/s%s", cluster, percent(v.Bytes, v.AllBytes), size(v.Bytes), size(v.AllBytes), size(int64(v.Rate)), left)
	}
	return fmt.Sprintf("verify %s: %s, %s of %s%s", cluster, percent(v.Objects, v.AllObjects), count(v.Objects), counted(v.AllObjects, "object"), left)
}

func (r *verifyResult) text(t *text) {
	for _, v := range r.Clusters {
		t.title("cluster %s in %s", v.Cluster, v.Archive)
		t.line("  checked %s, %s with %s, %s in %s", counted(v.Timelines, "timeline"), counted(v.Segments, "segment"),
			counted(v.Transactions, "transaction"), counted(v.Bases, "base backup"), counted(v.Parts, "part"))
		read := "manifests only"
		switch {
		case v.Data:
			read = size(v.ReadBytes) + " of data read"
		case v.Stored:
			read = size(v.ReadBytes) + " of data read as stored"
		}
		if v.Subset != "" {
			read += ", part " + v.Subset
		}
		t.line("  %s, %s stored; %s; %s", counted(v.Objects, "object"), size(v.StoredBytes), read, took(v.Duration))
		var rows [][]string
		for _, f := range v.Findings {
			rows = append(rows, []string{string(f.Severity), f.Object, f.Kind, f.Problem})
		}
		if len(rows) > 0 {
			t.title("findings")
			t.table([]string{"severity", "object", "kind", "problem"}, rows)
		}
		t.line("")
		switch damage, warnings := v.Count(verify.Damage), v.Count(verify.Warning); {
		case damage > 0:
			t.line("  DAMAGED: %s", counted(damage, "finding"))
		case warnings > 0:
			t.line("  no damage, %s", counted(warnings, "warning"))
		case v.Data && v.Subset != "":
			t.line("  all is well, as far as manifests, sizes and this part of the data show")
		case v.Data:
			t.line("  all is well")
		case v.Stored:
			t.line("  all is well, as far as manifests and stored bytes show")
		default:
			t.line("  all is well, as far as manifests and sizes show")
		}
	}
}
