package cli

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/storage"
	"tidemark/storage/file"
)

// TestEmptyFlags: a flag of any command that is given and empty is refused, as is an empty argument.
func TestEmptyFlags(t *testing.T) {
	_, archive, _ := sample(t)
	root := (&app{Program: Program{Clock: clock.System{}}}).root()
	tried := 0
	for _, c := range root.Commands() {
		each := func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				return
			}
			for _, empty := range []string{"", " "} {
				args := []string{c.Name(), "--archive", archive, "--" + f.Name, empty}
				if what := map[string]string{"keep": "b", "completion": "bash"}[c.Name()]; what != "" {
					args = append(args, what)
				}
				if o := tidemark(args...); o.exit != 2 || o.stdout != "" || !strings.Contains(o.stderr, f.Name) {
					t.Errorf("%q: exit %d, %s%s", args, o.exit, o.stdout, o.stderr)
				}
			}
			tried++
		}
		c.NonInheritedFlags().VisitAll(each)
		root.PersistentFlags().VisitAll(each)
		if c.Args == nil || c.Name() == "completion" {
			continue
		}
		if o := tidemark(c.Name(), "--archive", archive, ""); o.exit != 2 || o.stdout != "" {
			t.Errorf("%s with an empty argument: exit %d, %s%s", c.Name(), o.exit, o.stdout, o.stderr)
		}
	}
	if tried < 100 {
		t.Errorf("tried %d flags: these are not all", tried)
	}
	for _, flags := range []string{"--to-time=", "--to-gtid=", "--before-gtid=", "--to-position=", "--before-statement=", "--exclude-gtid= --force",
		"--exclude-gtid=0-1-5 --exclude-gtid= --force", "--to-time= --before-statement=DROP"} {
		o := tidemark(append([]string{"restore", "--archive", archive, "--dry-run"}, strings.Fields(flags)...)...)
		if o.exit != 2 || !strings.Contains(o.stderr, "is given without a value") || o.stdout != "" {
			t.Errorf("%s: exit %d, %s%s", flags, o.exit, o.stdout, o.stderr)
		}
	}
}

// runAt runs the program with a clock that stands and in a zone.
func runAt(t *testing.T, now time.Time, zone *time.Location, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit := Main(context.Background(), Program{Version: "1.2.3", Args: args, Stdout: &stdout, Stderr: &stderr, Clock: standing{now: now}, Zone: zone,
		Drivers: []Driver{{"file", func(_ context.Context, u *url.URL, _ config.Storage) (storage.Store, error) { return file.Open(u.Path) }}}})
	return outcome{exit, stdout.String(), stderr.String()}
}

// standing is a clock that stands.
type standing struct {
	clock.System
	now time.Time
}

func (s standing) Now() time.Time { return s.now }

// TestTimes: each flag that is a time is read alike, and it is said how where the text alone does not say.
func TestTimes(t *testing.T) {
	_, archive, _ := sample(t)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	now := begun.Add(10 * time.Minute)
	run := func(args ...string) outcome {
		return runAt(t, now, berlin, append(args, "--archive", archive)...)
	}
	for text, read := range map[string]string{
		"2026-11-20 04:06":        "2026-11-20 04:06:00 +01:00, in this machine's zone, CET",
		"4 minutes ago":           "2026-11-20 04:06:00 +01:00, which is 4 minutes ago",
		"today 04:06":             "2026-11-20 04:06:00 +01:00, in this machine's zone, CET",
		"2026-11-20 03:06:00 UTC": "",
		"20261120T030600Z":        "",
	} {
		o := run("restore", "--dry-run", "--to-time", text).must(t, 0)
		if !strings.Contains(o.stdout, "to time 2026-11-20T03:06:00Z") || read != "" && !strings.Contains(o.stdout, "time               "+read) ||
			(read == "") != (o.stderr == "") {
			t.Errorf("%q: %s%s", text, o.stdout, o.stderr)
		}
		var p planResult
		o = run("restore", "--dry-run", "--json", "--to-time", text).must(t, 0)
		if o.parse(t, &p); p.TargetRead != read || p.Target != "time 2026-11-20T03:06:00Z" || (read == "") != (o.stderr == "") {
			t.Errorf("%q: %+v, %s", text, p, o.stderr)
		}
		o = run("copy", "--to", "file://"+t.TempDir(), "--dry-run", "--from-time", text).must(t, 0)
		if (read == "") != (o.stderr == "") || read != "" && !strings.Contains(o.stderr, "--from-time "+text+" is "+read) {
			t.Errorf("copy, %q: %s", text, o.stderr)
		}
	}
	o := run("keep", "20261120T030030Z-0001", "--until", "2026-12-24 18:00").must(t, 0)
	if !strings.Contains(o.stdout, "until 2026-12-24 17:00:00 UTC") || !strings.Contains(o.stderr, "CET") {
		t.Errorf("%+v", o)
	}
	for _, args := range [][]string{{"restore", "--dry-run", "--to-time"}, {"copy", "--to", "file:///x", "--to-time"}, {"copy", "--to", "file:///x", "--from-time"},
		{"keep", "b", "--until"}} {
		for text, hint := range map[string]string{"2026-10-25 02:30": "Write 2026-10-25T02:30:00+02:00", "2026-03-29 02:30": "Write 2026-03-29T03:30:00+02:00",
			"soon": "Write 2026-11-30 03:59"} {
			if o := run(append(args, text)...); o.exit != 2 || !strings.Contains(o.stderr, hint) || !strings.Contains(o.stderr, args[len(args)-1]) {
				t.Errorf("%q %q: %+v", args, text, o)
			}
		}
	}
}
