package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
	"tidemark/storage"
	"tidemark/storage/file"
)

// outcome is what a command printed and how it ended.
type outcome struct {
	exit           int
	stdout, stderr string
}

// tidemark runs the program in this process.
func tidemark(args ...string) outcome { return program(context.Background(), nil, args...) }

func program(ctx context.Context, environ []string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	exit := Main(ctx, Program{Version: "1.2.3", Args: args, Environ: environ, Stdout: &stdout, Stderr: &stderr, Clock: clock.System{},
		Drivers: []Driver{
			{"file", func(_ context.Context, u *url.URL, _ config.Storage) (storage.Store, error) { return file.Open(u.Path) }},
			{"down", func(context.Context, *url.URL, config.Storage) (storage.Store, error) { return down{}, nil }},
		}})
	return outcome{exit, stdout.String(), stderr.String()}
}

// must fails the test unless the command ended with the exit code.
func (o outcome) must(t *testing.T, exit int) outcome {
	t.Helper()
	if o.exit != exit {
		t.Fatalf("exit %d, want %d\nstdout: %s\nstderr: %s", o.exit, exit, o.stdout, o.stderr)
	}
	return o
}

// parse reads the JSON that a command printed.
func (o outcome) parse(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), into); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
}

// down is a storage that cannot be reached.
type down struct{ storage.Store }

func (down) Put(context.Context, string, []byte, bool) error {
	return fault.New(fault.Storage, "put", "", errors.New("no route to host"))
}
func (down) URL() string { return "down://bucket" }

var begun = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

// sample is an archive of cluster "default": two source files in four segments, with a base backup.
func sample(t testing.TB) (a *archivetest.Archive, url string, files [][]byte) {
	t.Helper()
	a = archivetest.InDir(t)
	now := begun
	for i, name := range []string{"binlog.000001", "binlog.000002"} {
		log := archivetest.NewLog(1, now)
		log.List(now, a.State.List()...)
		var cut uint64
		for j := range 4 {
			now = now.Add(time.Minute)
			log.Change(gtid.GTID{Server: 1, Seq: uint64(4*i + j + 1)}, now, "shop", "orders", 100)
			if j == 1 {
				cut = log.Offset()
			}
		}
		log.Rotate(now, "binlog.000009")
		files = append(files, log.Bytes())
		a.Append(name, log.Bytes(), archivetest.Cut{At: []uint64{cut}, Live: true})
	}
	s := a.Segments[0]
	a.AddBase(catalog.Base{ID: "20261120T030030Z-0001", Consistent: begun.Add(30 * time.Second)}, s.Source.EndPoint(), s.After.GTID, strings.NewReader("base"), 100)
	a.Head(now.Add(time.Hour))
	return a, "file://" + a.Dir, files
}

func objectPath(a *archivetest.Archive, key string) string {
	return filepath.Join(a.Dir, "default", filepath.FromSlash(key))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestErrors(t *testing.T) {
	a, archive, _ := sample(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	check(t, os.WriteFile(bad, []byte("archiv: x\n"), 0o600))
	two := filepath.Join(t.TempDir(), "two.yaml")
	check(t, os.WriteFile(two, []byte("archive: file://"+a.Dir+"\nclusters: {x: {hosts: [h], user: u}, y: {hosts: [g]}}\n"), 0o600))
	for _, test := range []struct {
		args   string
		exit   int
		stderr string
	}{
		{"", 2, "no command is given\nhint: Run `tidemark --help`."},
		{"lst", 2, "unknown command \"lst\"\nhint: Did you mean list?"},
		{"frobnicate", 2, "unknown command \"frobnicate\"\nhint: Run `tidemark --help`."},
		{"list --segmnts", 2, "unknown flag --segmnts\nhint: Did you mean tidemark list --segments?"},
		{"list --arhcive x", 2, "Did you mean tidemark list --archive?"},
		{"list --zzzzzzzz", 2, "unknown flag --zzzzzzzz\nhint: Run `tidemark list --help`."},
		{"list -z", 2, "unknown shorthand flag"},
		{"verify --timeline x", 2, "invalid argument \"x\" for \"--timeline\""},
		{"list a b", 2, "2 arguments where the name of one cluster is expected"},
		{"version x", 2, "unexpected argument \"x\""},
		{"run x", 2, "unexpected argument \"x\""},
		{"completion tcsh", 2, ""},
		{"run --archive file:///a --primary h --user u --log-level loud", 2, "write debug, info, warn or error"},
		{"run --archive file:///a --primary h --user u --log-format xml", 2, "write text or json"},
		{"list --archive file:///nowhere/at/all", 10, "there is none"},
		{"list nosuch --archive " + archive, 10, "there is no such cluster"},
		{"verify nosuch --archive " + archive, 10, "there is no such cluster"},
		{"cat nosuch --archive " + archive, 10, "there is no such cluster"},
		{"list --config " + bad, 17, bad + ":1:1: unknown key \"archiv\"; did you mean \"archive\"?"},
		{"config --config " + bad, 17, "unknown key"},
		{"list --config /nowhere.yaml", 17, "/nowhere.yaml"},
		{"list --archive s3://bucket", 17, "storage s3:// is not supported by this build, which has file"},
		{"list", 17, "no archive is configured\nhint: Write archive"},
		{"backup --archive " + archive, 17, "no cluster is configured"},
		{"backup --archive " + archive + " --primary h", 17, "cluster default has no user"},
		{"check --archive " + archive, 17, "no cluster is configured"},
		{"cat --config " + two, 2, "Name one of: x, y."},
		{"backup z --config " + two, 2, "Name one of: x, y."},
		{"run --config " + two, 17, "cluster y has no user"},
		{"verify --timeline 9 --archive " + archive, 13, "there is no such timeline"},
	} {
		o := tidemark(strings.Fields(test.args)...)
		if o.exit != test.exit || !strings.Contains(o.stderr, test.stderr) {
			t.Errorf("tidemark %s: exit %d, want %d with %q\n%s", test.args, o.exit, test.exit, test.stderr, o.stderr)
		}
		if test.stderr != "" && (o.stdout != "" || strings.Count(o.stderr, "tidemark: ") != 1) {
			t.Errorf("tidemark %s: the error is not printed once, on stderr\nstdout: %s\nstderr: %s", test.args, o.stdout, o.stderr)
		}
	}
}

func TestErrorAsJSON(t *testing.T) {
	for _, args := range []string{"list --json --archive file:///nowhere/at/all", "--json list nosuch", "list --json --nosuch"} {
		o := tidemark(strings.Fields(args)...)
		var e struct {
			Error, Kind, Hint string
			Exit              int
		}
		if err := json.Unmarshal([]byte(o.stderr), &e); err != nil || e.Exit != o.exit || e.Error == "" || e.Kind == "" || e.Hint == "" {
			t.Errorf("%s: %d, %v in %s", args, o.exit, err, o.stderr)
		}
	}
}

// Every command says what it is good for, how it is called, and how it may end.
func TestHelp(t *testing.T) {
	a := &app{Program: Program{Clock: clock.System{}}}
	root := a.root()
	root.InitDefaultHelpCmd()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c == root || c.Name() == "help" {
			return
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		o := tidemark(args...).must(t, 0)
		for _, want := range []string{"EXIT STATUS\n    0  done\n", "Examples:\n  tidemark " + strings.Join(args[:len(args)-1], " "), "\n  130  interrupted"} {
			if !strings.Contains(o.stdout, want) {
				t.Errorf("the help of %s has no %q:\n%s", c.CommandPath(), want, o.stdout)
			}
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.ToUpper(c.Short[:1]) != c.Short[:1] {
			t.Errorf("%s: %q", c.CommandPath(), c.Short)
		}
		for line := range strings.Lines(c.Long) {
			if len(strings.TrimSpace(line)) > 110 {
				t.Errorf("the help of %s has a line of %d characters", c.CommandPath(), len(line))
			}
		}
	}
	walk(root)
	tidemark("--help").must(t, 0)
}

func TestVersion(t *testing.T) {
	if o := tidemark("version").must(t, 0); !strings.HasPrefix(o.stdout, "tidemark 1.2.3\narchive format 1, storage file") {
		t.Error(o.stdout)
	}
	var v versionResult
	tidemark("version", "--json").must(t, 0).parse(t, &v)
	if v.Version != "1.2.3" || v.Format != 1 || v.Storage[0] != "file" {
		t.Errorf("%+v", v)
	}
}

func TestConfig(t *testing.T) {
	o := program(context.Background(), []string{"TIDEMARK_STATE_DIR=/tmp/x", "TIDEMARK_PASSWORD=hunter2"},
		"config", "--json", "--archive", "file:///a", "--primary", "h", "--user", "u").must(t, 0)
	var r configResult
	o.parse(t, &r)
	if len(r.Settings) < 15 || strings.Contains(o.stdout, "hunter2") {
		t.Errorf("%s", o.stdout)
	}
	o = program(context.Background(), []string{"TIDEMARK_STATE_DIR=/tmp/x"}, "config", "--archive", "file:///a").must(t, 0)
	if !regexp.MustCompile(`(?m)^ *state_dir +/tmp/x +TIDEMARK_STATE_DIR$`).MatchString(o.stdout) {
		t.Error(o.stdout)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if o := tidemark("completion", shell).must(t, 0); !strings.Contains(o.stdout, "tidemark") {
			t.Errorf("%s: %q", shell, o.stdout)
		}
	}
}

func TestInterrupted(t *testing.T) {
	_, archive, _ := sample(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range []string{"verify --data", "list", "cat --output " + t.TempDir()} {
		o := program(ctx, nil, append(strings.Fields(args), "--archive", archive)...)
		if o.exit != 130 || o.stderr != "tidemark: interrupted\n" || o.stdout != "" {
			t.Errorf("%s: %+v", args, o)
		}
	}
}

// A daemon that is told to end while it waits for its primary ends well.
func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	o := program(ctx, []string{"TIDEMARK_STATE_DIR=" + t.TempDir(), "TIDEMARK_STATUS_LISTEN=off"},
		"run", "--archive", "file://"+t.TempDir(), "--primary", "127.0.0.1:1", "--user", "u", "--log-format", "json")
	if o.exit != 0 {
		t.Errorf("%+v", o)
	}
	for line := range strings.Lines(o.stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON in the log: %s", line)
		}
	}
}
