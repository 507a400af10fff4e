package refusals

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestRefusedEncrypted backs up no MySQL server that has encrypted tablespaces, says so before the first
// byte, and does once they are decrypted; page-compressed and compressed tables are restored as they were.
func TestRefusedEncrypted(t *testing.T) {
	servertest.Each(t, servertest.MySQL, func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		encrypted(t, b)
	})
}

func encrypted(t *testing.T, plain servertest.Binaries) {
	b := servertest.WithKeyring(t, plain, t.TempDir())
	w := &world{dir: t.TempDir()}
	var err error
	if w.tool, err = harness.Build(w.dir); err != nil {
		t.Fatal(err)
	}
	w.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--binlog-encryption=ON"}})
	w.srv.CreateUser(servertest.User, "secret")
	w.srv.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'", "CREATE DATABASE d",
		"CREATE TABLE d.e (id INT PRIMARY KEY, x LONGTEXT) ENCRYPTION='Y'", "INSERT INTO d.e VALUES (1, 'hidden')",
		"CREATE TABLE d.holes (id INT PRIMARY KEY, x LONGTEXT) COMPRESSION='zlib'",
		"CREATE TABLE d.zipped (id INT PRIMARY KEY, x LONGTEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4")
	w.config = w.configure(t, w.dir, servertest.User, "secret", "")
	out, err := exec.Command(w.tool, "check", "--config", w.config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != fault.Warnings.ExitCode() {
		t.Errorf("check: %v", err)
	}
	for _, want := range []string{"none can be taken here: copy " + w.srv.Addr + ": 1 tablespaces are encrypted: d/e", "Turn this encryption off, or set base.engine to xtrabackup",
		"the server encrypts its binlog; the archive holds it in the clear", "Name encryption.recipients"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	d, err := harness.Start(w.tool, w.config, filepath.Join(w.dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	w.await(t, d, func(c harness.Status) bool {
		return strings.Contains(c.LastBackup.Error, "1 tablespaces are encrypted: d/e")
	})
	w.refused(t, fault.Primary, "1 tablespaces are encrypted: d/e", "backup", "--config", w.config)
	if left, err := filepath.Glob(w.dir + "/archive/shop/base/*"); err != nil || len(left) > 0 {
		t.Errorf("of backups that were refused there is left: %v, %v", left, err)
	}

	w.srv.Exec("ALTER TABLE d.e ENCRYPTION='N'", "INSERT INTO d.holes VALUES (1, REPEAT('before ', 50000))", "INSERT INTO d.zipped SELECT * FROM d.holes")
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if d, err = harness.Start(w.tool, w.config, filepath.Join(w.dir, "run.log")); err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	w.await(t, d, func(c harness.Status) bool { return c.LastBackup.ID != "" })
	for i := range 20 {
		w.srv.Exec(fmt.Sprintf("INSERT INTO d.holes VALUES (%d, REPEAT('after %[1]d ', 50000))", i+2), fmt.Sprintf("INSERT INTO d.zipped VALUES (%d, REPEAT('after %[1]d ', 50000))", i+2))
	}
	end := w.srv.Value("SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')")
	w.await(t, d, func(c harness.Status) bool { return c.Archived.GTID == end })
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(w.dir, "restored")
	if out, err := exec.Command(w.tool, "restore", "--config", w.config, "--target-dir", target).CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: plain})
	const sums = "CHECKSUM TABLE d.e, d.holes, d.zipped"
	if got, want := fmt.Sprint(again.Query(sums)), fmt.Sprint(w.srv.Query(sums)); got != want {
		t.Errorf("restored %s, not %s", got, want)
	}
	for table, want := range map[string]string{"holes": "COMPRESSION='zlib'", "zipped": "KEY_BLOCK_SIZE=4"} {
		if got := again.Query("SHOW CREATE TABLE d." + table)[0][1]; !strings.Contains(got, want) {
			t.Errorf("%s: %s", table, got)
		}
	}
}
