package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
)

// write returns the path of a new configuration file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads a file with the environment given.
func load(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := Load(Source{File: write(t, text), Environ: environ, Schemes: []string{"file", "s3", "gs", "azblob"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const whole = `
# everything
archive: file:///srv/archive
state_dir: /var/lib/tm
status: {listen: "127.0.0.1:9000"}
clusters:
  shop-eu:
    hosts: ["10.0.0.1:3307"]
    user: tidemark
    password_file: /etc/tidemark/shop.password
    tls: {mode: verify-ca, ca: /etc/ca.pem, cert: /etc/c.pem, key: /etc/k.pem}
    server_id: 4294900001
    start: now
    heartbeat: 2s
    segment:
      max_age: "1s500ms"
      max_size: 1048576
    spool: {max_size: 1TiB}
    base:
      engine: xtrabackup
      datadir: /data
      schedule: "*/15 3 * * 1-5"
      part_size: 64MiB
      threads: 4
  app: {hosts: [db1]}
`

func TestLoadWhole(t *testing.T) {
	c := load(t, whole)
	if c.Archive != "file:///srv/archive" || c.StateDir != "/var/lib/tm" || c.Status.Listen != "127.0.0.1:9000" {
		t.Errorf("top: %+v", c)
	}
	if got := c.names(); !reflect.DeepEqual(got, []string{"app", "shop-eu"}) {
		t.Fatalf("clusters %v, in the order of their names expected", got)
	}
	cl, err := c.Cluster("shop-eu")
	if err != nil {
		t.Fatal(err)
	}
	hosts := []Address{{"tcp", "10.0.0.1:3307"}}
	if !reflect.DeepEqual(cl.Hosts, hosts) {
		t.Errorf("hosts %v", cl.Hosts)
	}
	if cl.User != "tidemark" || cl.PasswordFile != "/etc/tidemark/shop.password" || cl.ServerID != 4294900001 || cl.Start != StartNow ||
		cl.Heartbeat != 2*time.Second || cl.TLS != (TLS{TLSVerifyCA, "/etc/ca.pem", "/etc/c.pem", "/etc/k.pem"}) {
		t.Errorf("cluster: %+v", cl)
	}
	if cl.Segment != (Segment{1500 * time.Millisecond, MiB}) || cl.Spool.MaxSize != TiB {
		t.Errorf("segment and spool: %+v %+v", cl.Segment, cl.Spool)
	}
	if b := cl.Base; b.Engine != EngineXtraBackup || b.DataDir != "/data" || b.Schedule.String() != "*/15 3 * * 1-5" || b.PartSize != 64*MiB || b.Threads != 4 {
		t.Errorf("base: %+v", b)
	}
}

func TestDefaults(t *testing.T) {
	c := load(t, "clusters: {shop: {hosts: [db1], user: u}}\n")
	cl, err := c.Cluster("")
	if err != nil {
		t.Fatal(err)
	}
	if c.StateDir != "/var/lib/tidemark" || c.Status.Listen != "127.0.0.1:9306" || c.Status.Off() {
		t.Errorf("top: %+v", c)
	}
	if cl.ServerID != 0 || cl.Start != StartOldest || cl.Heartbeat != 5*time.Second || cl.TLS.Mode != TLSAuto ||
		cl.Segment != (Segment{5 * time.Second, 64 * MiB}) || cl.Spool.MaxSize != 10*GiB ||
		cl.Base.Engine != EngineAuto || !cl.Base.Schedule.Never() || cl.Base.PartSize != GiB || cl.Base.Threads != 2 {
		t.Errorf("cluster: %+v", cl)
	}
	if err := c.NeedPrimary(cl); err != nil {
		t.Error(err)
	}
	if err := c.NeedArchive(); !fault.Is(err, fault.Config) || fault.HintOf(err) == "" {
		t.Errorf("no archive: %v", err)
	}
}

// Each is one file, the place of its problem, and what is said of it.
func TestFileProblems(t *testing.T) {
	const shop = "clusters:\n  shop:\n    hosts: [db1]\n"
	for _, test := range []struct{ text, at, want string }{
		{"archiv: file:///a\n", "1:1", `unknown key "archiv"; did you mean "archive"?`},
		{"zzzzzzzz: 1\n", "1:1", `unknown key "zzzzzzzz"`},
		{"compression: {}\n", "1:1", `unknown key "compression"`},
		{"encryption: {recipients: [age1x]}\n", "1:", `encryption.recipients: it is no recipient of age`},
		{"encryption: {recipients: [AGE-SECRET-KEY-1QQQQ]}\n", "1:", `an identity, which is secret`},
		{"encryption: {identity_file: here}\n", "1:29", `write an absolute path`},
		{"encryption: {identity_file: AGE-SECRET-KEY-1QQQQ}\n", "1:29", `it is an identity itself`},
		{shop + "    hsots: [db2]\n", "4:5", `unknown key "hsots"; did you mean "hosts"?`},
		{shop + "    segment: {max_agee: 5s}\n", "4:15", `unknown key "max_agee"; did you mean "max_age"?`},
		{shop + "    segment:\n      max_age: 5\n", "5:16", `clusters.shop.segment.max_age: "5" is not a duration: write a number with a unit, as 500ms, 5s, 10m, 2h or 14d`},
		{shop + "    segment: {max_age: -5s}\n", "4:24", `is not a duration`},
		{shop + "    segment: {max_age: 2h}\n", "4:24", `2h is not between 100ms and 1h`},
		{shop + "    segment: {max_size: 64MB}\n", "4:25", `"64MB" is not a size: write a number of bytes, or of KiB, MiB, GiB or TiB, as 64MiB`},
		{shop + "    segment: {max_size: 1KiB}\n", "4:25", `1KiB is not between 64KiB and 4GiB`},
		{shop + "    spool: {max_size: 1MiB}\n", "4:23", `1MiB is less than four segments of 64MiB`},
		{shop + "    base: {engine: mbstream}\n", "4:20", `"mbstream" is not known here: write auto, mariadb-backup, clone or xtrabackup`},
		{shop + "    base: {allow_empty_tables: maybe}\n", "4:32", `"maybe" is neither true nor false`},
		{shop + "    user: true\n", "4:11", "it is true or false where something else is expected"},
		{shop + "    server_id: five\n", "4:16", `"five" is not a whole number`},
		{shop + "    server_id: \"5\"\n", "4:16", `quoted text where a number is expected`},
		{shop + "    server_id: 4294967296\n", "4:16", `not a whole number from 0 to 4294967295`},
		{shop + "    user: [a]\n", "4:11", `clusters.shop.user: it is a list where one value is expected`},
		{shop + "    user: {a: b}\n", "4:11", `section where one value is expected`},
		{shop + "    user:\n", "4:", `it has no value`},
		{shop + "    user: true\n", "4:11", `put a text in quotes`},
		{shop + "    user: &u x\n", "4:", `anchors and aliases`},
		{shop + "    start: yesterday\n", "4:12", `"yesterday" is not known here: write oldest or now`},
		{shop + "    tls: {mode: verify}\n", "4:17", `"verify" is not a TLS mode`},
		{shop + "    tls: {cert: /c}\n", "4:17", `needs both tls.cert and tls.key`},
		{shop + "    tls: 5\n", "4:10", `clusters.shop.tls is a section`},
		{shop + "    heartbeat: 10ms\n", "4:16", `10ms is not between 500ms and 1m`},
		{shop + "    password_file: x\n", "4:20", `write an absolute path`},
		{shop + "    password_file: /x\n    defaults_file: /y\n", "5:20", `give one of them`},
		{shop + "    base: {schedule: \"0 3 * *\"}\n", "4:22", `has 4 fields`},
		{shop + "    base: {schedule: \"0 24 * * *\"}\n", "4:22", `"24" is no hour: write *, a number from 0 to 23`},
		{shop + "    base: {schedule: \"0 3 31 2 *\"}\n", "4:22", `never comes`},
		{shop + "    base: {threads: 0}\n", "4:21", `0 is not between 1 and 256`},
		{shop + "    base: {part_size: 1}\n", "4:23", `1 is not between 1MiB and 1TiB`},
		{"clusters:\n  shop:\n    hosts: db1\n", "3:12", `it is one value where a list is expected: write it in brackets`},
		{"clusters:\n  shop:\n    hosts: [\"db1:x\"]\n", "3:12", `"db1:x" is not an address`},
		{"clusters:\n  a: {hosts: [db1]}\n  b: {hosts: [\"db1:3306\"]}\n", "3:14", `db1:3306 is named in cluster a already`},
		{"clusters:\n  Shop: {hosts: [db1]}\n", "2:3", `"Shop" is no name for a cluster`},
		{"clusters:\n  shop:\n", "2:", `clusters.shop is a section`},
		{"clusters: [shop]\n", "1:11", `clusters is a section`},
		{"archive: /srv/a\n", "1:10", `"/srv/a" is not a URL: write file:///srv/a`},
		{"archive: file://srv/a\n", "1:10", `names a host: write file:///srv/a`},
		{"archive: file:///\n", "1:10", `names no directory`},
		{"archive: s3://bucket/p\n", "1:10", `storage s3:// is not supported by this build, which has file`},
		{"archive: file://u:hunter2@/a\n", "1:10", `must hold no user or password`},
		{"archive: [a]\n", "1:10", `list where one value is expected`},
		{"state_dir: lib\n", "1:12", `write an absolute path`},
		{"status: {listen: nine}\n", "1:18", `is not an address to listen on`},
		{"archive: file:///a\narchive: file:///b\n", "2:1", `already defined`},
		{"archive: \"file:///a\n", "1:", ``},
		{"- a\n", "1:1", `the configuration is a section`},
		{"archive: file:///a\n---\narchive: file:///b\n", "3:", `a second document`},
		{"\tarchive: x\n", "1:", ``},
	} {
		path := write(t, test.text)
		_, err := Load(Source{File: path, Schemes: []string{"file"}})
		if !fault.Is(err, fault.Config) {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if msg := err.Error(); strings.Contains(msg, "1QQQQ") || !strings.HasPrefix(msg, path+":"+test.at) || !strings.Contains(msg, test.want) {
			t.Errorf("%q\n gives %s\n want  %s:%s … %s", test.text, msg, path, test.at, test.want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error tells the password: %v", test.text, err)
		}
		if fault.HintOf(err) == "" {
			t.Errorf("%q: no hint", test.text)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	path := write(t, "state_dir: x\narchiv: y\nclusters: {a: {hosts: [h], start: never}}\n")
	_, err := Load(Source{File: path})
	want := "configuration: 3 problems\n  " + path + ":1:12: state_dir: "
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	c := load(t, whole, "TIDEMARK_ARCHIVE=file:///other", "TIDEMARK_STATUS_LISTEN=off", "PATH=/bin",
		"TIDEMARK_CLUSTERS_SHOP_EU_SEGMENT_MAX_AGE=9s", "TIDEMARK_CLUSTERS_SHOP_EU_HOSTS=a:1",
		"TIDEMARK_CLUSTERS_NEW_ONE_HOSTS=c", "TIDEMARK_CLUSTERS_NEW_ONE_TLS_MODE=disabled",
		"TIDEMARK_PORT_9306_TCP_ADDR=10.0.0.1", "TIDEMARK_SERVICE_HOST=10.0.0.2") // as Kubernetes makes them
	if c.Archive != "file:///other" || !c.Status.Off() {
		t.Errorf("top: %+v", c)
	}
	cl, _ := c.Cluster("shop-eu")
	if cl.Segment.MaxAge != 9*time.Second || !reflect.DeepEqual(cl.Hosts, []Address{{"tcp", "a:1"}}) {
		t.Errorf("shop-eu: %+v", cl)
	}
	made, err := c.Cluster("new_one")
	if err != nil || made.Hosts[0].Addr != "c:3306" || made.TLS.Mode != TLSDisabled || made.Segment.MaxAge != 5*time.Second {
		t.Errorf("new_one: %+v, %v", made, err)
	}
	for _, test := range []struct{ env, want string }{
		{"TIDEMARK_ARCHIV=x", `TIDEMARK_ARCHIV: there is no such environment variable; did you mean "TIDEMARK_ARCHIVE"?`},
		{"TIDEMARK_CLUSTERS_SHOP_EU_HOST=x", `TIDEMARK_CLUSTERS_SHOP_EU_HOST: there is no such environment variable`},
		{"TIDEMARK_CLUSTERS_SHOP_EU_SERVER_ID=x", `TIDEMARK_CLUSTERS_SHOP_EU_SERVER_ID: "x" is not a whole number`},
		{"TIDEMARK_STATE_DIR=x", `TIDEMARK_STATE_DIR: state_dir: "x" depends on where the program is started`},
	} {
		_, err := Load(Source{File: write(t, whole), Environ: []string{test.env}})
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.env, err)
		}
	}
	_, err = Load(Source{File: write(t, "clusters: {a-b: {hosts: [h]}, a_b: {hosts: [g]}}"), Environ: []string{"TIDEMARK_CLUSTERS_A_B_USER=u"}})
	if err == nil || !strings.Contains(err.Error(), "it may mean cluster a-b or a_b") {
		t.Errorf("ambiguous: %v", err)
	}
}

func TestFileFromEnvironment(t *testing.T) {
	path := write(t, "archive: file:///from-file\n")
	c, err := Load(Source{Environ: []string{"TIDEMARK_CONFIG=" + path}})
	if err != nil || c.Archive != "file:///from-file" {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = Load(Source{File: path + ".missing"})
	if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), path+".missing") {
		t.Errorf("missing file: %v", err)
	}
}

func TestFlagsAlone(t *testing.T) {
	c, err := Load(Source{Flags: Flags{Archive: "file:///a", Primary: "db1", User: "u"}})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := c.Cluster("")
	if err != nil || cl.Name != DefaultCluster || len(cl.Hosts) != 1 || cl.User != "u" || c.Archive != "file:///a" {
		t.Errorf("%+v %+v, %v", c, cl, err)
	}
	if err := c.NeedPrimary(cl); err != nil {
		t.Error(err)
	}
	if c, err = Load(Source{Flags: Flags{Archive: "file:///a", Primary: "x", Cluster: "Ä"}}); !fault.Is(err, fault.Config) {
		t.Errorf("bad name: %+v, %v", c, err)
	}
	c, err = Load(Source{Flags: Flags{Archive: "file:///a"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cluster(""); !fault.Is(err, fault.Config) {
		t.Errorf("no cluster: %v", err)
	}
	_, err = Load(Source{Flags: Flags{Archive: "nowhere"}})
	if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), `--archive: archive: "nowhere" is not a URL`) {
		t.Errorf("bad flag: %v", err)
	}
}

func TestFlagsOverFile(t *testing.T) {
	c, err := Load(Source{File: write(t, whole), Environ: []string{"TIDEMARK_ARCHIVE=file:///env"},
		Flags: Flags{Archive: "file:///flag", User: "flag", Cluster: "app"}})
	if err != nil {
		t.Fatal(err)
	}
	cl, _ := c.Cluster("app")
	if c.Archive != "file:///flag" || cl.User != "flag" || len(cl.Hosts) != 1 {
		t.Errorf("%+v %+v", c, cl)
	}
	_, err = Load(Source{File: write(t, whole), Flags: Flags{User: "flag"}})
	if err == nil || !strings.Contains(err.Error(), "there are 2 clusters") {
		t.Errorf("ambiguous: %v", err)
	}
}

func TestClusterChoice(t *testing.T) {
	c := load(t, whole)
	for _, name := range []string{"", "shp"} {
		_, err := c.Cluster(name)
		if !fault.Is(err, fault.Usage) || !strings.Contains(fault.HintOf(err), "app, shop-eu") {
			t.Errorf("%q: %v", name, err)
		}
	}
	cl, _ := c.Cluster("app")
	if err := c.NeedPrimary(cl); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "app has no user") {
		t.Errorf("no user: %v", err)
	}
	cl.Hosts = nil
	if err := c.NeedPrimary(cl); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "app has no hosts") {
		t.Errorf("no hosts: %v", err)
	}
}

func TestSettings(t *testing.T) {
	path := write(t, "archive: file:///a\nclusters: {shop: {hosts: [db1], user: u}}\n")
	c, err := Load(Source{File: path, Environ: []string{"TIDEMARK_STATE_DIR=/s", "TIDEMARK_PASSWORD=hunter2"}, Flags: Flags{User: "f"}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]Setting)
	for _, s := range c.Settings() {
		got[s.Key] = s
		if strings.Contains(s.Value+s.Origin, "hunter2") {
			t.Errorf("%+v tells the password", s)
		}
	}
	for _, want := range []Setting{
		{"archive", "file:///a", path + ":1:10"},
		{"state_dir", "/s", "TIDEMARK_STATE_DIR"},
		{"status.listen", "127.0.0.1:9306", "default"},
		{"clusters.shop.hosts", "db1:3306", path + ":2:26"},
		{"clusters.shop.user", "f", "--user"},
		{"clusters.shop.segment.max_age", "5s", "default"},
		{"clusters.shop.spool.max_size", "10GiB", "default"},
		{"clusters.shop.base.schedule", "", "default"},
		{"clusters.shop.password", "(hidden)", "TIDEMARK_PASSWORD"},
	} {
		if got[want.Key] != want {
			t.Errorf("got %+v, want %+v", got[want.Key], want)
		}
	}
}
