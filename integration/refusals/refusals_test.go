// Package refusals tests what the tidemark program does with bad input and damaged archives: one clear
// line, a hint, the exit code of the table, and nothing changed.
package refusals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// world is a server with an archive that holds a base backup and some segments.
type world struct {
	srv     *servertest.Server
	dir     string
	tool    string
	config  string
	before  time.Time // before the first base backup
	dropped string    // GTID of a transaction in the archive
}

// each runs a test on each version of MariaDB.
func each(t *testing.T, test func(*testing.T, *world)) {
	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		test(t, newWorld(t, b))
	}, "mariadb-backup", "mbstream")
}

func newWorld(t *testing.T, b servertest.Binaries, extra ...string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), before: time.Now().Add(-time.Hour)}
	var err error
	if w.tool, err = harness.Build(w.dir); err != nil {
		t.Fatal(err)
	}
	w.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: extra})
	w.srv.CreateUser(servertest.User, "secret")
	position := "SELECT @@gtid_binlog_pos"
	if b.Flavor == servertest.MySQL {
		position = "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"
		w.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
	}
	w.config = w.configure(t, w.dir, servertest.User, "secret", "")
	d, err := harness.Start(w.tool, w.config, filepath.Join(w.dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	w.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	w.await(t, d, func(c harness.Status) bool { return c.LastBackup.ID != "" })
	for i := range 3 { // three segments at least
		w.srv.Exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i))
		w.dropped = w.srv.Value(position)
		w.await(t, d, func(c harness.Status) bool { return c.Archived.GTID == w.dropped })
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) configure(t *testing.T, dir, user, password, more string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, err := harness.Config{Dir: dir, Primary: w.srv.Addr, User: user, Password: password,
		More: "    segment: {max_age: 100ms}\n    heartbeat: 1s\n" + more}.Write()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (w *world) await(t *testing.T, d *harness.Daemon, ok func(harness.Status) bool) {
	t.Helper()
	if err := d.Await(context.Background(), time.Minute, ok); err != nil {
		t.Fatal(err)
	}
}

// refused runs tidemark and expects a refusal: its kind's exit code, one line that holds the words,
// and a hint.
func (w *world) refused(t *testing.T, kind fault.Kind, words string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.tool, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != kind.ExitCode() {
		t.Errorf("tidemark %s: %v, exit code %d expected\n%s", strings.Join(args, " "), err, kind.ExitCode(), stderr.String())
		return
	}
	var said, hint string
	for line := range strings.SplitSeq(stderr.String(), "\n") {
		if rest, ok := strings.CutPrefix(line, "tidemark: "); ok {
			said = rest
		}
		if rest, ok := strings.CutPrefix(line, "hint: "); ok {
			hint = rest
		}
	}
	if !strings.Contains(said, words) || hint == "" {
		t.Errorf("tidemark %s says %q with hint %q, expected to hold %q", strings.Join(args, " "), said, hint, words)
	}
	if strings.Contains(stderr.String(), "secret") {
		t.Errorf("the password is shown: %s", stderr.String())
	}
	t.Logf("exit %d: %s | hint: %s", exit.ExitCode(), said, hint)
}

// TestRefusedPrimary: what is wrong with the primary or the account is said, and no archive is begun.
func TestRefusedPrimary(t *testing.T) { each(t, primary) }

func primary(t *testing.T, w *world) {
	fresh := func(name, user, password, more string) string {
		return w.configure(t, filepath.Join(w.dir, name), user, password, more)
	}
	t.Run("wrong password", func(t *testing.T) {
		w.refused(t, fault.Primary, "Access denied", "run", "--config", fresh("guess", servertest.User, "guess", ""))
	})
	t.Run("no privilege", func(t *testing.T) {
		w.srv.Exec("CREATE USER nobody IDENTIFIED BY 'secret'")
		w.refused(t, fault.Primary, "BINLOG MONITOR", "run", "--config", fresh("privilege", "nobody", "secret", ""))
	})
	t.Run("server_id of the primary", func(t *testing.T) {
		w.refused(t, fault.Primary, "server_id 7", "run", "--config", fresh("serverid", servertest.User, "secret", "    server_id: 7\n"))
	})
	t.Run("server_id of another replica", func(t *testing.T) {
		a := fresh("twin-a", servertest.User, "secret", "    server_id: 4242\n")
		b := fresh("twin-b", servertest.User, "secret", "    server_id: 4242\n")
		d, err := harness.Start(w.tool, a, filepath.Join(w.dir, "twin.log"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Stop() }()
		w.await(t, d, func(c harness.Status) bool { return c.State == "STATE_IDLE" || c.State == "STATE_STREAMING" })
		out, _ := exec.Command(w.tool, "check", "--config", b).CombinedOutput()
		if !bytes.Contains(out, []byte("4242")) {
			t.Errorf("check does not name the server_id that is taken:\n%s", out)
		}
	})
	t.Run("log_bin off", func(t *testing.T) {
		off := servertest.Start(t, servertest.Options{ServerID: 8, Binaries: w.srv.Binaries, Extra: []string{"--skip-log-bin"}})
		off.CreateUser(servertest.User, "secret")
		dir := filepath.Join(w.dir, "logbin")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cfg, err := harness.Config{Dir: dir, Primary: off.Addr, User: servertest.User, Password: "secret"}.Write()
		if err != nil {
			t.Fatal(err)
		}
		w.refused(t, fault.Primary, "binary log is off", "run", "--config", cfg)
	})
	for _, name := range []string{"guess", "privilege", "logbin"} {
		if entries, _ := os.ReadDir(filepath.Join(w.dir, name, "archive", "shop")); len(entries) > 0 {
			for _, e := range entries {
				if e.Name() == "log" || e.Name() == "base" {
					t.Errorf("%s: an archive was begun", name)
				}
			}
		}
	}
}

// TestRefusedInput: configurations, directories and targets that cannot be.
func TestRefusedInput(t *testing.T) { each(t, input) }

func input(t *testing.T, w *world) {
	target := filepath.Join(w.dir, "restored")
	restore := func(more ...string) []string {
		return append([]string{"restore", "shop", "--config", w.config, "--target-dir", target}, more...)
	}
	t.Run("unknown key", func(t *testing.T) {
		w.refused(t, fault.Config, "did you mean \"heartbeat\"", "run", "--config",
			w.configure(t, filepath.Join(w.dir, "key"), servertest.User, "secret", "    hartbeat: 1s\n"))
	})
	t.Run("unwritable archive", func(t *testing.T) {
		dir := filepath.Join(w.dir, "unwritable")
		cfg := w.configure(t, dir, servertest.User, "secret", "")
		// Where root may write anywhere, a file in the way does what permissions do to others.
		if err := os.WriteFile(filepath.Join(dir, "archive"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.refused(t, fault.Storage, "archive", "run", "--config", cfg)
	})
	t.Run("target directory not empty", func(t *testing.T) {
		if err := os.MkdirAll(filepath.Join(target, "precious"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.refused(t, fault.TargetNotEmpty, "not empty", restore()...)
		if _, err := os.Stat(filepath.Join(target, "precious")); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range []struct {
		name, words string
		args        []string
	}{
		{"before the first base backup", "before the first point", []string{"--to-time", w.before.UTC().Format(time.RFC3339)}},
		{"after the archive's end", "archive", []string{"--to-time", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}},
		{"unknown GTID", "0-7-999999", []string{"--to-gtid", "0-7-999999"}},
		{"unknown position", "binlog.009999", []string{"--to-position", "binlog.009999:4"}},
	} {
		t.Run(c.name, func(t *testing.T) { w.refused(t, fault.Unreachable, c.words, restore(c.args...)...) })
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a refused restore has made the target directory")
	}
}

// TestRefusedDamage: a damaged archive is refused by restore and named by verify.
func TestRefusedDamage(t *testing.T) { each(t, damage) }

func damage(t *testing.T, w *world) {
	segments := w.objects(t, "log/*/*.binlog.zst")
	manifests := w.objects(t, "log/*/*-*.json")
	parts := w.objects(t, "base/*/*.mbstream.zst")
	last := segments[len(segments)-1]
	for _, c := range []struct {
		name   string
		object string
		named  string // by the refusal, where that is not the object
		damage func(path string, data []byte) error
	}{
		{"corrupted segment", last, "", func(path string, data []byte) error {
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o600)
		}},
		{"missing segment", segments[len(segments)-2], "", func(path string, _ []byte) error { return os.Remove(path) }},
		{"missing manifest", manifests[len(manifests)-2], "", func(path string, _ []byte) error { return os.Remove(path) }},
		{"missing tail", manifests[len(manifests)-1], "the archive reached segment", func(path string, _ []byte) error { return os.Remove(path) }},
		{"truncated base part", parts[0], "", func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)-100], 0o600) }},
		{"corrupted base part", parts[0], "", func(path string, data []byte) error {
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o600)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, err := os.ReadFile(c.object)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.damage(c.object, bytes.Clone(good)); err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(filepath.Base(c.object), ".json")
			target := filepath.Join(w.dir, "restored")
			named := name
			if c.named != "" {
				named = c.named
			}
			w.refused(t, fault.Integrity, named, "restore", "shop", "--config", w.config, "--target-dir", target)
			out, err := exec.Command(w.tool, "verify", "shop", "--data", "--config", w.config).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != fault.Integrity.ExitCode() || !bytes.Contains(out, []byte(named)) && !bytes.Contains(out, []byte(name)) {
				t.Errorf("verify --data: %v, %s not named:\n%s", err, name, out)
			}
			if err := os.WriteFile(c.object, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(target); err != nil {
				t.Fatal(err)
			}
			_ = os.RemoveAll(target + ".tidemark")
		})
	}
	if out, err := exec.Command(w.tool, "verify", "shop", "--data", "--config", w.config).CombinedOutput(); err != nil {
		t.Errorf("the mended archive does not verify: %v\n%s", err, out)
	}
}

// TestFallBack: a restore whose newest base backup is damaged begins with the one before it, and says so.
func TestFallBack(t *testing.T) { each(t, fallBack) }

func fallBack(t *testing.T, w *world) {
	d, err := harness.Start(w.tool, w.config, filepath.Join(w.dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	w.srv.Exec("CREATE TABLE d.aria (id INT PRIMARY KEY, v VARCHAR(200)) ENGINE=Aria")
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			w.srv.Exec(fmt.Sprintf("INSERT INTO d.aria VALUES (%d, REPEAT('x', 200))", i))
		}
	}
	// A checkpoint between, so that not all of the table is in its log.
	fill(0, 2000)
	w.srv.Exec("FLUSH TABLES", "SET GLOBAL aria_checkpoint_interval=1", "DO SLEEP(2)")
	fill(2000, 2500)
	if out, err := exec.Command(w.tool, "backup", "shop", "--config", w.config).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	parts := w.objects(t, "base/*/*.mbstream.zst")
	newest := parts[len(parts)-1]
	good, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	tool, err := exec.LookPath("mariadb-backup")
	if err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	for name, c := range map[string]struct {
		data  []byte
		spoil string // done to its files, in $dir, before they are prepared
	}{
		"truncated": {good[:len(good)-100], ""},
		"corrupted": {bad, ""},
		// As the tool copies it now and then: shorter than its log says.
		"aria":   {good, `truncate -s 8192 "$dir/d/aria.MAI" "$dir/d/aria.MAD"`},
		"innodb": {good, `truncate -s 12288 "$dir/ib_logfile0"; dd if=/dev/zero of="$dir/ib_logfile0" bs=4096 count=1 conv=notrunc 2>/dev/null`},
	} {
		if err := os.WriteFile(newest, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", spoiling(t, tool, c.spoil)+string(os.PathListSeparator)+path)
		target := filepath.Join(w.dir, name)
		out, err := exec.Command(w.tool, "restore", "shop", "--config", w.config, "--target-dir", target).CombinedOutput()
		var exit *exec.ExitError
		id := filepath.Base(filepath.Dir(newest))
		if !errors.As(err, &exit) || exit.ExitCode() != fault.Warnings.ExitCode() || !bytes.Contains(out, []byte("base backup "+id+" is passed over")) {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: w.srv.Binaries})
		if n := again.Value("SELECT COUNT(*) FROM d.t"); n != "3" {
			t.Errorf("%s: %s rows restored", name, n)
		}
		again.Stop()
	}
}

// spoiling returns a directory with a tool that does something to a copy with the table d.aria, in $dir, before it
// prepares it.
func spoiling(t *testing.T, tool, what string) string {
	t.Helper()
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
for option; do
	case $option in --target-dir=*) dir=${option#--target-dir=};; esac
done
if [ -n "$dir" ] && [ -e "$dir/d/aria.MAI" ]; then
	:; %s
fi
exec %s "$@"
`, what, tool)
	if err := os.WriteFile(filepath.Join(bin, "mariadb-backup"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return bin
}

// objects returns the files of the archive that match, in order.
func (w *world) objects(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "archive/shop", pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("nothing matches %s: %v", pattern, err)
	}
	return found
}
