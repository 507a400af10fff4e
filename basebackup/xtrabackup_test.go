package basebackup

import (
	"strings"
	"testing"
	"time"

	"tidemark/internal/clock"
)

func TestParseSaid(t *testing.T) {
	for text, want := range map[string]string{
		"filename 'binlog.000002', position '157', GTID of the last change 'c777888a-b6df-11e2-a604-080027635ef5:1-4'": "binlog.000002:157",
		"filename 'binlog.000002', position '4294967297'":                                                              "binlog.000002:4294967297",
		"filename 'binlog.000002', position 1232, GTID of the last change 'c777888a:1-4,":                              "binlog.000002:1232",
		"":                          "error",
		"filename 'binlog.000002'":  "error",
		"filename '', position '4'": "error",
		"filename 'b.1', position '99999999999999999999'": "error",
	} {
		p, err := parseSaid(text)
		got := p.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// TestXtraBackupOptions holds what the tool is told to what it knows: it has no option protocol.
func TestXtraBackupOptions(t *testing.T) {
	for _, c := range []struct {
		primary Primary
		want    string
	}{
		{Primary{Host: "localhost", Port: 3306, User: "u", Password: `p"w`}, "user=\"u\"\npassword=\"p\\\"w\"\nhost=\"127.0.0.1\"\nport=\"3306\"\n"},
		{Primary{Socket: "/run/sock", User: "u"}, "user=\"u\"\nsocket=\"/run/sock\"\n"},
		{Primary{Host: "db1", Port: 1, User: "u", TLS: TLS{On: true, CA: "/ca"}}, "user=\"u\"\nhost=\"db1\"\nport=\"1\"\nssl-mode=REQUIRED\nssl-ca=\"/ca\"\n"},
		{Primary{Host: "db1", Port: 1, User: "u", TLS: TLS{On: true, Verify: true, CA: "/ca"}}, "user=\"u\"\nhost=\"db1\"\nport=\"1\"\nssl-mode=VERIFY_IDENTITY\nssl-ca=\"/ca\"\n"},
	} {
		p := (&XtraBackup{Primary: c.primary, Clock: clock.System{}, LockWait: 5 * time.Second}).program(&xtraJob{datadir: "/data"})
		if p.options != c.want {
			t.Errorf("%q, not %q", p.options, c.want)
		}
		if args := strings.Join(p.args, " "); !strings.Contains(args, "--lock-ddl-timeout=5 --backup-lock-timeout=5") || strings.Contains(args, "compress") {
			t.Errorf("arguments: %s", args)
		}
	}
}
