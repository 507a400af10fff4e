package servertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestPrivileges archives with the account of CreateUser: everything works, and each privilege
// is needed by something.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.MariaDB, func(t *testing.T, b servertest.Binaries) {
		kit.Parallel(t, kit.Servers(1))
		srv, run := withAccount(t, b)
		srv.Exec("CREATE DATABASE d", "CREATE TABLE d.m (id INT PRIMARY KEY) ENGINE=MyISAM",
			"CREATE TABLE d.a (id INT PRIMARY KEY) ENGINE=Aria TRANSACTIONAL=0", "CREATE TABLE d.i (id INT PRIMARY KEY)")
		eachIsNeeded(t, srv, func() error {
			return errors.Join(
				run(b.Client, "-e", "SHOW MASTER STATUS; SHOW BINARY LOGS; SELECT @@gtid_binlog_pos"),
				run(b.Binlog, "--read-from-remote-server", "--raw", "--result-file="+t.TempDir()+"/", "binlog.000001"),
				run(b.Backup, "--backup", "--stream=mbstream", "--datadir="+srv.Datadir))
		})
	}, "mariadb-backup", "mariadb-binlog", "mariadb")
	servertest.Each(t, servertest.MySQL, func(t *testing.T, b servertest.Binaries) {
		kit.Parallel(t, kit.Servers(1))
		srv, run := withAccount(t, b)
		eachIsNeeded(t, srv, func() error {
			return errors.Join(
				run(b.Client, "-e", "SHOW BINARY LOG STATUS; SHOW BINARY LOGS; SELECT @@gtid_executed"),
				run(b.Binlog, "--read-from-remote-server", "--raw", "--result-file="+t.TempDir()+"/", "binlog.000001"),
				run(b.Client, "-e", "LOCK INSTANCE FOR BACKUP"), // as a clone does
				// Before it, which files and tables there are; a subquery of two rows is an error.
				run(b.Client, "-e", "SELECT COUNT(*) FROM information_schema.INNODB_TABLESPACES; SELECT IF((SELECT COUNT(*) FROM information_schema.TABLES "+
					"WHERE (TABLE_SCHEMA, TABLE_NAME) IN (('mysql', 'user'), ('sys', 'sys_config'))) = 2, 1, (SELECT 1 UNION SELECT 2))"))
		})
	}, "mysqlbinlog", "mysql")
}

// withAccount starts a server and returns how to run a client program as the account of CreateUser.
func withAccount(t *testing.T, b servertest.Binaries) (*servertest.Server, func(program string, args ...string) error) {
	t.Helper()
	srv := servertest.Start(t, servertest.Options{Binaries: b})
	const password = `s'ec\ret`
	srv.CreateUser(servertest.User, password)
	conf := filepath.Join(t.TempDir(), "client.cnf")
	text := fmt.Sprintf("[client]\nuser=%s\npassword=\"%s\"\nhost=127.0.0.1\nport=%d\n", servertest.User, strings.ReplaceAll(password, `\`, `\\`), srv.Port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv, func(program string, args ...string) error {
		cmd := exec.Command(program, append([]string{"--defaults-file=" + conf}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, stderr.String())
		}
		return nil
	}
}

// eachIsNeeded lets the account archive, and then without each of its privileges.
func eachIsNeeded(t *testing.T, srv *servertest.Server, archive func() error) {
	t.Helper()
	if err := archive(); err != nil {
		t.Fatal(err)
	}
	for privilege := range strings.SplitSeq(servertest.Privileges(srv.Binaries.Flavor), ", ") {
		srv.Exec(fmt.Sprintf("REVOKE %s ON *.* FROM %s", privilege, servertest.User))
		if err := archive(); err == nil {
			t.Errorf("%s is not needed", privilege)
		}
		srv.Exec(fmt.Sprintf("GRANT %s ON *.* TO %s", privilege, servertest.User))
	}
}
