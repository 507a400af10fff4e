package mysqld

import (
	"context"
	"os"
	"strings"
	"testing"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"10.11.19-MariaDB-0+deb12u1-log":                                                      "mariadb 10.11.19 of 10.11",
		"5.5.5-10.6.7-MariaDB":                                                                "mariadb 10.6.7 of 10.6",
		"mariadbd  Ver 11.8.6-MariaDB-5 for debian-linux-gnu on x86_64":                       "mariadb 11.8.6 of 11.8",
		"mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)\n": "mariadb 10.11.19 of 10.11",
		"9.7.4-2": "mysql 9.7.4 of 9.7",
	} {
		v, err := ParseVersion(text)
		if got := v.String() + " of " + v.Series(); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	if _, err := ParseVersion("no number 1.2"); err == nil {
		t.Error("a text without a version was read")
	}
	if v, _ := ParseVersion("8.0.1"); v.Flavor != gtid.MySQL {
		t.Error("8.0.1 is not MySQL")
	}
}

func TestSizes(t *testing.T) {
	if got := Pool(1); got != minPool {
		t.Errorf("least pool is %d", got)
	}
	if got := Pool(1<<30 + 5); got != 1<<30 {
		t.Errorf("a pool of 1 GiB and 5 bytes is %d", got)
	}
	if RedoLog(minPool) != minRedo || RedoLog(maxPool) != maxRedo || RedoLog(1<<30) != 256<<20 {
		t.Error("the redo log does not follow the pool")
	}
	if Memory() < 64<<20 {
		t.Errorf("this machine has %d bytes of memory", Memory())
	}
}

func TestFindNamesWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	tools, err := Tools{Mysqld: "/x/mariadbd", Backup: "/x/mariadb-backup", Mbstream: "/x/mbstream"}.Find(gtid.MariaDB)
	if err != nil || tools.Mysqld != "/x/mariadbd" {
		t.Errorf("given tools became %v, %v", tools, err)
	}
	if _, err := os.Stat("/usr/sbin/mbstream"); err == nil {
		t.Skip("mbstream is in /usr/sbin")
	}
	if _, err := (Tools{Mysqld: "/x/mariadbd", Backup: "/x/b"}).Find(gtid.MariaDB); err == nil || !strings.Contains(err.Error(), "mbstream") {
		t.Errorf("a missing mbstream gives %v", err)
	}
}

func TestProgramVersion(t *testing.T) {
	if _, err := ProgramVersion(context.Background(), "/bin/false"); err == nil {
		t.Error("/bin/false has a version")
	}
}

func TestLogTail(t *testing.T) {
	path := t.TempDir() + "/log"
	if got := LogTail(path, 2); !strings.Contains(got, "no such file") {
		t.Errorf("no log reads %q", got)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x\n", 100000)+"a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := LogTail(path, 2); got != "a\nb" {
		t.Errorf("the log ends %q", got)
	}
}

func TestFindXtraBackup(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if tools, err := (Tools{Backup: "/x/xtrabackup"}).FindXtraBackup(); err != nil || tools.Backup != "/x/xtrabackup" {
		t.Errorf("%+v, %v", tools, err)
	}
	if _, err := (Tools{}).FindXtraBackup(); err == nil || !strings.Contains(err.Error(), "xtrabackup") || fault.HintOf(err) == "" {
		t.Errorf("none: %v", err)
	}
	for _, text := range []string{"xtrabackup version 8.0.35-30 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 6beb4b49)",
		"2026-11-21T05:02:15.123456-00:00 0 [Note] [MY-011825] [Xtrabackup] recognized server arguments: --datadir=/var/lib/mysql\nxtrabackup version 8.0.35-30 based on MySQL server 8.0.35 Linux"} {
		if v, err := ParseVersion(text); err != nil || v.Series() != "8.0" || v.Flavor != gtid.MySQL {
			t.Errorf("%+v, %v", v, err)
		}
	}
}
