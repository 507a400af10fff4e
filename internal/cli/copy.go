package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/keys"
	"tidemark/internal/transfer"
)

type copyOptions struct {
	cluster    string
	to         string
	recipients []string
	sameKeys   bool
	identity   string
	fromTime   string
	fromBase   string
	toTime     string
	dryRun     bool
}

func (a *app) newCopy() *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "copy [CLUSTER] --to URL",
		Short: "Copy the archive of a cluster, or a window of it, to another archive",
		Long: `Copy the archive of a cluster to another URL: to a second region, to another provider, or, with other
keys, to where it is encrypted for other recipients. Objects are copied byte for byte unless
--recipient is given; then they are opened and encrypted anew, for which what is encrypted needs
--identity. The archive that is read is not changed, and may be written to meanwhile.

Everything that is read is checked against its manifest, and everything that is written is read back.
The copy is an archive at every moment, only shorter: interrupted, it can be restored from as far as it
goes, and the same command goes on where it was. What is there already must be the same; anything else
is refused and left as it is. Run again later, it copies what has come since.

--from-time begins with the newest base backup at or before a time, --from-base with the one named;
what is older is left out. --to-time ends once every moment before it is covered.` +
			exits(fault.NoArchive, fault.WrongKey, fault.Unreachable, fault.Integrity, fault.Storage, fault.Config, fault.TargetNotEmpty),
		Example: `  tidemark copy shop --to file:///mnt/second/archive
  tidemark copy shop --to file:///mnt/second/archive --from-time '2026-11-01 00:00' --dry-run
  tidemark copy shop --to file:///srv/rekeyed --recipient age1... --identity /root/shop.identity`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster = first(args)
			r, err := a.runCopy(cmd.Context(), o)
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "`URL` of the archive to copy to")
	f.StringArrayVar(&o.recipients, "recipient", nil, "encrypt the copy for this public `key` of age; may be given several times")
	f.BoolVar(&o.sameKeys, "same-keys", false, "copy objects as they are, which is the default")
	identityFlag(cmd, &o.identity)
	f.StringVar(&o.fromTime, "from-time", "", "begin with the newest base backup at or before this `time`")
	f.StringVar(&o.fromBase, "from-base", "", "begin with the base backup of this `ID`")
	f.StringVar(&o.toTime, "to-time", "", "end when every moment before this `time` is covered")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be copied and change nothing")
	return cmd
}

type copyResult struct {
	*transfer.Report
	DryRun  bool    `json:"dry_run"`
	Seconds float64 `json:"duration_seconds"`
}

// options checks the flags.
func (a *app) copyOptions(o copyOptions) (transfer.Options, error) {
	t := transfer.Options{Window: transfer.Window{Base: o.fromBase}, DryRun: o.dryRun}
	var err error
	switch {
	case o.to == "":
		return t, usage("--to is missing", "tidemark copy")
	case o.sameKeys && len(o.recipients) > 0:
		return t, usage("give --same-keys or --recipient, not both", "tidemark copy")
	case o.fromBase != "" && o.fromTime != "":
		return t, usage("give --from-base or --from-time, not both", "tidemark copy")
	}
	for _, one := range []struct {
		flag, text string
		time       *time.Time
	}{{"from-time", o.fromTime, &t.Window.From}, {"to-time", o.toTime, &t.Window.To}} {
		if *one.time, _, err = a.moment(one.flag, one.text); err != nil {
			return t, err
		}
	}
	if t.Recipients, err = keys.ParseRecipients(o.recipients); err != nil {
		return t, fault.New(fault.Usage, "", "--recipient", err).WithHint("`tidemark keygen` makes a key pair and prints its recipient.")
	}
	return t, nil
}

// destination is the configuration with another archive. The options of the storage are for one of the
// same kind; of another kind only the bandwidth is left, and what the provider's own environment says.
func destination(cfg *config.Config, to string) *config.Config {
	there := *cfg
	there.Archive = to
	from, _, _ := strings.Cut(cfg.Archive, "://")
	if scheme, _, _ := strings.Cut(to, "://"); scheme != from {
		there.Storage = config.Storage{Bandwidth: cfg.Storage.Bandwidth}
	}
	return &there
}

func (a *app) runCopy(ctx context.Context, o copyOptions) (*copyResult, error) {
	t, err := a.copyOptions(o)
	if err != nil {
		return nil, err
	}
	if err := config.CheckArchive(o.to, a.schemes()); err != nil {
		return nil, fault.New(fault.Usage, "", "--to", err).WithHint("Write the URL of an archive, as file:///mnt/second/archive.")
	}
	cfg, cat, err := a.catalog(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	if t.Recipients != nil {
		if err := unlock(cfg, o.identity, cat); err != nil {
			return nil, err
		}
	}
	store, err := a.openStore(ctx, destination(cfg, o.to))
	if err != nil {
		return nil, err
	}
	p := a.progress()
	defer p.done()
	t.Clock = a.Clock
	t.Progress = func(v transfer.Progress) {
		p.show(fmt.Sprintf("copy %s: %s, %s of %s", cat.Cluster.Name, percent(v.Bytes, v.AllBytes), size(v.Bytes), size(v.AllBytes)), v)
	}
	report, err := transfer.Run(ctx, cat, store, t)
	if err != nil {
		return nil, err
	}
	return &copyResult{report, o.dryRun, report.Duration.Seconds()}, nil
}

func (r *copyResult) text(t *text) {
	did := "copied"
	if r.DryRun {
		did = "would be copied"
	}
	t.line("cluster %s from %s to %s", r.Cluster, r.From, r.To)
	t.line("  %s, %s and %s %s, %s in %s", counted(r.Timelines, "timeline"), counted(r.Segments, "segment"), counted(r.Bases, "base backup"),
		did, size(r.Bytes), took(r.Duration))
	if r.SegmentsThere+r.BasesThere > 0 {
		t.line("  %s and %s were there already", counted(r.SegmentsThere, "segment"), counted(r.BasesThere, "base backup"))
	}
	if len(r.Recipients) > 0 {
		t.line("  encrypted for %v", r.Recipients)
	}
	if !r.LastCommit.IsZero() {
		t.line("  transactions from %s to %s", when(r.FirstCommit), when(r.LastCommit))
	}
}
