package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/catalog"
	"tidemark/restore"
)

func TestRestoreArguments(t *testing.T) {
	_, archive, _ := sample(t)
	full := t.TempDir()
	check(t, os.WriteFile(filepath.Join(full, "something"), nil, 0o600))
	for args, want := range map[string]struct {
		exit   int
		stderr string
	}{
		"":                                              {2, "--target-dir is missing"},
		"--dry-run --to-time yesterday":                 {2, "it says no time of day"},
		"--dry-run --to-time 2026-11-20":                {2, "10 minutes ago; a time without a zone"},
		"--dry-run --to-gtid x":                         {2, "Give a GTID"},
		"--dry-run --to-position x":                     {2, "Give a position as FILE:OFFSET"},
		"--dry-run --relay-space 2GB":                   {2, "--relay-space: \"2GB\" is not a size"},
		"--dry-run --memory lots":                       {2, "--memory: \"lots\" is not a size"},
		"--dry-run --log-level lots":                    {2, "write debug, info"},
		"--dry-run --port 3307":                         {2, "--port and --socket are for --start"},
		"--dry-run --start --port 70000":                {2, "--port 70000 is no port"},
		"--dry-run --start --into-service mariadb":      {2, "exclude each other"},
		"--dry-run --delay 1h":                          {2, "--delay is for --follow"},
		"--dry-run --follow --delay -1h":                {2, "--delay is negative"},
		"--dry-run --follow --to-position b.000001:4":   {2, "Follow to no target"},
		"--dry-run --follow --delay 200000h":            {13, "can be restored from"},
		"--target-dir x --status-listen nowhere":        {2, "--status-listen"},
		"--dry-run --timeline 9":                        {13, "no such timeline"},
		"--dry-run --to-gtid 0-1-900":                   {13, ""},
		"--dry-run nosuch":                              {10, "no such cluster"},
		"--dry-run --to-time 2026-11-20T02:00:00Z":      {13, ""}, // before the first base backup
		"--dry-run --to-time 2027-11-20T02:00:00Z":      {13, ""}, // not covered
		"--dry-run --to-gtid 0-1-4 --before-gtid 0-1-5": {2, "give one target, not --to-gtid and --before-gtid"},
	} {
		o := tidemark(append([]string{"restore", "--archive", archive}, strings.Fields(args)...)...)
		if o.exit != want.exit || !strings.Contains(o.stderr, want.stderr) || o.stdout != "" {
			t.Errorf("restore %s: exit %d, want %d with %q\n%s%s", args, o.exit, want.exit, want.stderr, o.stdout, o.stderr)
		}
	}
}

func TestDryRun(t *testing.T) {
	_, archive, _ := sample(t)
	dir := filepath.Join(t.TempDir(), "restored")
	var p restore.Plan
	tidemark("restore", "--archive", archive, "--target-dir", dir, "--before-gtid", "0-1-6", "--dry-run", "--json").must(t, 0).parse(t, &p)
	if p.Cluster != "default" || p.LastApplied == nil || p.LastApplied.GTID != "0-1-5" || p.FirstNotApplied.GTID != "0-1-6" || p.Stop.GTID != "0-1-5" ||
		p.Transactions != 3 || p.Stop.File != "binlog.000002" {
		t.Errorf("%+v", p)
	}
	o := tidemark("restore", "--archive", archive, "--dry-run", "--to-time", begun.Add(6*time.Minute).Format(time.RFC3339)).must(t, 0)
	for _, want := range []string{"restore of cluster default, timeline 1, to time 2026-11-20T03:06:00Z", "base backup        20261120T030030Z-0001",
		"3 transactions", "last applied       0-1-5", "first not applied  0-1-6"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a dry run made the directory: %v", err)
	}
}

func TestDryRunOverHole(t *testing.T) {
	a, archive, _ := sample(t)
	check(t, os.Remove(objectPath(a, catalog.SegmentKey(1, 3, 3))))
	if o := tidemark("restore", "--archive", archive, "--dry-run"); o.exit != 13 && o.exit != 14 {
		t.Errorf("%+v", o)
	}
}

func TestRestoreText(t *testing.T) {
	x := new(text)
	tx := restore.Transaction{GTID: "0-1-5", Time: begun, What: "UPDATE `a`.`b`"}
	(&restoreResult{&restore.Report{Cluster: "shop", Timeline: 1, Target: "latest", TargetDir: "/r", LastApplied: &tx, Transactions: 1500, Rate: 300, Seconds: 70,
		Phases: []restore.PhaseTime{{Phase: restore.Apply, Seconds: 5}}, Restarted: true, Why: "it was a test", Resumed: &restore.Resumed{GTID: "0-1-3", Transactions: 1000}, EventsDisabled: []string{"a.e"}, EmptyTables: []string{"`a`.`m`"}, PreparedXA: []string{"'x'"},
		Suspects: []restore.Suspect{{Transaction: tx, Why: "from the future"}}, Warnings: []string{"look"}, NextSteps: []string{"start it"}}, "2026-11-20 04:00:00 +01:00, in this machine's zone, CET"}).text(x)
	for _, want := range []string{"restored to latest in /r", "time               2026-11-20 04:00:00 +01:00, in this machine's zone, CET", "1,500 transactions", "took               1m 10s, apply 5.0s", "0-1-5 at", "a.e", "`a`.`m`", "'x'", "(from the future)", "look", "start it", "was removed: it was a test", "resumed            at 0-1-3, with 1,000 transactions"} {
		if !strings.Contains(x.b.String(), want) {
			t.Errorf("no %q in\n%s", want, x.b.String())
		}
	}
	for line, e := range map[string]restore.Event{
		"restore: fetch 50%, 1.0 KiB of 2.0 KiB, 512 B/s, 2.0s left": {Phase: restore.Fetch, Bytes: 1024, TotalBytes: 2048, Rate: 512, Left: 2 * time.Second},
		"restore: apply 10%, 5 of 50 transactions, 2/s":              {Phase: restore.Apply, Bytes: 1, TotalBytes: 10, Transactions: 5, Total: 50, Rate: 2},
		"restore: start, 3.0s":                                       {Phase: restore.Start, Elapsed: 3 * time.Second},
	} {
		if got := restoreLine(e); got != line {
			t.Errorf("%q, want %q", got, line)
		}
	}
}
