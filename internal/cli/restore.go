package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/restore"
)

type restoreOptions struct {
	cluster    string
	dir        string
	toTime     string
	toGTID     string
	beforeGTID string
	toPosition string
	statement  string
	exclude    []string
	force      bool
	timeline   uint32
	relaySpace string
	memory     string
	threads    int
	defaults   string
	plugins    string
	allow      []string
	dryRun     bool
	identity   string
	log        string // level
	startOptions
	followOptions
	statusListen string
}

func (a *app) newRestore() *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore [CLUSTER] --target-dir DIR",
		Short: "Restore a server's data directory to a point in time",
		Long: `Make a data directory that holds exactly the transactions before the target, in commit order: the
newest base backup before it, and the archived log from there on. The base backup is extracted and
prepared, a private server is started on it (on a socket only), and applies the log up to the target.
It needs the server of the version that was backed up: mariadbd, mariadb-backup and mbstream, or mysqld,
and xtrabackup for what that has copied. A base backup that turns out to be damaged, or that cannot be
prepared, is passed over for the one before it, with a warning (exit 3).

Without a target everything that is archived is restored. --to-time stops before the first
transaction, in commit order, that was committed at or after it. A time is written as '2026-11-30 03:59'
or '2026-11-30 03:59:07.123', of this machine's zone, with a zone, as RFC 3339, as tidemark prints it, or as
'10 minutes ago' or 'yesterday 14:00'; one that the clocks showed twice or never is refused with both
readings. MariaDB records whole seconds, and a session can forge them: a time that does not agree with
when the transaction was received is not believed, and what cannot be certain is named (exit 3).
--to-gtid stops after a transaction, or with a set of MySQL's where the log holds just that;
--before-gtid stops before one. --to-position stops at a place in the
server's binlog, rounded down to the end of a transaction. --before-statement stops before the last
transaction with such a statement, or with --to-time the last one before that: what it does and to what,
and nothing else. What the log has of several databases is refused with all of them. A target that the archive
does not cover is refused: a restore is never silently short.

--exclude-gtid leaves a transaction out, all of it but its GTID: with --force, as what follows may depend
on it. Of XA transactions, nothing can be left out but the end of one that the log does not prepare, as
a crash of MariaDB may leave it.

The directory must be absent or empty. A restore that was interrupted is resumed by the same command,
behind the last transaction that its server had applied: none is applied twice, none left out. Where
that cannot be told, as when the server died while it applied a definition, a change of a table that is
not transactional, or one that needs a temporary table, it begins again from the base backup and says so.
--dry-run shows what would be done, what lies on both sides of the target, and what the server here
lacks. With --target-dir it refuses what the restore would refuse: programs, options, what lies there,
and the space.

--follow goes on with what is archived later: the private server stays, and applies each segment soon
after it was archived, or with --delay that long after its transactions were committed. It ends at the
target (--to-time, --to-gtid, --before-gtid), or on SIGINT or SIGTERM, between two transactions, with its
server shut down cleanly. The same command goes on behind them, also after a crash; without --follow, it
applies the rest up to the target and opens the standby.

--start leaves a server running on the result: with the options recorded in the base backup, those of
--defaults-extra-file, a binlog and a server_id of its own, on --port, --socket or both. It outlives this
command; the report says how to connect to it and how to stop it. What else the restored server can be
made, a replica, the primary, the source of a new timeline, the report says as statements.
--into-service puts the result in the place of the data directory of a stopped service, which is kept aside.` +
			exits(fault.Warnings, fault.NoArchive, fault.Locked, fault.WrongKey, fault.Unreachable, fault.Integrity, fault.Storage, fault.Config, fault.TargetNotEmpty),
		Example: `  tidemark restore shop --target-dir /srv/restored
  tidemark restore shop --target-dir /srv/restored --to-time '2026-11-21 10:41' --dry-run
  tidemark restore shop --target-dir /srv/restored --to-time '10 minutes ago'
  tidemark restore shop --target-dir /srv/restored --before-gtid 0-1-34103
  tidemark restore shop --target-dir /srv/restored --before-statement 'DROP TABLE shop.orders'
  tidemark restore shop --target-dir /srv/restored --start --port 3307
  tidemark restore shop --target-dir /var/lib/mysql.new --into-service mariadb
  tidemark restore shop --target-dir /srv/standby --follow --delay 1h`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cluster = first(args)
			if o.log = "warn"; cmd.Flags().Changed("log-level") {
				o.log = a.log.level
			}
			r, err := a.runRestore(cmd.Context(), o)
			return a.print(r, err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "target-dir", "", "`directory` to restore into; it becomes the data directory")
	f.StringVar(&o.toTime, "to-time", "", "stop before the first transaction of this `time` or later, as '2026-11-21 10:41' or '10 minutes ago'")
	f.StringVar(&o.toGTID, "to-gtid", "", "stop after this `GTID`, or one of each domain, separated by commas, or at this set of MySQL's")
	f.StringVar(&o.beforeGTID, "before-gtid", "", "stop before this `GTID`")
	f.StringVar(&o.toPosition, "to-position", "", "stop at this `FILE:OFFSET` of the server's binlog")
	f.StringVar(&o.statement, "before-statement", "", "stop before the last `STATEMENT`, as 'DROP TABLE shop.orders'")
	f.StringArrayVar(&o.exclude, "exclude-gtid", nil, "leave out the transaction with this `GTID`; may be given several times; needs --force")
	f.BoolVar(&o.force, "force", false, "leave transactions out though what follows them may depend on them")
	f.Uint32Var(&o.timeline, "timeline", 0, "`number` of the timeline to restore (default the newest)")
	f.StringVar(&o.relaySpace, "relay-space", config.Size(restore.DefaultRelaySpace).String(), "disk `size` that relay logs may take beside the directory")
	f.IntVar(&o.threads, "threads", -1, "`number` of threads that apply the log; 0 for one applier without workers (default: the fastest of those tried while the log is applied)")
	f.StringVar(&o.memory, "memory", "", "buffer pool `size` of the private server (default half of what is free)")
	f.StringVar(&o.defaults, "defaults-extra-file", "", "option `file` for the private server, as for key management")
	f.StringVar(&o.plugins, "plugin-dir", "", "`directory` of the private server's plugins")
	f.StringArrayVar(&o.allow, "allow-path", nil, "`path` outside of the target that the private server may use too, as of keys; "+
		"may be given several times")
	f.BoolVar(&o.dryRun, "dry-run", false, "show the plan and change nothing")
	identityFlag(cmd, &o.identity)
	o.startOptions.flags(cmd)
	o.followOptions.flags(cmd)
	f.StringVar(&o.statusListen, "status-listen", "", "`host:port` that tells, at /status, how far the restore is; on the loopback if no host is given")
	return cmd
}

// target reads the one flag that says where to stop, or the two; at is what --to-time says.
func (o restoreOptions) target(at time.Time) (restore.Target, error) {
	var given []string
	for _, f := range [][2]string{{"--to-time", o.toTime}, {"--to-gtid", o.toGTID}, {"--before-gtid", o.beforeGTID}, {"--to-position", o.toPosition},
		{"--before-statement", o.statement}} {
		if f[1] != "" && (f[0] != "--to-time" || o.statement == "") {
			given = append(given, f[0])
		}
	}
	if len(given) > 1 {
		return restore.Target{}, usage("give one target, not "+strings.Join(given, " and "), "tidemark restore")
	}
	switch {
	case o.statement != "":
		return restore.BeforeStatement(o.statement, at)
	case o.toTime != "":
		return restore.ToTime(at), nil
	case o.toGTID != "":
		return restore.ToGTID(o.toGTID)
	case o.beforeGTID != "":
		return restore.BeforeGTID(o.beforeGTID)
	case o.toPosition != "":
		return restore.ToPosition(o.toPosition)
	}
	return restore.ToLatest(), nil
}

// sizeFlag reads a flag that is a size; "" is 0.
func sizeFlag(flag, value string) (int64, error) {
	var s config.Size
	if value == "" {
		return 0, nil
	}
	if err := s.UnmarshalText([]byte(value)); err != nil {
		return 0, usage("--"+flag+": "+err.Error(), "tidemark restore")
	}
	return int64(s), nil
}

func (a *app) runRestore(ctx context.Context, o restoreOptions) (result, error) {
	at, read, err := a.moment("to-time", o.toTime)
	if err != nil {
		return nil, err
	}
	target, err := o.target(at)
	if err != nil {
		return nil, err
	}
	relay, err := sizeFlag("relay-space", o.relaySpace)
	if err != nil {
		return nil, err
	}
	memory, err := sizeFlag("memory", o.memory)
	if err != nil {
		return nil, err
	}
	if len(o.exclude) > 0 && !o.force && !o.dryRun {
		return nil, fault.New(fault.Usage, "", "", errors.New("--exclude-gtid leaves transactions out, and what follows them may depend on them")).
			WithHint("See with --dry-run what they do, and then give --force.")
	}
	if o.dir == "" && !o.dryRun {
		return nil, usage("--target-dir is missing", "tidemark restore")
	}
	start, err := o.endpoint()
	if err != nil {
		return nil, err
	}
	follow, err := o.wanted(o.dir, a.Clock)
	if err != nil {
		return nil, err
	}
	log, err := a.logger(o.log)
	if err != nil {
		return nil, err
	}
	cfg, cat, err := a.catalog(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	if err := unlock(cfg, o.identity, cat); err != nil {
		return nil, err
	}
	what := restore.PlanOptions{Target: target, Exclude: o.exclude, Timeline: o.timeline, Base: restore.InterruptedBase(o.dir), Follow: follow}
	plan, err := restore.MakePlan(ctx, cat, what)
	if err != nil {
		return nil, err
	}
	options := restore.Options{TargetDir: o.dir, RelaySpace: relay, Threads: o.threads, Memory: memory,
		DefaultsExtraFile: o.defaults, PluginDir: o.plugins, AllowPaths: o.allow, Start: start, Service: o.service(),
		Log: log, Clock: a.Clock, FS: durable.OS{}}
	if o.dryRun {
		if err := plan.Rehearse(ctx, options); err != nil {
			return &planResult{plan, read}, err
		}
		return &planResult{plan, read}, warned("the plan", len(plan.Warnings))
	}
	show := a.progress()
	defer show.done()
	told, err := a.newRestorePort(o, plan, log)
	if err != nil {
		return nil, err
	}
	defer told.stop()
	options.Progress = func(e restore.Event) {
		show.show(restoreLine(e), progressOf(e))
		told.observe(e)
	}
	report, err := restore.RunOrFallBack(ctx, cat, plan, what, options)
	if err != nil {
		return nil, err
	}
	return &restoreResult{report, read}, warned("the restore", len(report.Warnings))
}

// warned is an error of kind Warnings when there are any.
func warned(what string, n int) error {
	if n == 0 {
		return nil
	}
	return fault.New(fault.Warnings, "", "", errors.New(what+" has "+counted(n, "warning")))
}

// restoreProgress is a restore.Event as JSON.
type restoreProgress struct {
	Phase           string  `json:"phase"`
	Kind            string  `json:"kind"`
	ElapsedSeconds  float64 `json:"elapsed_seconds"`
	Bytes           int64   `json:"bytes"`
	AllBytes        int64   `json:"all_bytes"`
	Transactions    uint64  `json:"transactions"`
	AllTransactions uint64  `json:"all_transactions"`
	Rate            float64 `json:"rate"`
	LeftSeconds     float64 `json:"left_seconds"`
	LastApplied     string  `json:"last_applied,omitempty"`
	BehindSeconds   float64 `json:"behind_seconds,omitempty"`
}

func progressOf(e restore.Event) restoreProgress {
	p := restoreProgress{Phase: string(e.Phase), Kind: string(e.Kind), ElapsedSeconds: e.Elapsed.Seconds(), Bytes: e.Bytes, AllBytes: e.TotalBytes,
		Transactions: e.Transactions, AllTransactions: e.Total, Rate: e.Rate, LeftSeconds: e.Left.Seconds(), BehindSeconds: e.Behind.Seconds()}
	if e.LastApplied != nil {
		p.LastApplied = e.LastApplied.GTID
	}
	return p
}

func restoreLine(e restore.Event) string {
	line := "restore: " + string(e.Phase)
	switch {
	case e.Total > 0:
		line += fmt.Sprintf(" %s, %s of %s, %.0f/s", percent(e.Bytes, e.TotalBytes), count(e.Transactions), counted(e.Total, "transaction"), e.Rate)
	case e.TotalBytes > 0:
		line += fmt.Sprintf(" %s, %s of %s, %s/s", percent(e.Bytes, e.TotalBytes), size(e.Bytes), size(e.TotalBytes), size(int64(e.Rate)))
	default:
		line += ", " + took(e.Elapsed)
	}
	if e.Phase == restore.Following {
		line += ", " + took(e.Behind) + " behind the archive"
	}
	if e.Left > 0 {
		line += ", " + took(e.Left) + " left"
	}
	return line
}
