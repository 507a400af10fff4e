package refusals

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

// TestRefusedEncrypted backs up no MySQL server that has encrypted tablespaces, says so before the first
// byte, and does once they are decrypted; page-compressed and compressed tables are restored as they were.
func TestRefusedEncrypted(t *testing.T) { kit.Each(t, servertest.MySQL, kit.Servers(2), encrypted) }

func encrypted(t *testing.T, plain servertest.Binaries) {
	w := kit.New(t, kit.Setup{Binaries: servertest.WithKeyring(t, plain, t.TempDir()), Options: []string{"--binlog-encryption=ON"},
		SQL: []string{"CREATE DATABASE d",
			"CREATE TABLE d.e (id INT PRIMARY KEY, x LONGTEXT) ENCRYPTION='Y'", "INSERT INTO d.e VALUES (1, 'hidden')",
			"CREATE TABLE d.holes (id INT PRIMARY KEY, x LONGTEXT) COMPRESSION='zlib'",
			"CREATE TABLE d.zipped (id INT PRIMARY KEY, x LONGTEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4"}})
	w.Tool = kit.ToolFor(t, plain) // whose servers have no keyring
	out := w.Refused(fault.Warnings.ExitCode(), "check")
	for _, want := range []string{"none can be taken here: copy " + w.Server.Addr + ": 1 tablespaces are encrypted: d/e",
		"Turn this encryption off, or set base.engine to xtrabackup",
		"the server encrypts its binlog; the archive holds it in the clear", "Name encryption.recipients"} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	w.Start()
	w.Await("the refusal", func(s kit.Status) bool {
		return strings.Contains(s.LastBackup.Error, "1 tablespaces are encrypted: d/e")
	})
	refused(t, fault.Primary, "1 tablespaces are encrypted: d/e", w.Command("backup"))
	none(t, "of backups that were refused there is left", w.Dir+"/archive/shop/base/*")

	w.Server.Exec("ALTER TABLE d.e ENCRYPTION='N'", "INSERT INTO d.holes VALUES (1, REPEAT('before ', 50000))",
		"INSERT INTO d.zipped SELECT * FROM d.holes")
	w.Stop()
	w.Start()
	w.AwaitBase()
	for i := range 20 {
		w.Server.Exec(fmt.Sprintf("INSERT INTO d.holes VALUES (%d, REPEAT('after %[1]d ', 50000))", i+2),
			fmt.Sprintf("INSERT INTO d.zipped VALUES (%d, REPEAT('after %[1]d ', 50000))", i+2))
	}
	w.End()
	target := filepath.Join(w.Dir, "restored")
	w.RunTo([]int{0}, "restore", "--target-dir", target)
	again := servertest.Start(t, servertest.Options{ServerID: 99, Datadir: target, Binaries: plain})
	const sums = "CHECKSUM TABLE d.e, d.holes, d.zipped"
	if got, want := fmt.Sprint(again.Query(sums)), fmt.Sprint(w.Server.Query(sums)); got != want {
		t.Errorf("restored %s, not %s", got, want)
	}
	for table, want := range map[string]string{"holes": "COMPRESSION='zlib'", "zipped": "KEY_BLOCK_SIZE=4"} {
		if got := again.Query("SHOW CREATE TABLE d." + table)[0][1]; !strings.Contains(got, want) {
			t.Errorf("%s: %s", table, got)
		}
	}
}
