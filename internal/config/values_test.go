package config

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1": 1, "1000": 1000, "64KiB": 64 << 10, "64 MiB": 64 << 20, "2GiB": 2 << 30, "3TiB": 3 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		if back := s.String(); back != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%s is written %s", text, back)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "1GB", "64M", "GiB", "99999999999TiB", "9223372036854775807KiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, s)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"5s": 5 * time.Second, "1h30m": 90 * time.Minute, "14d": 336 * time.Hour, "0s": 0, "250ms": 250 * time.Millisecond} {
		if d, err := parseDuration(text); err != nil || d != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "5", "-1s", "d", "1.5d", "999999999999d"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, d)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 5 * time.Second: "5s", 0: "0s", 10 * time.Second: "10s"} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %s", d, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, local := range map[string]bool{"db1": false, "localhost": true, "127.0.0.5:3307": true, "[::1]:3306": true,
		"10.0.0.1:3306": false, "/run/mysqld.sock": true} {
		a, err := ParseAddress(text)
		if err != nil || a.Local() != local {
			t.Errorf("%s: %+v local=%v, %v", text, a, a.Local(), err)
		}
	}
	for _, text := range []string{"", ":3306", "db1:", "db1:0", "db1:70000", "::1", "a b", "u@h:1", "x/y"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q is read as %+v", text, a)
		}
	}
}

func TestSchedule(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 7, 30, 0, time.UTC) // a Saturday
	for text, want := range map[string]string{
		"* * * * *":        "2026-11-21T10:08:00Z",
		"0 3 * * *":        "2026-11-22T03:00:00Z",
		"*/15 * * * *":     "2026-11-21T10:15:00Z",
		"7 10 * * *":       "2026-11-22T10:07:00Z",
		"30 2 * * 0":       "2026-11-22T02:30:00Z",
		"30 2 * * 7":       "2026-11-22T02:30:00Z",
		"0 0 1 * *":        "2026-12-01T00:00:00Z",
		"0 0 29 2 *":       "2028-02-29T00:00:00Z",
		"0 0 13 * 1":       "2026-11-23T00:00:00Z", // either day, as cron has it
		"5,10 1-2 */2 1 *": "2027-01-01T01:05:00Z",
	} {
		var s Schedule
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.Next(at).Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if next := (Schedule{}).Next(at); !next.IsZero() {
		t.Errorf("never comes at %v", next)
	}
	for _, text := range []string{"a * * * *", "*/0 * * * *", "5-1 * * * *", "60 * * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@daily", "1-2-3 * * * *", "0 0 31 4 *"} {
		if err := new(Schedule).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// A minute is next exactly if no minute between matches the fields, read the slow way.
func TestScheduleAgainstEveryMinute(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	texts := []string{"*/7 */5 * * *", "0 3 * * 1-5", "59 23 31 * *", "0 0 1,15 * 3", "10 4 * 2 *"}
	for _, text := range texts {
		var s Schedule
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			at := time.Unix(rng.Int64N(4e9), 0).UTC()
			next := s.Next(at)
			for m := at.Truncate(time.Minute).Add(time.Minute); m.Before(next); m = m.Add(time.Minute) {
				if s.has(0, m.Minute()) && s.has(1, m.Hour()) && s.has(3, int(m.Month())) && s.day(m) {
					t.Fatalf("seed %d: %s after %v is %v, but %v matches", seed, text, at, next, m)
				}
			}
		}
	}
}

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password := file("password", "s3cret \n", 0o640)
	open := file("open", "s3cret\n", 0o644)
	options := file("my.cnf", "[mysqld]\npassword=no\n[client]\nuser = x\npassword = \"a#b\\\\c\"  \n[other]\npassword=no\n", 0o600)
	bare := file("bare.cnf", "[client]\npassword=plain # comment\n", 0o600)
	empty := file("empty.cnf", "[client]\nuser=x\n", 0o600)
	none := map[string]string{}
	for _, test := range []struct {
		cl         Cluster
		want, from string
		kind       fault.Kind
	}{
		{Cluster{passwords: none}, "", "", fault.None},
		{Cluster{passwords: none, PasswordFile: password}, "s3cret ", "password_file", fault.None},
		{Cluster{passwords: none, PasswordFile: open}, "", "password_file", fault.Config},
		{Cluster{passwords: none, PasswordFile: open + "x"}, "", "password_file", fault.Config},
		{Cluster{passwords: none, DefaultsFile: options}, `a#b\c`, "defaults_file", fault.None},
		{Cluster{passwords: none, DefaultsFile: bare}, "plain", "defaults_file", fault.None},
		{Cluster{passwords: none, DefaultsFile: empty}, "", "defaults_file", fault.Config},
		{Cluster{passwords: map[string]string{"": "all"}, DefaultsFile: bare}, "plain", "defaults_file", fault.None},
		{Cluster{passwords: map[string]string{"": "all"}}, "all", "TIDEMARK_PASSWORD", fault.None},
		{Cluster{Name: "a-b", passwords: map[string]string{"": "all", "a-b": "own"}, PasswordFile: password}, "own", "TIDEMARK_CLUSTERS_A_B_PASSWORD", fault.None},
	} {
		if test.cl.Name == "" {
			test.cl.Name = "x"
		}
		got, err := test.cl.Password()
		if got != test.want || test.cl.PasswordFrom() != test.from || fault.KindOf(err) != test.kind {
			t.Errorf("%+v: %q from %q, %v", test.cl, got, test.cl.PasswordFrom(), err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestPasswordFromEnvironment(t *testing.T) {
	c := load(t, "clusters: {a-b: {hosts: [h]}, c: {hosts: [g]}}", "TIDEMARK_PASSWORD=all", "TIDEMARK_CLUSTERS_A_B_PASSWORD=own")
	for name, want := range map[string]string{"a-b": "own", "c": "all"} {
		cl, _ := c.Cluster(name)
		if got, err := cl.Password(); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestTLSModes(t *testing.T) {
	far, near := Address{"tcp", "db1:3306"}, Address{"tcp", "127.0.0.1:3306"}
	for _, test := range []struct {
		mode      TLSMode
		far, near TLSMode
	}{
		{TLSAuto, TLSVerifyIdentity, TLSDisabled},
		{"", TLSVerifyIdentity, TLSDisabled},
		{TLSDisabled, TLSDisabled, TLSDisabled},
		{TLSRequired, TLSRequired, TLSRequired},
	} {
		s := TLS{Mode: test.mode}
		if s.ModeFor(far) != test.far || s.ModeFor(near) != test.near {
			t.Errorf("%q: %s and %s", test.mode, s.ModeFor(far), s.ModeFor(near))
		}
	}
	c, err := TLS{Mode: TLSAuto}.ClientConfig(far)
	if err != nil || c.ServerName != "db1" || c.InsecureSkipVerify {
		t.Errorf("auto: %+v, %v", c, err)
	}
	if c, err := (TLS{Mode: TLSAuto}).ClientConfig(near); c != nil || err != nil {
		t.Errorf("local: %+v, %v", c, err)
	}
	c, err = TLS{Mode: TLSVerifyCA}.ClientConfig(far)
	if err != nil || c.VerifyConnection == nil {
		t.Errorf("verify-ca: %+v, %v", c, err)
	}
	bad := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bad, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []TLS{{Mode: TLSVerifyCA, CA: bad}, {Mode: TLSVerifyCA, CA: bad + "x"}, {Mode: TLSRequired, Cert: bad, Key: bad}} {
		if _, err := s.ClientConfig(far); !fault.Is(err, fault.Config) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(whole)
	f.Add("clusters: {a: &x {hosts: [*x]}}")
	f.Fuzz(func(t *testing.T, text string) {
		l := &loader{config: &Config{origins: make(map[string]Origin)}}
		l.readFile("f", []byte(text)) // must not panic
		l.validate([]string{"file"})
	})
}
