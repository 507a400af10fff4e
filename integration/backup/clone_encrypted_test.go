package backup

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/basebackup"
	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
	"tidemark/replica"
)

// TestCloneEncrypted refuses, before the first byte, what a clone could be read of only with keys.
func TestCloneEncrypted(t *testing.T) { onMySQL(t, cloneEncrypted) }

func cloneEncrypted(t *testing.T, b servertest.Binaries) {
	b = servertest.WithKeyring(t, b, t.TempDir())
	o := newOriginal(t, b)
	t.Logf("%v", o.Query("SELECT * FROM performance_schema.keyring_component_status"))
	refused := func(want string) {
		t.Helper()
		n := 0
		err := o.engine().Check(context.Background())
		if !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), "base.engine to xtrabackup") {
			t.Errorf("error: %v\nhint: %s\nwant: %s", err, fault.HintOf(err), want)
		}
		if _, err := o.engine().Stream(context.Background(), &after{n: 1, fn: func() { n++ }}); err == nil || n > 0 {
			t.Errorf("stream: %d bytes, %v", n, err)
		}
		t.Logf("%v", err)
	}
	accepted := func() {
		t.Helper()
		if err := o.engine().Check(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := o.engine().Stream(context.Background(), io.Discard); err != nil {
			t.Error(err)
		}
	}
	// The server has files that are encrypted still, and the copy finds them.
	remains := func(file string) {
		t.Helper()
		over := o.engine()
		over.Primary.Dial = func(ctx context.Context) (*client.Conn, error) {
			return replica.Dial(ctx, replica.Options{Host: o.Addr, User: servertest.User, Password: password, TLS: &tls.Config{InsecureSkipVerify: true}})
		}
		for want, e := range map[string]*basebackup.MySQL{file + " is encrypted, which cannot be copied": over, "error 3872": o.engine()} {
			_, err := e.Stream(context.Background(), io.Discard)
			if !fault.Is(err, fault.Primary) || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), "restart the server") {
				t.Errorf("%v\nhint: %s\nwant: %s", err, fault.HintOf(err), want)
			}
			t.Logf("%v", err)
		}
	}
	for _, c := range []struct{ encrypt, decrypt, want string }{
		{"CREATE TABLE d.e (id INT PRIMARY KEY) ENCRYPTION='Y'", "DROP TABLE d.e", "1 tablespaces are encrypted: d/e"},
		{"CREATE TABLESPACE ts ADD DATAFILE 'ts.ibd' ENCRYPTION='Y'", "DROP TABLESPACE ts", "1 tablespaces are encrypted: ts"},
		{"ALTER TABLESPACE mysql ENCRYPTION='Y'", "ALTER TABLESPACE mysql ENCRYPTION='N'", "1 tablespaces are encrypted: mysql"},
	} {
		o.Exec(c.encrypt)
		refused(c.want)
		o.Exec(c.decrypt)
		accepted()
	}
	// What is decrypted for replicas is nobody's harm here.
	o.Exec("SET GLOBAL binlog_encryption=ON", "INSERT INTO d.t VALUES (1, 'x')")
	accepted()

	o.Exec("SET GLOBAL innodb_redo_log_encrypt=ON")
	refused("innodb_redo_log_encrypt is ON")
	o.Exec("SET GLOBAL innodb_redo_log_encrypt=OFF")
	remains("#ib_redo0")
	o.Restart()
	accepted()

	o.Exec("SET GLOBAL innodb_undo_log_encrypt=ON", "INSERT INTO d.t VALUES (2, 'x')")
	refused("innodb_undo_log_encrypt is ON")
	o.Exec("SET GLOBAL innodb_undo_log_encrypt=OFF")
	remains("undo_002")
	o.Exec("CREATE UNDO TABLESPACE third ADD DATAFILE 'third.ibu'")
	for _, space := range []string{"innodb_undo_001", "innodb_undo_002"} {
		o.Exec("ALTER UNDO TABLESPACE " + space + " SET INACTIVE")
		kit.Until(t, time.Minute, space+" is emptied", func() bool {
			return o.Value("SELECT STATE FROM information_schema.INNODB_TABLESPACES WHERE NAME = '"+space+"'") == "empty"
		})
		o.Exec("ALTER UNDO TABLESPACE " + space + " SET ACTIVE")
	}
	accepted()
}
