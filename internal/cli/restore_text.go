package cli

import (
	"fmt"

	"tidemark/restore"
)

// planResult is a plan, and what was made of the time that was given, where the text alone does not say.
type planResult struct {
	*restore.Plan
	TargetRead string `json:"target_read,omitempty"`
}

// restoreResult is a report, likewise.
type restoreResult struct {
	*restore.Report
	TargetRead string `json:"target_read,omitempty"`
}

// read shows how a target's time was read.
func read(t *text, how string) {
	if how != "" {
		t.line("  time               %s", how)
	}
}

func (r *planResult) text(t *text) {
	p := r.Plan
	t.line("restore of cluster %s, timeline %d, to %s", p.Cluster, p.Timeline, p.Target)
	read(t, r.TargetRead)
	t.line("  base backup        %s, consistent at %s (%s)", p.Base.ID, when(p.Base.Consistent), p.Base.Position.GTID)
	if p.Base.Kept {
		t.line("                     it is kept by itself: what follows it has expired, and this is as far as it can be restored")
	}
	t.line("  log to apply       %s with %s, %s", counted(p.Segments, "segment"), counted(p.Transactions, "transaction"), size(p.LogBytes))
	t.line("  stop               %s:%d in segment %d, at %s", p.Stop.File, p.Stop.Offset, p.Stop.Segment, orNone(p.Stop.GTID))
	around(t, p.LastApplied, p.FirstNotApplied)
	t.line("  download           %s", size(p.DownloadBytes))
	t.line("  disk               %s, and the relay space", size(p.DiskBytes))
	t.line("  server             %s or another of its series", p.ServerVersion)
	for i, plugin := range p.Plugins {
		if i == 0 {
			t.title("plugins of the backed up server that the log may need")
		}
		t.line("  %s", plugin)
	}
	t.line("  commit times       are known to %s", p.TimePrecision)
	if until := when(p.CoveredUntil); until != "" {
		t.line("  covered until      %s", until)
	}
	notes(t, p.Suspects, p.Notes, p.Warnings)
}

func (r *restoreResult) text(t *text) {
	p := r.Report
	how := "is restored to " + p.Target
	if p.Paused {
		how = "was followed"
	}
	t.line("cluster %s, timeline %d, %s in %s", p.Cluster, p.Timeline, how, p.TargetDir)
	read(t, r.TargetRead)
	t.line("  base backup        %s", p.Base)
	t.line("  position           %s", orNone(p.GTID))
	around(t, p.LastApplied, p.FirstNotApplied)
	t.line("  applied            %s, %s, %.0f/s", counted(p.Transactions, "transaction"), size(p.LogBytes), p.Rate)
	phases := ""
	for _, ph := range p.Phases {
		phases += fmt.Sprintf(", %s %s", ph.Phase, took(seconds(ph.Seconds)))
	}
	t.line("  took               %s%s", took(seconds(p.Seconds)), phases)
	if p.Restarted {
		t.line("  began again        what an interrupted restore had left was removed: %s", p.Why)
	}
	if p.Resumed != nil {
		t.line("  resumed            at %s, with %s applied before", orNone(p.Resumed.GTID), counted(p.Resumed.Transactions, "transaction"))
	}
	for i, e := range p.EventsDisabled {
		if i == 0 {
			t.title("scheduled events that are disabled")
		}
		t.line("  %s", e)
	}
	for i, name := range p.EmptyTables {
		if i == 0 {
			t.title("tables that lack rows")
		}
		t.line("  %s", name)
	}
	for i, x := range p.PreparedXA {
		if i == 0 {
			t.title("XA transactions that are left prepared")
		}
		t.line("  %s", x)
	}
	if p.Moved != nil {
		t.line("  moved              to %s, of service %s; what was there is in %s", p.Moved.Datadir, p.Moved.Service, p.Moved.Kept)
	}
	if p.Server != nil {
		server(t, p.Server)
	}
	notes(t, p.Suspects, p.Notes, p.Warnings)
	for i, s := range p.NextSteps {
		if i == 0 {
			t.title("next")
		}
		t.line("  %s", s)
	}
	guides(t, p.Guides)
}

// around shows what lies on both sides of the stop.
func around(t *text, last, next *restore.Transaction) {
	if last != nil {
		t.line("  last applied       %s", last)
	}
	if next != nil {
		t.line("  first not applied  %s", next)
	}
}

func notes(t *text, suspects []restore.Suspect, known, warnings []string) {
	for i, s := range suspects {
		if i == 0 {
			t.title("transactions whose commit time is not believed")
		}
		t.line("  %s (%s)", s.Transaction.String(), s.Why)
	}
	for i, n := range known {
		if i == 0 {
			t.title("notes")
		}
		t.line("  %s", n)
	}
	for i, w := range warnings {
		if i == 0 {
			t.title("warnings")
		}
		t.line("  %s", w)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
