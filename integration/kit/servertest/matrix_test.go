package servertest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestMatrix starts a server of each version, as those who write tests expect it, and connects with the
// account that archives. It is what CI must have seen pass on all of them.
func TestMatrix(t *testing.T) {
	kit.Each(t, "", kit.Servers(1), func(t *testing.T, b servertest.Binaries) {
		srv := servertest.Start(t, servertest.Options{ServerID: 3, Binaries: b})
		t.Logf("%s %s", b.Flavor, b.Version)
		want := map[string]string{"server_id": "3", "log_bin": "1", "binlog_format": "ROW", "event_scheduler": "OFF"}
		if b.Flavor == servertest.MySQL {
			want["gtid_mode"], want["enforce_gtid_consistency"] = "ON", "ON"
			want["authentication_policy"], want["secure_file_priv"] = "*,,", ""
			srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
			if got := srv.Value("SELECT plugin_status FROM information_schema.plugins WHERE plugin_name='clone'"); got != "ACTIVE" {
				t.Errorf("the clone plugin is %s", got)
			}
		}
		for name, value := range want {
			if got := srv.Value("SELECT @@GLOBAL." + name); got != value {
				t.Errorf("%s is %q, not %q", name, got, value)
			}
		}

		srv.CreateUser(servertest.User, "secret")
		conn, err := client.Connect(srv.Addr, servertest.User, "secret", "", func(c *client.Conn) error {
			c.UseSSL(true)
			return nil
		})
		if b.Flavor == servertest.MariaDB && strings.HasPrefix(b.Version, "10.") { // has no certificate of its own
			conn, err = client.Connect(srv.Addr, servertest.User, "secret", "")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Quit()
		if _, err := conn.Execute("SHOW BINARY LOGS"); err != nil {
			t.Error(err)
		}
		if b.Flavor == servertest.MySQL {
			if got := srv.Value("SELECT plugin FROM mysql.user WHERE user='" + servertest.User + "'"); got != "caching_sha2_password" {
				t.Errorf("the account is let in by %s", got)
			}
		}
	})
}

// A version that is not there skips, or fails where all must run; the list of versions can be cut. It changes
// the environment, and so runs before those that run side by side.
func TestEach(t *testing.T) {
	tests := []struct {
		name    string
		env     map[string]string
		flavor  string
		want    string // of every subtest
		not     string // is not among them
		outside string // of the test itself
	}{
		{name: "none is there", flavor: servertest.MySQL, want: "mysql-9.7 skips: a server (mariadbd or mysqld) is not installed"},
		{name: "but it must", flavor: servertest.MySQL, env: map[string]string{"TIDEMARK_MUST_RUN": "1"}, want: "mysql-9.7 fails: a server"},
		{name: "of those named", env: map[string]string{"TIDEMARK_TEST_SERVERS": "mariadb-11.8"}, want: "mariadb-11.8 skips: "},
		{name: "none of the flavor", flavor: servertest.MySQL, env: map[string]string{"TIDEMARK_TEST_SERVERS": "mariadb-11.8"}},
		{name: "all versions", flavor: servertest.MariaDB, want: "mariadb-11.8 skips"},
		{name: "one of a flavor", flavor: servertest.MariaDB, env: map[string]string{"TIDEMARK_TEST_TIER": "scenario"}, want: "mariadb-10.11 ", not: "11.8"},
		{name: "an unknown one", env: map[string]string{"TIDEMARK_TEST_SERVERS": "mysql-1"}, outside: `fails: TIDEMARK_TEST_SERVERS names "mysql-1"`},
		{name: "a relative place", flavor: servertest.MySQL, env: map[string]string{"TIDEMARK_SERVERS": "here"}, want: "skips: TIDEMARK_SERVERS is no absolute path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TIDEMARK_SERVERS", t.TempDir())
			t.Setenv("TIDEMARK_MUST_RUN", "")
			t.Setenv("TIDEMARK_TEST_SERVERS", "")
			t.Setenv("TIDEMARK_TEST_TIER", "")
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			f := &fake{}
			done := make(chan struct{})
			go func() {
				defer close(done)
				servertest.Each(f, tt.flavor, func(f *fake, _ servertest.Binaries) { f.said = "runs" })
			}()
			<-done
			if !strings.Contains(f.subtests, tt.want) || (tt.want == "") != (f.subtests == "") {
				t.Errorf("subtests: %q, want %q", f.subtests, tt.want)
			}
			if tt.not != "" && strings.Contains(f.subtests, tt.not) {
				t.Errorf("subtests: %q, with %q", f.subtests, tt.not)
			}
			if !strings.Contains(f.said, tt.outside) || (tt.outside == "") != (f.said == "") {
				t.Errorf("test: %q, want %q", f.said, tt.outside)
			}
		})
	}
}

// fake is a test that notes how it and its subtests ended.
type fake struct{ said, subtests string }

func (f *fake) Helper()             {}
func (f *fake) Cleanup(func())      {}
func (f *fake) Failed() bool        { return false }
func (f *fake) Logf(string, ...any) {}

func (f *fake) Fatalf(format string, args ...any) {
	f.said = "fails: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fake) Skipf(format string, args ...any) {
	f.said = "skips: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fake) Run(name string, test func(*fake)) bool {
	sub, done := &fake{}, make(chan struct{})
	go func() {
		defer close(done)
		test(sub)
	}()
	<-done
	f.subtests += name + " " + sub.said + "\n"
	return true
}
