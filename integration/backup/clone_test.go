package backup

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"tidemark/basebackup"
	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/clock"
	"tidemark/internal/clone"
	"tidemark/internal/durable"
	"tidemark/replica"
)

// original is a MySQL server that is cloned.
type original struct {
	*servertest.Server
	t *testing.T
}

// onMySQL runs a scenario on every version of MySQL: on an original and a copy of it.
func onMySQL(t *testing.T, scenario func(*testing.T, servertest.Binaries)) {
	t.Helper()
	kit.Each(t, servertest.MySQL, kit.Servers(2), scenario)
}

func newOriginal(t *testing.T, b servertest.Binaries, extra ...string) *original {
	t.Helper()
	o := &original{servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: extra}), t}
	o.CreateUser(servertest.User, password)
	o.Exec("INSTALL PLUGIN clone SONAME 'mysql_clone.so'", "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, x VARCHAR(200))")
	return o
}

func (o *original) engine() *basebackup.MySQL {
	return &basebackup.MySQL{Clock: clock.System{}, Primary: basebackup.Primary{Host: "127.0.0.1", Port: o.Port, User: servertest.User, Password: password}}
}

// clone streams the server into a file, through a writer if one is given.
func (o *original) clone(via func(io.Writer) io.Writer) (string, basebackup.Info) {
	o.t.Helper()
	file, err := os.Create(filepath.Join(o.t.TempDir(), "stream"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer file.Close()
	var w io.Writer = file
	if via != nil {
		w = via(file)
	}
	begin := time.Now()
	info, err := o.engine().Stream(context.Background(), w)
	if err != nil {
		o.t.Fatal(err)
	}
	st, _ := file.Stat()
	o.t.Logf("%d bytes in %s: between %s and %s", st.Size(), time.Since(begin).Round(time.Millisecond), info.GTIDMin, info.GTID)
	return file.Name(), info
}

// copied starts a server on what a stream holds.
func (o *original) copied(stream string, extra ...string) *servertest.Server {
	o.t.Helper()
	in, err := os.Open(stream)
	if err != nil {
		o.t.Fatal(err)
	}
	defer in.Close()
	dir := filepath.Join(o.t.TempDir(), "data")
	begin := time.Now()
	totals, err := clone.Extract(context.Background(), in, dir, durable.OS{})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Logf("extracted %d files, %d bytes in %s", totals.Files, totals.Bytes, time.Since(begin).Round(time.Millisecond))
	return servertest.Start(o.t, servertest.Options{ServerID: 8, Binaries: o.Binaries, Datadir: dir, Extra: append(extra, "--skip-log-bin")})
}

// follow makes a copy apply what the original has logged since.
func (o *original) follow(c *servertest.Server) {
	o.t.Helper()
	c.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s',"+
		" SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1", o.Port, servertest.User, strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(password)), "START REPLICA")
	if v := c.Value(fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)", oneLine(o.Value("SELECT @@gtid_executed")))); v != "0" {
		o.t.Fatalf("the copy does not follow: %v", c.Query("SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker"))
	}
	c.Exec("STOP REPLICA")
}

// same compares the rows of all tables.
func (o *original) same(c *servertest.Server) {
	o.t.Helper()
	const list = "SELECT CONCAT('`', TABLE_SCHEMA, '`.`', TABLE_NAME, '`') FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'" +
		" AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') ORDER BY 1"
	theirs, ours := o.Query(list), c.Query(list)
	if fmt.Sprint(theirs) != fmt.Sprint(ours) {
		o.t.Fatalf("tables of the copy: %v\nof the original: %v", ours, theirs)
	}
	for _, row := range append(theirs, []string{"mysql.user"}) {
		want, got := o.Query("CHECKSUM TABLE " + row[0])[0][1], c.Query("CHECKSUM TABLE " + row[0])[0][1]
		if want != got || want == "NULL" {
			o.t.Errorf("%s has checksum %s in the copy, and %s in the original", row[0], got, want)
		}
		if row[0] == "mysql.user" {
			continue
		}
		if check := c.Query("CHECK TABLE " + row[0] + " EXTENDED"); check[len(check)-1][3] != "OK" {
			o.t.Errorf("CHECK TABLE: %v", check)
		}
	}
	o.t.Logf("%d tables are the same", len(theirs))
}

// between holds a copy to the bounds of its position, and returns how many transactions it has.
func (o *original) between(c *servertest.Server, info basebackup.Info) int {
	o.t.Helper()
	at := oneLine(c.Value("SELECT @@gtid_executed"))
	if v := c.Value(fmt.Sprintf("SELECT GTID_SUBSET('%s', '%s') + GTID_SUBSET('%s', '%s')", info.GTIDMin, at, at, info.GTID)); v != "2" {
		o.t.Errorf("the copy stands at %s, which is not between %s and %s", at, info.GTIDMin, info.GTID)
	}
	o.t.Logf("the copy stands at %s", at)
	status := c.Query("SELECT STATE, ERROR_NO, SOURCE, GTID_EXECUTED FROM performance_schema.clone_status")
	if len(status) != 1 || status[0][0] != "Completed" || oneLine(status[0][3]) != at {
		o.t.Errorf("clone_status: %v", status)
	}
	n := 0
	for set := range strings.SplitSeq(at, ",") {
		for _, interval := range strings.Split(set, ":")[1:] {
			first, last, ok := strings.Cut(interval, "-")
			a, err1 := strconv.Atoi(first)
			b, err2 := a, err1
			if ok {
				b, err2 = strconv.Atoi(last)
			}
			if err1 != nil || err2 != nil {
				o.t.Fatalf("GTID set %s", at)
			}
			n += b - a + 1
		}
	}
	return n
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), "") }

// load runs fn in n sessions until stop is called.
func (o *original) load(n int, fn func(exec func(string) error, session, round int)) (stop func()) {
	o.t.Helper()
	var all sync.WaitGroup
	var over atomic.Bool
	for session := range n {
		conn := o.Conn()
		all.Go(func() {
			exec := func(sql string) error {
				_, err := conn.Execute(sql)
				return err
			}
			for round := 0; !over.Load(); round++ {
				fn(exec, session, round)
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
	}
}

// slowly makes a stream last for about as long as asked.
func slowly(d time.Duration) func(io.Writer) io.Writer {
	return func(w io.Writer) io.Writer { return &slow{w: w, pause: d / 300} }
}

type slow struct {
	w     io.Writer
	pause time.Duration
}

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.w.Write(p)
}

// fill makes d.big, of n MiB.
func (o *original) fill(n int) {
	o.Exec("CREATE TABLE d.big (id INT PRIMARY KEY, n INT, x LONGTEXT)")
	for i := range n {
		o.Exec(fmt.Sprintf("INSERT INTO d.big VALUES (%d, 0, REPEAT(SHA2(%d, 256), 16384))", i, i))
	}
}

// TestCloneIdle copies all kinds of files and names.
func TestCloneIdle(t *testing.T) { onMySQL(t, cloneIdle) }

func cloneIdle(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b)
	o.Exec("CREATE DATABASE `empty`", "CREATE DATABASE `b-ä$`",
		"CREATE TABLE `b-ä$`.`x/y.z ü` (id INT PRIMARY KEY, x JSON, g GEOMETRY)", "INSERT INTO `b-ä$`.`x/y.z ü` VALUES (1, '{\"a\": 1}', POINT(1, 2))",
		"CREATE TABLE d.zipped (id INT PRIMARY KEY, x LONGTEXT) ROW_FORMAT=COMPRESSED", "INSERT INTO d.zipped VALUES (1, REPEAT('abc', 100000))",
		"CREATE TABLE d.holes (id INT PRIMARY KEY, x LONGTEXT) COMPRESSION='zlib'", "INSERT INTO d.holes VALUES (1, REPEAT('abc', 100000))",
		"CREATE TABLE d.parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 5", "INSERT INTO d.parts VALUES (1), (2), (3)",
		"CREATE TABLE d.text (id INT PRIMARY KEY, x TEXT, FULLTEXT (x))", "INSERT INTO d.text VALUES (1, 'some words')",
		"CREATE TABLESPACE ts ADD DATAFILE 'ts.ibd'", "CREATE TABLE d.shared (id INT PRIMARY KEY) TABLESPACE ts", "INSERT INTO d.shared VALUES (1)",
		"CREATE UNDO TABLESPACE more ADD DATAFILE 'more.ibu'",
		"CREATE TABLE d.child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES d.zipped (id))", "CREATE VIEW d.v AS SELECT 1")
	if err := o.engine().Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	stream, info := o.clone(nil)
	status := o.Query("SHOW BINARY LOG STATUS")[0]
	if gtids := oneLine(status[4]); info.GTID != gtids || info.GTIDMin != gtids || info.Source.File != status[0] || fmt.Sprint(info.Source.Offset) != status[1] || info.SourceMin != info.Source {
		t.Errorf("position: %+v\nof the server: %v", info, status)
	}
	if info.ServerUUID != o.Value("SELECT @@server_uuid") || info.ServerID != 7 || time.Since(info.Consistent).Abs() > time.Minute || len(info.EmptyTables) > 0 ||
		info.ServerVersion != o.Value("SELECT @@version") || info.ToolVersion == "" {
		t.Errorf("%+v", info)
	}
	for _, name := range []string{"innodb_page_size", "innodb_data_file_path", "lower_case_table_names", "character_set_server", "innodb_undo_directory"} {
		if info.Variables[name] != o.Value("SELECT @@"+name) {
			t.Errorf("variable %s is %q", name, info.Variables[name])
		}
	}
	if !strings.Contains(info.Variables["plugins"], "clone=mysql_clone.so") {
		t.Errorf("plugins: %s", info.Variables["plugins"])
	}
	c := o.copied(stream)
	o.between(c, info)
	if at := oneLine(c.Value("SELECT @@gtid_executed")); at != info.GTID {
		t.Errorf("the copy stands at %s", at)
	}
	o.same(c)
	c.Exec("CREATE TABLE `empty`.t (id INT)", "INSERT INTO d.shared VALUES (2)", "SELECT * FROM d.v")
	if c.Value("SELECT @@server_uuid") == info.ServerUUID {
		t.Error("the copy has the original's UUID")
	}
	c.Restart()
	c.Exec("INSERT INTO d.shared VALUES (3)")
}

// TestCloneTLS copies over encrypted connections, from a server that takes no others.
func TestCloneTLS(t *testing.T) { onMySQL(t, cloneTLS) }

func cloneTLS(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b, "--require-secure-transport=ON")
	e := o.engine()
	if err := e.Check(context.Background()); err == nil {
		t.Error("connected without TLS")
	}
	ca, err := os.ReadFile(filepath.Join(o.Datadir, "ca.pem")) // the server makes one at its first start
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	e.Primary.Dial = func(ctx context.Context) (*client.Conn, error) {
		return replica.Dial(ctx, replica.Options{Host: o.Addr, User: servertest.User, Password: password, TLS: &tls.Config{
			InsecureSkipVerify: true, // its name is no host's; who signed it is checked
			VerifyConnection: func(s tls.ConnectionState) error {
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots})
				return err
			},
		}})
	}
	var stream bytes.Buffer
	if _, err := e.Stream(context.Background(), &stream); err != nil {
		t.Fatal(err)
	}
	if _, err := clone.Extract(context.Background(), &stream, t.TempDir(), durable.OS{}); err != nil {
		t.Error(err)
	}
}

// TestCloneUnderLoad finds in a copy exactly the transactions that it says it has.
func TestCloneUnderLoad(t *testing.T) { onMySQL(t, cloneUnderLoad) }

func cloneUnderLoad(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b, "--max-binlog-size=4M", "--innodb-buffer-pool-size=32M")
	o.fill(40)
	o.Exec("CREATE TABLE d.holes (id INT PRIMARY KEY, n INT, x LONGTEXT) COMPRESSION='zlib'",
		"INSERT INTO d.holes SELECT * FROM d.big WHERE id < 10")
	setup := countGTIDs(t, o.Server)
	var next atomic.Int64
	stop := o.load(4, func(exec func(string) error, session, round int) {
		// One transaction a row.
		id := next.Add(1)
		err := exec("BEGIN")
		if err == nil {
			err = exec(fmt.Sprintf("INSERT INTO d.t VALUES (%d, REPEAT('x', 200))", id))
		}
		if err == nil {
			err = exec(fmt.Sprintf("UPDATE d.%s SET n = n + 1, x = IF(%d = 0, CONCAT('change', x), x) WHERE id = %d", []string{"big", "holes"}[session%2], round%10, rand.IntN(40)))
		}
		if err == nil {
			err = exec("COMMIT")
		}
		if err != nil {
			_ = exec("ROLLBACK")
			var my *mysql.MyError
			if !errors.As(err, &my) || my.Code != mysql.ER_LOCK_DEADLOCK {
				t.Error(err)
			}
		}
	})
	kit.Until(t, time.Minute, "the sessions write", func() bool { return next.Load() >= 300 })
	stream, info := o.clone(slowly(2 * time.Second))
	stop()
	if info.GTID == info.GTIDMin {
		t.Error("nothing was written meanwhile")
	}
	c := o.copied(stream)
	n := o.between(c, info)
	if rows := c.Value("SELECT COUNT(*) FROM d.t"); rows != fmt.Sprint(n-setup) {
		t.Errorf("%s rows of %d transactions", rows, n-setup)
	}
	o.follow(c)
	o.same(c)
}

func countGTIDs(t *testing.T, s *servertest.Server) int {
	t.Helper()
	_, last, ok := strings.Cut(s.Value("SELECT @@gtid_executed"), ":1-")
	n, err := strconv.Atoi(last)
	if !ok || err != nil {
		t.Fatalf("gtid_executed: %v", err)
	}
	return n
}

// TestCloneUnderDDL makes, drops, renames, swaps, rebuilds and empties tables while they are copied.
func TestCloneUnderDDL(t *testing.T) { onMySQL(t, cloneUnderDDL) }

func cloneUnderDDL(t *testing.T, b servertest.Binaries) {
	o := newOriginal(t, b, "--innodb-buffer-pool-size=32M")
	o.fill(20)
	for i := range 3 {
		o.Exec(fmt.Sprintf("CREATE DATABASE e%d", i))
		for _, name := range []string{"a", "b", "r0", "alter", "trunc"} {
			o.Exec(fmt.Sprintf("CREATE TABLE e%d.%s (id INT PRIMARY KEY AUTO_INCREMENT, x LONGTEXT)", i, name),
				fmt.Sprintf("INSERT INTO e%d.%s (x) SELECT CONCAT('%s', x) FROM d.big WHERE id < 3", i, name, name))
		}
		o.Exec(fmt.Sprintf("CREATE TABLE e%d.zip ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=%d AS SELECT id, x FROM d.big WHERE id < 3", i, []int{8, 4, 1}[i]))
	}
	for try := range 2 {
		var failed atomic.Bool
		var rounds atomic.Int64
		stop := o.load(3, func(exec func(string) error, s, r int) {
			for _, sql := range []string{
				"RENAME TABLE e%[1]d.a TO e%[1]d.swap, e%[1]d.b TO e%[1]d.a, e%[1]d.swap TO e%[1]d.b",
				"RENAME TABLE e%[1]d.r%[2]d TO e%[1]d.r%[3]d",
				"ALTER TABLE e%[1]d.alter ADD COLUMN c%[2]d INT DEFAULT 5, ALGORITHM=INSTANT",
				"ALTER TABLE e%[1]d.alter ADD INDEX i%[2]d (c%[2]d)",
				"ALTER TABLE e%[1]d.alter DROP COLUMN c%[2]d, ALGORITHM=INPLACE",
				"TRUNCATE e%[1]d.trunc",
				"INSERT INTO e%[1]d.trunc (x) VALUES (REPEAT('%[2]d', 100000))",
				"CREATE TABLE e%[1]d.new (id INT PRIMARY KEY, x LONGTEXT) AS SELECT id, x FROM d.big WHERE id < 5",
				"DROP TABLE e%[1]d.new",
				"OPTIMIZE TABLE e%[1]d.alter",
				"ALTER TABLE e%[1]d.zip FORCE",
				"CREATE TABLESPACE ts%[1]d ADD DATAFILE 'ts%[1]d.ibd'",
				"CREATE TABLE e%[1]d.shared TABLESPACE ts%[1]d AS SELECT id, x FROM d.big WHERE id < 3",
				"DROP TABLE e%[1]d.shared",
				"DROP TABLESPACE ts%[1]d",
				"CREATE DATABASE more%[1]d",
				"CREATE TABLE more%[1]d.parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3 AS SELECT id FROM d.big",
				"ALTER TABLE more%[1]d.parts COALESCE PARTITION 1",
				"DROP DATABASE more%[1]d",
			} {
				if err := exec(fmt.Sprintf(sql, s, r, r+1)); err != nil && !failed.Swap(true) {
					t.Errorf("%s: %v", fmt.Sprintf(sql, s, r, r+1), err)
				}
			}
			rounds.Add(1)
		})
		kit.Until(t, time.Minute, "the sessions write", func() bool { return rounds.Load() >= 2 })
		stream, info := o.clone(slowly(time.Duration(2+try) * time.Second))
		stop()
		for i := range 3 { // the names of the next try
			name := o.Value(fmt.Sprintf("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'e%d' AND TABLE_NAME LIKE 'r%%'", i))
			if name != "r0" {
				o.Exec(fmt.Sprintf("RENAME TABLE e%d.%s TO e%d.r0", i, name, i))
			}
		}
		c := o.copied(stream)
		o.between(c, info)
		o.follow(c)
		o.same(c)
		c.Kill()
	}
}
