// Package backup tests base backups of real servers.
package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/basebackup"
	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/gtid"
	"tidemark/restore/archivetest"
)

// password needs care everywhere it is written.
const password = `p"w\n x#1'; [mysqld]`

// site is a server with an archive that has none of its log until archive is called.
type site struct {
	*archivetest.Archive
	t        *testing.T
	srv      *servertest.Server
	state    string // directory
	archived map[string]bool
}

// tools are what a base backup of MariaDB is made and unpacked with.
var tools = []string{"mariadb-backup", "mbstream"}

// oneSite is the site of a test on one MariaDB, which runs beside others.
func oneSite(t *testing.T, extra ...string) *site {
	t.Helper()
	return newSite(t, kit.One(t, kit.Servers(1), tools...), extra...)
}

func newSite(t *testing.T, b servertest.Binaries, extra ...string) *site {
	t.Helper()
	s := &site{Archive: archivetest.InDir(t), t: t, state: filepath.Join(t.TempDir(), "state"), archived: map[string]bool{}}
	s.srv = servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: extra})
	s.srv.CreateUser(servertest.User, password)
	s.srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, x VARCHAR(200))",
		"CREATE TABLE d.m (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE d.a (id INT PRIMARY KEY) ENGINE=Aria",
		"INSERT INTO d.m VALUES (1), (2)", "INSERT INTO d.a VALUES (3)")
	return s
}

func (s *site) engine() *basebackup.MariaDB {
	return &basebackup.MariaDB{Tool: s.srv.Binaries.Backup, Threads: 2, StateDir: s.state, Clock: clock.System{}, FS: durable.OS{},
		Primary: basebackup.Primary{Host: "127.0.0.1", Port: s.srv.Port, User: servertest.User, Password: password}}
}

func (s *site) options(e basebackup.Engine) basebackup.Options {
	return basebackup.Options{Catalog: s.Catalog, Engine: e, Clock: clock.System{}, PartSize: 4 << 20, Threads: 2, WaitCovered: 20 * time.Second,
		Writer: "test", Version: "test"}
}

// archive archives the log that there is, all files but the one it then begins.
func (s *site) archive() {
	s.srv.Exec("FLUSH BINARY LOGS")
	rows := s.srv.Query("SHOW BINARY LOGS")
	for _, row := range rows[:len(rows)-1] {
		if s.archived[row[0]] {
			continue
		}
		s.archived[row[0]] = true
		data, err := os.ReadFile(filepath.Join(s.srv.Datadir, row[0]))
		if err != nil {
			s.t.Fatal(err)
		}
		s.Append(row[0], data, archivetest.Cut{Every: 200_000})
	}
}

// whenWaiting calls f when a backup first waits for the log.
func whenWaiting(f func()) func(basebackup.Progress) {
	f = sync.OnceFunc(f)
	return func(p basebackup.Progress) {
		if p.Phase == basebackup.Wait {
			f()
		}
	}
}

// writer inserts rows 1, 2, 3… one a transaction, every tenth in domain 1, until it is stopped. It returns
// when some are there; stop returns how many there are.
func (s *site) writer() (stop func() int) {
	s.t.Helper()
	conn := s.srv.Conn()
	var n atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for row := int64(1); ; row++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := conn.Execute(fmt.Sprintf("SET gtid_domain_id=%d", row%10/9)); err != nil {
				return
			}
			if _, err := conn.Execute(fmt.Sprintf("INSERT INTO d.t VALUES (%d, REPEAT('x', 200))", row)); err != nil {
				return
			}
			n.Store(row)
		}
	}()
	kit.Until(s.t, time.Minute, "the writer writes", func() bool { return n.Load() >= 500 })
	return func() int {
		close(done)
		<-ended
		return int(n.Load())
	}
}

// restore starts a server on a backup.
func (s *site) restore(b *catalog.Base, extra ...string) *servertest.Server {
	s.t.Helper()
	var stream bytes.Buffer
	for _, p := range b.Parts {
		part, err := s.Catalog.OpenPart(context.Background(), p)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.Copy(&stream, part); err != nil {
			s.t.Fatal(err)
		}
		part.Close()
	}
	return s.start(&stream, extra...)
}

// start starts a server on a copy.
func (s *site) start(stream io.Reader, extra ...string) *servertest.Server {
	s.t.Helper()
	return servertest.Start(s.t, servertest.Options{ServerID: 8, Datadir: s.unpack(stream), Binaries: s.srv.Binaries, Extra: extra})
}

// unpack extracts a copy with mbstream, and prepares it.
func (s *site) unpack(stream io.Reader) (dir string) {
	s.t.Helper()
	dir = s.t.TempDir()
	x := exec.Command(s.srv.Binaries.Mbstream, "-x", "-C", dir)
	x.Stdin = stream
	if out, err := x.CombinedOutput(); err != nil || len(out) > 0 {
		s.t.Fatalf("mbstream: %v: %s", err, out)
	}
	// The option file in the copy names the encryption plugin.
	prepare := exec.Command(s.srv.Binaries.Backup, "--defaults-file="+filepath.Join(dir, "backup-my.cnf"), "--prepare", "--target-dir="+dir)
	if out, err := prepare.CombinedOutput(); err != nil {
		s.t.Fatalf("prepare: %v: %s", err, out)
	}
	return dir
}

// TestUnderLoad backs up a server that is written to, and finds in the copy exactly the transactions
// that the manifest's position says.
func TestUnderLoad(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), underLoad, tools...)
}

func underLoad(t *testing.T, b servertest.Binaries) {
	s := newSite(t, b, "--max-binlog-size=100K")
	s.srv.Exec("CREATE TABLE d.big (id INT PRIMARY KEY, x LONGTEXT)")
	for i := range 20 {
		s.srv.Exec(fmt.Sprintf("INSERT INTO d.big VALUES (%d, REPEAT(MD5(%d), 32768))", i, i)) // 1 MiB
	}
	start, err := gtid.ParsePosition(s.srv.Value("SELECT @@gtid_binlog_pos"))
	if err != nil {
		t.Fatal(err)
	}
	stop := s.writer()
	s.archive()

	o := s.options(s.engine())
	var phases []basebackup.Phase
	archive := whenWaiting(func() { s.archive() })
	o.Progress = func(p basebackup.Progress) {
		if !slices.Contains(phases, p.Phase) {
			phases = append(phases, p.Phase)
		}
		archive(p)
	}
	before := time.Now()
	base, err := basebackup.Take(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	written := stop()
	t.Logf("%s in %d parts, %d bytes, %d stored, position %s at %s, in %s; %d transactions written",
		base.ID, len(base.Parts), base.PlainBytes, base.StoredBytes(), base.PositionMax.GTID, base.Source, base.Finished.Sub(base.Started), written)

	if fmt.Sprint(phases) != "[check copy wait commit done]" {
		t.Errorf("phases %v", phases)
	}
	if base.Consistent.Before(before) || base.Consistent.After(after) || len(base.Parts) < 2 || base.ServerID != 7 || base.Timeline != 1 || base.ToLSN == 0 {
		t.Errorf("manifest: %+v", *base)
	}
	for name, want := range map[string]string{"innodb_page_size": "16384", "innodb_data_file_path": "ibdata1:12M:autoextend", "lower_case_table_names": "0",
		"innodb_checksum_algorithm": "full_crc32", "character_set_server": s.srv.Value("SELECT @@character_set_server")} {
		if base.Variables[name] != want {
			t.Errorf("variable %s is %q", name, base.Variables[name])
		}
	}
	list, err := s.Catalog.Bases(context.Background())
	if err != nil || len(list) != 1 || list[0].ID != base.ID {
		t.Fatalf("archived: %v, %v", list, err)
	}
	pos, err := gtid.ParsePosition(base.PositionMax.GTID)
	if err != nil {
		t.Fatal(err)
	}
	want := int(pos[0].Seq-start[0].Seq) + int(pos[1].Seq)
	if want < 1 || want >= written {
		t.Fatalf("the backup has %d of %d transactions: the test shows nothing", want, written)
	}

	r := s.restore(base)
	if got := r.Value("SELECT CONCAT_WS(' ', COUNT(*), MIN(id), MAX(id)) FROM d.t"); got != fmt.Sprintf("%d 1 %d", want, want) {
		t.Errorf("rows restored: %s, and the position says %d", got, want)
	}
	if got := r.Value("SELECT CONCAT_WS(' ', (SELECT SUM(id) FROM d.m), (SELECT SUM(id) FROM d.a))"); got != "3 3" {
		t.Errorf("MyISAM and Aria: %s", got)
	}
	if got, want := r.Value("CHECKSUM TABLE d.big"), s.srv.Value("CHECKSUM TABLE d.big"); got != want {
		t.Errorf("big table: %s, %s", got, want)
	}
	s.leavesLogs(1)
}

// leavesLogs checks what is left in the state directory: logs without the password, and nothing else.
func (s *site) leavesLogs(n int) {
	s.t.Helper()
	entries, err := os.ReadDir(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(entries) != n {
		s.t.Errorf("%d files in the state directory, not %d", len(entries), n)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(s.state, e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil || info.Mode() != 0o600 || !strings.HasSuffix(e.Name(), ".log") {
			s.t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
		if strings.Contains(string(data), password) {
			s.t.Errorf("%s holds the password", e.Name())
		}
	}
}

// none checks that a failed backup has left nothing in the archive, and no password in its error.
func (s *site) none(err error) {
	s.t.Helper()
	if err == nil {
		s.t.Fatal("no error")
	}
	if strings.Contains(err.Error(), password) {
		s.t.Error("the error holds the password")
	}
	for o, err := range s.Store.List(context.Background(), "default/base/", "") {
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Errorf("left in storage: %s", o.Key)
	}
}

// TestSocket takes a backup through the socket, while no archiver runs at all.
func TestSocket(t *testing.T) {
	s := oneSite(t)
	e := s.engine()
	e.Primary.Host, e.Primary.Port, e.Primary.Socket = "", 0, s.srv.Socket
	o := s.options(e)
	o.WaitCovered = 300 * time.Millisecond
	_, err := basebackup.Take(context.Background(), o)
	s.none(err)
	if !strings.Contains(err.Error(), "there is none yet") {
		t.Error(err)
	}
	o.WaitCovered = 20 * time.Second
	o.Progress = whenWaiting(s.archive)
	if _, err := basebackup.Take(context.Background(), o); err != nil {
		t.Error(err)
	}
}

// TestReset takes a backup of a server whose binlog was reset, so that its file names and offsets are
// those of the archived log.
func TestReset(t *testing.T) {
	s := oneSite(t)
	s.archive()
	s.srv.Exec("RESET MASTER", "INSERT INTO d.t VALUES (1, 'new')")
	position := func() int {
		n, err := strconv.Atoi(s.srv.Query("SHOW MASTER STATUS")[0][1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// To a place that is between two transactions in the archived file too.
	file := s.Segments[0].Source
	for position() < int(file.End)-300 {
		s.srv.Exec("INSERT INTO d.m VALUES (0)", "DELETE FROM d.m WHERE id=0")
	}
	o := s.options(s.engine())
	o.WaitCovered = time.Second
	_, err := basebackup.Take(context.Background(), o)
	s.none(err)
	t.Log(err)
}

// TestEncrypted takes a backup of encrypted tables. The key is not in the manifest.
func TestEncrypted(t *testing.T) {
	b := kit.One(t, kit.Servers(2), tools...)
	dir := t.TempDir()
	_, encryption := servertest.WithFileKey(t, b, dir)
	keys := filepath.Join(dir, "keys")
	text, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimPrefix(strings.TrimSpace(string(text)), "1;")
	s := newSite(t, b, append(encryption, "--innodb-encrypt-tables=FORCE", "--innodb-encrypt-log=ON", "--aria-encrypt-tables=ON",
		"--encrypt-binlog=ON")...)
	s.srv.Exec("INSERT INTO d.t VALUES (1, 'secret')")
	e := s.engine()
	o := s.options(e)
	o.WaitCovered = time.Second
	_, err = basebackup.Take(context.Background(), o)
	s.none(err) // the server's binlog files are encrypted too, so this test cannot archive them

	s.srv.Restart("--encrypt-binlog=OFF")
	o.WaitCovered = 20 * time.Second
	first := s.srv.Query("SHOW BINARY LOGS")
	for _, row := range first[:len(first)-1] {
		s.archived[row[0]] = true
	}
	s.State = state(t, s.srv)
	o.Progress = whenWaiting(s.archive)
	base, err := basebackup.Take(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(base.Variables); strings.Contains(text, key) || !strings.Contains(base.Variables["plugins"], "file_key_management") ||
		base.Variables["file_key_management_filename"] != keys || base.Variables["innodb_encrypt_tables"] != "FORCE" {
		t.Errorf("variables: %s", text)
	}
	r := s.restore(base, encryption...)
	if got := r.Value("SELECT x FROM d.t"); got != "secret" {
		t.Errorf("restored %q", got)
	}
}

func state(t *testing.T, srv *servertest.Server) *gtid.State {
	list, err := gtid.ParseList(srv.Value("SELECT @@gtid_binlog_state"))
	if err != nil {
		t.Fatal(err)
	}
	return gtid.NewState(list)
}
