package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/fault"
	"tidemark/proto/status"
)

func (a *app) newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [CLUSTER]",
		Short: "Show what the running daemon is doing: lag, recovery window, spool, errors",
		Long: `Ask the running "tidemark run" for its status, on the address that status.listen names, and show
it. With --json the answer is printed as the daemon gave it. When a cluster is not being archived
(stopped, stalled, or waiting after a failure), or the last scheduled check found its archive damaged or
could not be done, the exit code is 3. A daemon that stands by while another one archives is as it should be.` + exits(fault.Warnings, fault.Config),
		Example: `  tidemark status
  tidemark status shop --json | jq '.clusters[].archivedLagSeconds'`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runStatus(cmd.Context(), first(args))
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
}

// statusTimeout bounds the whole request.
const statusTimeout = 10 * time.Second

func (a *app) runStatus(ctx context.Context, cluster string) (*statusResult, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if cfg.Status.Off() {
		return nil, fault.New(fault.Config, "ask for the status", "", errors.New("the status port is off (status.listen)"))
	}
	s, err := fetchStatus(ctx, cfg.Status.Listen)
	if err != nil {
		return nil, err
	}
	if cluster != "" {
		var names []string
		var one []*status.Cluster
		for _, c := range s.Clusters {
			if names = append(names, c.Name); c.Name == cluster {
				one = append(one, c)
			}
		}
		if len(one) == 0 {
			return nil, fault.New(fault.Usage, "cluster", cluster, errors.New("the daemon does not archive it")).
				WithHint("Name one of: " + strings.Join(names, ", ") + ".")
		}
		s.Clusters = one
	}
	var bad []string
	for _, c := range s.Clusters {
		switch c.State {
		case status.State_STATE_STOPPED, status.State_STATE_STALLED, status.State_STATE_WAITING:
			bad = append(bad, c.Name+" is "+stateName(c.State))
		}
		if c.MissingUnaccepted {
			bad = append(bad, c.Name+"'s binlog lacks changes")
		}
		if c.Barrier != nil {
			bad = append(bad, c.Name+" holds what no restore gets past")
		}
		switch v := c.LastVerification; {
		case v.GetError() != "":
			bad = append(bad, c.Name+" could not be verified")
		case v.GetDamage() > 0:
			bad = append(bad, c.Name+" is damaged")
		}
	}
	r := &statusResult{s}
	if len(bad) > 0 {
		return r, fault.New(fault.Warnings, "", "", errors.New("cluster "+strings.Join(bad, ", "))).
			WithHint("What is above says why; `tidemark check` tries every step, and `tidemark verify` names all that is damaged.")
	}
	return r, nil
}

// fetchStatus asks the daemon that listens there.
func fetchStatus(ctx context.Context, listen string) (*status.Status, error) {
	host, port, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	addr := net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	fail := func(err error) error {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fault.New(fault.Other, "ask for the status at", addr, err).
			WithHint("Is `tidemark run` running on this machine, with this status.listen?")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status", nil)
	if err != nil {
		return nil, fail(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fail(errors.Unwrap(err)) // without the URL, which is named already
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	s := new(status.Status)
	if err == nil {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, s)
	}
	if err != nil {
		return nil, fail(err)
	}
	return s, nil
}

type statusResult struct{ *status.Status }

func (r *statusResult) json() ([]byte, error) {
	return protojson.MarshalOptions{Multiline: true, Indent: "  ", EmitUnpopulated: false}.Marshal(r.Status)
}

// stateName writes a state for people: "catching up".
func stateName(s status.State) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.String(), "STATE_")), "_", " ")
}

func at(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func (r *statusResult) text(t *text) {
	now := at(r.Now)
	t.line("tidemark %s, running for %s", r.Version, took(now.Sub(at(r.Started))))
	for _, c := range r.Clusters {
		t.title("cluster %s: %s", c.Name, stateName(c.State))
		var rows [][2]string
		add := func(name, format string, args ...any) {
			rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
		}
		if c.Error != "" {
			add("error", "%s", c.Error)
		}
		if c.Hint != "" {
			add("hint", "%s", c.Hint)
		}
		if l := c.Lease; l != nil {
			lease(add, c.Name, l)
		}
		if c.Host != "" {
			add("primary", "%s (%s)", c.Host, c.ServerVersion)
		}
		if c.ServerIdClash != 0 {
			add("server_id", "another replica of the primary uses %d too: give this archiver one of its own (clusters.%s.server_id)", c.ServerIdClash, c.Name)
		}
		for _, m := range c.Missing {
			add("not archived", "%s (%s=%s)", m.Lacks, m.Setting, m.Value)
		}
		if b := c.Barrier; b != nil {
			add("barrier", "since %s, until a base backup is behind it, nothing can be restored that came later: %s", when(at(b.Time)), b.What)
		}
		if w := c.Window; w != nil && w.Earliest != nil {
			add("recovery window", "%s to %s", when(at(w.Earliest)), when(at(w.Latest)))
		}
		if c.CoveredUntil != nil {
			add("covered until", "%s", when(at(c.CoveredUntil)))
		}
		add("lag", "spooled %.1fs, archived %.1fs", c.SpooledLagSeconds, c.ArchivedLagSeconds)
		for _, p := range []struct {
			name  string
			point *status.Point
		}{{"primary is at", c.Primary}, {"received", c.Received}, {"archived", c.Archived}} {
			if p.point != nil && p.point.File != "" {
				add(p.name, "%s:%d  %s", p.point.File, p.point.Offset, p.point.Gtid)
			}
		}
		if c.Timeline > 1 {
			add("timeline", "%d, since %s, because of a %s", c.Timeline, when(at(c.TimelineBegan)), c.TimelineReason)
		}
		add("log", "%s on timeline %d; %s and %s received", counted(c.Segments, "segment"), c.Timeline,
			counted(c.ReceivedTransactions, "transaction"), size(c.ReceivedBytes))
		add("spool", "%s of %s in %s", size(c.SpoolBytes), size(c.SpoolLimitBytes), counted(c.SpoolSegments, "segment"))

		if m := c.SemiSync; m != nil {
			if m.Kept {
				add("acknowledged", "commits wait for the %s (%s)", m.Ack, m.WaitPoint)
			} else {
				add("acknowledged", "NOT: %s", m.Reason)
			}
		}
		backups(add, c, now)
		verifications(add, c, now)
		if e := c.LastExpiry; e != nil {
			add("retention", "ran %s ago: %s deleted, %s", took(now.Sub(at(e.Finished))), counted(e.DeletedObjects, "object"), size(e.DeletedBytes))
			if e.Error != "" {
				add("", "%s", e.Error)
			}
		}
		compaction(add, c.Compaction, now)
		if n := c.Reconnects + c.ChecksumFailures + c.UploadFailures; n > 0 {
			add("failures", "%s, %s, %s", counted(c.Reconnects, "reconnect"), counted(c.ChecksumFailures, "bad checksum"),
				counted(c.UploadFailures, "failed upload"))
		}
		for _, row := range rows {
			t.line("  %-16s %s", row[0], row[1])
		}
	}
}

// lease says who archives the cluster, unless that is as usual.
func lease(add func(name, format string, args ...any), cluster string, l *status.Lease) {
	if !l.Ours && l.Taken != nil {
		add("lease", "%s has archived %s since %s, and has the lease until %s if it does not renew it (by its clock)", l.Host, cluster, when(at(l.Taken)), when(at(l.Expires)))
	}
	if l.Error != "" {
		add("lease", "cannot be asked for or renewed: %s", l.Error)
	}
}

func compaction(add func(name, format string, args ...any), k *status.Compaction, now time.Time) {
	if k.GetFinished() != nil {
		add("compaction", "ran %s ago: %s put into %d so far, %s", took(now.Sub(at(k.Finished))), counted(k.Segments, "segment"), k.Into, size(k.Bytes))
	}
	if k.GetError() != "" {
		add("compaction", "failed: %s", k.Error)
	}
}

func backups(add func(name, format string, args ...any), c *status.Cluster, now time.Time) {
	if b := c.RunningBackup; b != nil {
		add("backup running", "since %s, %s", when(at(b.Started)), size(b.Bytes))
	}
	switch b := c.LastBackup; {
	case b == nil:
		add("last backup", "none")
	case b.Error != "":
		add("last backup", "failed: %s", b.Error)
		fallthrough
	default:
		if b.Finished != nil {
			add("last backup", "%s ago (%s), %s", took(now.Sub(at(b.Finished))), b.Id, size(b.StoredBytes))
		}
	}
}

func verifications(add func(name, format string, args ...any), c *status.Cluster, now time.Time) {
	if v := c.RunningVerification; v != nil {
		add("verify running", "since %s, %s; %s read", when(at(v.Started)), v.What, size(v.ReadBytes))
	}
	switch v := c.LastVerification; {
	case v == nil:
	case v.Error != "":
		add("last verify", "FAILED %s ago: %s", took(now.Sub(at(v.Finished))), v.Error)
	case v.Damage > 0:
		add("last verify", "DAMAGED: %s, seen %s ago (%s)", counted(v.Damage, "finding"), took(now.Sub(at(v.Finished))), v.What)
		add("first finding", "%s", v.FirstFinding)
	case v.Warnings > 0:
		add("last verify", "%s ago (%s), no damage, %s: %s", took(now.Sub(at(v.Finished))), v.What, counted(v.Warnings, "warning"), v.FirstFinding)
	default:
		add("last verify", "%s ago (%s), no damage, %s read", took(now.Sub(at(v.Finished))), v.What, size(v.ReadBytes))
	}
	if c.NextVerification != nil && c.RunningVerification == nil {
		add("next verify", "%s", when(at(c.NextVerification)))
	}
}
