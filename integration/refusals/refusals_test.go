package refusals

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// onMariaDB runs a test on each version of MariaDB.
func onMariaDB(t *testing.T, test func(*testing.T, servertest.Binaries)) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), test, "mariadb-backup", "mbstream")
}

// TestRefusedPrimary: what is wrong with the primary or the account is said, and no archive is begun.
func TestRefusedPrimary(t *testing.T) { onMariaDB(t, primary) }

func primary(t *testing.T, b servertest.Binaries) {
	srv := kit.New(t, kit.Setup{Binaries: b, Shared: true}).Server
	srv.Exec("CREATE OR REPLACE USER nobody IDENTIFIED BY '" + kit.Password + "'")
	for _, c := range []struct {
		name, words string
		setup       kit.Setup
	}{
		{"wrong password", "Access denied", kit.Setup{Server: srv, Password: "guess"}},
		{"no privilege", "BINLOG MONITOR", kit.Setup{Server: srv, User: "nobody"}},
		{"server_id of the primary", "server_id 7", kit.Setup{Server: srv, Cluster: []string{"server_id: 7"}}},
		{"log_bin off", "binary log is off", kit.Setup{Binaries: b, Options: []string{"--skip-log-bin"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := kit.New(t, c.setup)
			refused(t, fault.Primary, c.words, w.Command("run"))
			none(t, "an archive was begun", w.Dir+"/archive/shop/log")
			none(t, "an archive was begun", w.Dir+"/archive/shop/base")
		})
	}
	t.Run("server_id of another replica", func(t *testing.T) {
		twin := kit.Setup{Server: srv, Cluster: []string{"server_id: 4242"}}
		a := kit.New(t, twin)
		a.Start()
		a.Await("it streams", func(s kit.Status) bool { return s.State == "STATE_IDLE" || s.State == "STATE_STREAMING" })
		out, _ := kit.New(t, twin).Command("check").CombinedOutput()
		if !bytes.Contains(out, []byte("4242")) {
			t.Errorf("check does not name the server_id that is taken:\n%s", out)
		}
	})
}

// TestRefusedInput: configurations, directories and targets that cannot be.
func TestRefusedInput(t *testing.T) { onMariaDB(t, input) }

func input(t *testing.T, b servertest.Binaries) {
	before := time.Now().Add(-time.Hour)
	w := sharedWorld(t, b)
	t.Run("unknown key", func(t *testing.T) {
		w := kit.New(t, kit.Setup{Server: w.Server, Cluster: []string{"hartbeat: 1s"}})
		refused(t, fault.Config, "did you mean \"heartbeat\"", w.Command("run"))
	})
	t.Run("unwritable archive", func(t *testing.T) {
		w := kit.New(t, kit.Setup{Server: w.Server})
		// Where root may write anywhere, a file in the way does what permissions do to others.
		overwrite(t, filepath.Join(w.Dir, "archive"), nil)
		refused(t, fault.Storage, "archive", w.Command("run"))
	})
	t.Run("target directory not empty", func(t *testing.T) {
		must(t, os.MkdirAll(filepath.Join(w.target, "precious"), 0o700))
		refused(t, fault.TargetNotEmpty, "not empty", w.restore())
		if _, err := os.Stat(filepath.Join(w.target, "precious")); err != nil {
			t.Error(err)
		}
		must(t, os.RemoveAll(w.target))
	})
	for _, c := range []struct{ name, words, option, value string }{
		{"before the first base backup", "before the first point", "--to-time", before.UTC().Format(time.RFC3339)},
		{"after the archive's end", "archive", "--to-time", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		{"unknown GTID", "0-7-999999", "--to-gtid", "0-7-999999"},
		{"unknown position", "binlog.009999", "--to-position", "binlog.009999:4"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, fault.Unreachable, c.words, w.restore(c.option, c.value)) })
	}
	none(t, "a refused restore has made the target directory", w.target)
}

// TestRefusedDamage: a damaged archive is refused by restore and named by verify.
func TestRefusedDamage(t *testing.T) { onMariaDB(t, damage) }

// flipped is data with a bit in its middle changed.
func flipped(data []byte) []byte {
	bad := bytes.Clone(data)
	bad[len(bad)/2] ^= 1
	return bad
}

func truncated(data []byte) []byte { return data[:len(data)-100] }

func removed([]byte) []byte { return nil }

func damage(t *testing.T, b servertest.Binaries) {
	w := sharedWorld(t, b)
	segments := w.objects("log/*/*.binlog.zst")
	manifests := w.objects("log/*/*-*.json")
	parts := w.objects("base/*/*.mbstream.zst")
	last := len(segments) - 1
	for _, c := range []struct {
		name   string
		object string
		named  string // by the refusal, where that is not the object
		damage func([]byte) []byte
	}{
		{"corrupted segment", segments[last], "", flipped},
		{"missing segment", segments[last-1], "", removed},
		{"missing manifest", manifests[len(manifests)-2], "", removed},
		{"missing tail", manifests[len(manifests)-1], "the archive reached segment", removed},
		{"truncated base part", parts[0], "", truncated},
		{"corrupted base part", parts[0], "", flipped},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, err := os.ReadFile(c.object)
			must(t, err)
			if bad := c.damage(good); bad != nil {
				overwrite(t, c.object, bad)
			} else {
				must(t, os.Remove(c.object))
			}
			name := strings.TrimSuffix(filepath.Base(c.object), ".json")
			named := cmp.Or(c.named, name)
			refused(t, fault.Integrity, named, w.restore())
			out := w.Refused(fault.Integrity.ExitCode(), "verify", "shop", "--data")
			if !strings.Contains(out, named) && !strings.Contains(out, name) {
				t.Errorf("verify --data: %s not named:\n%s", name, out)
			}
			overwrite(t, c.object, good)
			must(t, os.RemoveAll(w.target))
			must(t, os.RemoveAll(w.target+".tidemark"))
		})
	}
	w.RunTo([]int{0}, "verify", "shop", "--data") // it is mended
}
