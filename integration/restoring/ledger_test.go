package restoring

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestLedger restores to any transaction of a log that several writers write at once, never at rest: to its
// time, which others have too, its GTID or its position. Each writer has tables of its own and notes what
// they hold after each of its commits; the server's own tool says in which order all of them stand in the
// log. So it is known for every point what each table must hold. N= sets how many restores.
func TestLedger(t *testing.T) { kit.Each(t, "", kit.Servers(2), ledger) }

const writers = 4

func ledger(t *testing.T, b servertest.Binaries) {
	n := kit.CountOn(t, b, 4, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d restores", seed, n)
	r := rand.New(rand.NewPCG(seed, 3))
	w := kit.Archived(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=4M", redo(b)}, SQL: []string{"CREATE DATABASE led"}})
	books := make([]*book, writers)
	for i := range books {
		books[i] = newBook(w, i, seed)
	}
	// Some of what is written is before another base backup, some while it is taken, most behind it.
	write(t, books, 30)
	based := make(chan error, 1)
	go func() { based <- anotherBase(w) }()
	write(t, books, 60)
	if err := <-based; err != nil {
		t.Fatal(err)
	}
	write(t, books, 60)
	w.End()
	log := readLog(w)
	// What is before the first base backup cannot be restored.
	begin := slices.IndexFunc(log, func(tx logged) bool { _, ok := books[0].sums[tx.gtid]; return ok })
	t.Logf("%d transactions, %d of them behind the first base backup", len(log), len(log)-begin)
	for i := range n {
		if i == n/2 { // what is small becomes large; nothing else changes
			done(w, "compact", "shop", "--grace", "0s", "--age", "5s")
			done(w, "verify", "shop", "--data")
		}
		at := begin + r.IntN(len(log)-begin)
		restoreTo(w, books, log, begin, at, r)
	}
}

// anotherBase takes a base backup while the writers write. A copy in which a table of MyISAM or Aria was truncated is
// refused, as it must be: it is taken again, and once nobody writes any more it cannot fail.
func anotherBase(w *kit.World) error {
	for tries := 1; ; tries++ {
		out, err := w.Command("backup", "shop").CombinedOutput()
		if err == nil {
			return nil
		}
		refused := bytes.Contains(out, []byte("the log of Aria does not fit")) ||
			bytes.Contains(out, []byte("the copy was made while these were written to"))
		if !refused || tries == 20 {
			return fmt.Errorf("tidemark backup: %w\n%s", err, out)
		}
		w.T.Logf("a base backup is taken again: %s", out)
	}
}

// restoreTo restores to before or through the transaction at an index of the log, by one kind of target.
func restoreTo(w *kit.World, books []*book, log []logged, begin, at int, r *rand.Rand) {
	t := w.T
	t.Helper()
	tx := log[at]
	target := within(t, "restored")
	args := []string{"restore", "shop", "--json", "--quiet", "--threads", []string{"-1", "0", "1", "4"}[r.IntN(4)],
		"--relay-space", []string{"2GiB", "32MiB"}[r.IntN(2)], "--target-dir", target}
	upTo := at // transactions of the log that are expected
	switch r.IntN(4) {
	case 0:
		args = append(args, "--to-time", tx.time.Format(time.RFC3339Nano))
		// The second in which the first base backup ended is another matter.
		upTo = begin + slices.IndexFunc(log[begin:], func(l logged) bool { return !l.time.Before(tx.time) })
	case 1:
		args = append(args, "--before-gtid", tx.gtid)
	case 2:
		args = append(args, "--to-position", tx.file+":"+strconv.FormatInt(tx.offset, 10))
	case 3:
		upTo++
		args = append(args, "--to-gtid", setOf(log[:upTo]))
	}
	out := w.Run(args...)
	said := fmt.Sprintf("tidemark %s (transaction %d of %d, expected %d)", strings.Join(args, " "), at, len(log), upTo)
	var report struct {
		Base            string
		FirstNotApplied *struct{ GTID string } `json:"first_not_applied"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%s: %v\n%s", said, err, out)
	}
	if next := report.FirstNotApplied; upTo < len(log) && (next == nil || next.GTID != log[upTo].gtid) {
		t.Errorf("%s: the first transaction not applied is said to be %v, and is %s", said, next, log[upTo].gtid)
	}
	want := make([]string, writers)
	for _, l := range log[:upTo] {
		for i, b := range books {
			if sum, ok := b.sums[l.gtid]; ok {
				want[i] = sum
			}
		}
	}
	open(w, target, func(again *servertest.Server) {
		for i, b := range books {
			if want[i] == "" {
				continue
			}
			if got, err := b.tables(again.Process.Value); err != nil || got != want[i] {
				check, _ := again.Process.Query(fmt.Sprintf("CHECK TABLE led.w%d_a, led.w%[1]d_b", b.id))
				t.Errorf("%s: the tables of writer %d hold %s, and held %s, %v; %v\n%s", said, i, got, want[i], err, check, again.LogTail(40))
			}
		}
		got, err := again.AppliedPosition()
		if same := strings.Join(slices.Sorted(slices.Values(strings.Split(got, ","))), ","); err != nil || same != setOf(log[:upTo]) {
			t.Errorf("%s: GTID position %s, expected %s, %v", said, got, setOf(log[:upTo]), err)
		}
	})
	if t.Failed() {
		t.Fatalf("%s from base backup %s", said, report.Base)
	}
}

// book is one writer's: what its tables held after each of its transactions.
type book struct {
	id    int
	mysql bool
	conn  *client.Conn
	rng   *rand.Rand
	gno   int               // MySQL: of the last transaction
	sums  map[string]string // by GTID
	wide  bool              // the first table has its other column
}

func newBook(w *kit.World, id int, seed uint64) *book {
	t := w.T
	t.Helper()
	b := &book{id: id, mysql: w.Server.Binaries.Flavor == servertest.MySQL, conn: w.Server.Conn(),
		rng: rand.New(rand.NewPCG(seed, uint64(10+id))), sums: map[string]string{}}
	t.Cleanup(func() { b.conn.Close() })
	other := "InnoDB" // clones have no rows of other engines
	if !b.mysql {
		other = []string{"InnoDB", "MyISAM", "Aria", "InnoDB"}[id]
	}
	var err error
	if !b.mysql {
		_, err = b.conn.Execute(fmt.Sprintf("SET SESSION gtid_domain_id=%d", id%3))
	}
	for _, create := range []string{"a (id INT AUTO_INCREMENT PRIMARY KEY, k INT, v LONGBLOB)",
		"b (id INT AUTO_INCREMENT PRIMARY KEY, k INT, v LONGBLOB) ENGINE=" + other} {
		if err == nil {
			err = b.commit(fmt.Sprintf("CREATE TABLE led.w%d_%s", id, create))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tables is what the writer's tables hold, as value reads it.
func (b *book) tables(value func(sql string) (string, error)) (string, error) {
	var parts []string
	for _, table := range []string{"a", "b"} {
		part, err := value(fmt.Sprintf("SELECT CONCAT(COUNT(*), '-', COALESCE(SUM(CRC32(CONCAT_WS('#', id, k, SHA2(v, 256)))), 0)) "+
			"FROM led.w%d_%s", b.id, table))
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	columns, err := value(fmt.Sprintf("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema='led' "+
		"AND table_name LIKE 'w%d\\_%%'", b.id))
	return strings.Join(append(parts, columns), " "), err
}

// write lets each writer do so many things, all at once.
func write(t *testing.T, books []*book, things int) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(books))
	for i, b := range books {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; n < things && errs[i] == nil; n++ {
				errs[i] = b.thing()
			}
		}()
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("writer %d: %v", i, err)
		}
	}
}

// thing does one thing, in one transaction or several.
func (b *book) thing() error {
	x := func(format string) string {
		return strings.ReplaceAll(strings.ReplaceAll(format, "@", strconv.Itoa(b.id)), "?", strconv.Itoa(b.rng.IntN(100)))
	}
	switch b.rng.IntN(12) {
	case 0, 1, 2:
		return b.commit("BEGIN", x("INSERT INTO led.w@_a (k, v) VALUES (?, 'one'), (?, 'two'), (?, REPEAT('x', 1000))"),
			x("UPDATE led.w@_a SET k=k+1, v=CONCAT('u', ?) WHERE k < ?"), x("DELETE FROM led.w@_a WHERE k > ?"), "COMMIT")
	case 3, 4:
		return b.commit(x("INSERT INTO led.w@_b (k, v) VALUES (?, UUID()), (?, RAND())"))
	case 5:
		return b.commit(x("DELETE FROM led.w@_b WHERE k = ?"))
	case 6:
		if b.wide = !b.wide; b.wide {
			return b.commit(x("ALTER TABLE led.w@_a ADD COLUMN extra INT DEFAULT 7"))
		}
		return b.commit(x("ALTER TABLE led.w@_a DROP COLUMN extra"))
	case 7:
		return b.commit(x("TRUNCATE TABLE led.w@_b"))
	case 8:
		if err := b.commit(x("CREATE TABLE led.w@_c (id INT PRIMARY KEY, v VARCHAR(10))")); err != nil {
			return err
		}
		return b.commit(x("DROP TABLE led.w@_c"))
	case 9:
		// A prepared transaction is one of the log, and changes nothing that is seen.
		if err := b.begin(); err != nil {
			return err
		}
		err := b.run(x("XA START 'w@'"), x("INSERT INTO led.w@_a (k, v) VALUES (?, 'xa')"), x("XA END 'w@'"), x("XA PREPARE 'w@'"))
		if err != nil {
			return err
		}
		return b.commit(x("XA COMMIT 'w@'"))
	case 10:
		if b.mysql {
			return b.commit(x("UPDATE led.w@_a SET v=CONCAT(v, '+') WHERE k = ?"))
		}
		// The first and the last of them are transactions that change nothing that is seen.
		err := b.run("SET SESSION binlog_format=STATEMENT", "CREATE TEMPORARY TABLE led.tmp (k INT)", x("INSERT INTO led.tmp VALUES (?), (?)"))
		if err != nil {
			return err
		}
		if err := b.commit(x("INSERT INTO led.w@_a (k, v) SELECT k, 'temporary' FROM led.tmp")); err != nil {
			return err
		}
		return b.run("DROP TEMPORARY TABLE led.tmp", "SET SESSION binlog_format=ROW")
	default:
		size := 1 + b.rng.IntN(2<<20)
		if b.id == 0 && b.rng.IntN(8) == 0 {
			size = 64<<20 - 100
		}
		if err := b.commit(fmt.Sprintf("INSERT INTO led.w%d_b (id, k, v) VALUES (1000000, 1, REPEAT('b', %d))", b.id, size)); err != nil {
			return err
		}
		return b.commit(x("DELETE FROM led.w@_b WHERE id >= 1000000"))
	}
}

// begin gives the next transaction its GTID, which MySQL does not tell afterwards.
func (b *book) begin() error {
	if !b.mysql {
		return nil
	}
	b.gno++
	return b.run("SET SESSION gtid_next='" + b.gtid() + "'")
}

// gtid is MySQL's: of a source of this writer's own, half of them tagged.
func (b *book) gtid() string {
	tag := []string{"", "led:"}[b.id%2]
	return fmt.Sprintf("aaaaaaaa-0000-0000-0000-%012d:%s%d", b.id, tag, b.gno)
}

// commit executes statements that are one transaction of the log, and notes what the tables hold then.
func (b *book) commit(sql ...string) error {
	if err := b.begin(); err != nil {
		return err
	}
	if err := b.run(sql...); err != nil {
		return err
	}
	gtid := ""
	var err error
	if b.mysql {
		gtid, err = b.gtid(), b.run("SET SESSION gtid_next='AUTOMATIC'")
		if err != nil { // nothing was changed: the GTID is still to be used
			err = b.run("COMMIT", "SET SESSION gtid_next='AUTOMATIC'")
		}
	} else {
		gtid, err = b.value("SELECT @@last_gtid")
	}
	if err != nil {
		return err
	}
	if len(b.sums) == 0 && !strings.Contains(sql[0], "_b") { // the second table is not there yet
		b.sums[gtid] = ""
		return nil
	}
	b.sums[gtid], err = b.tables(b.value)
	return err
}

func (b *book) run(sql ...string) error {
	for _, s := range sql {
		if _, err := b.conn.Execute(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (b *book) value(sql string) (string, error) {
	r, err := b.conn.Execute(sql)
	if err != nil {
		return "", fmt.Errorf("%s: %w", sql, err)
	}
	return r.GetString(0, 0)
}

// logged is a transaction in the log.
type logged struct {
	gtid   string
	file   string
	offset int64
	time   time.Time // of its commit
}

var (
	atOffset  = regexp.MustCompile(`^# at (\d+)$`)
	ofMariaDB = regexp.MustCompile(`^#(\d{6} [ \d]\d:\d\d:\d\d) server id .*\tGTID (\d+-\d+-\d+)`)
	ofMySQL   = regexp.MustCompile(`^SET @@SESSION.GTID_NEXT= '([^']+:\d+)'`)
	mysqlTime = regexp.MustCompile(`^# immediate_commit_timestamp=(\d+) `)
)

// readLog reads the primary's binlogs with the server's own tool.
func readLog(w *kit.World) (log []logged) {
	t := w.T
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.Server.Datadir, "binlog.[0-9][0-9][0-9][0-9][0-9][0-9]"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no binlogs of the primary found, %v", err)
	}
	for _, f := range files {
		cmd := exec.Command(w.Server.Binaries.Binlog, "--no-defaults", "--base64-output=decode-rows", f)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 256<<20) // a statement can be one
		var offset, begins int64
		var at time.Time
		for lines.Scan() {
			line := lines.Text()
			if m := atOffset.FindStringSubmatch(line); m != nil {
				offset, _ = strconv.ParseInt(m[1], 10, 64)
			} else if m := ofMariaDB.FindStringSubmatch(line); m != nil {
				if at, err = time.Parse("060102 15:04:05", strings.ReplaceAll(m[1], "  ", " 0")); err != nil {
					t.Fatal(err)
				}
				log = append(log, logged{gtid: m[2], file: filepath.Base(f), offset: offset, time: at})
			} else if m := mysqlTime.FindStringSubmatch(line); m != nil {
				us, _ := strconv.ParseInt(m[1], 10, 64)
				at, begins = time.UnixMicro(us).UTC(), offset
			} else if m := ofMySQL.FindStringSubmatch(line); m != nil {
				log = append(log, logged{gtid: m[1], file: filepath.Base(f), offset: begins, time: at})
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// setOf is the GTID position behind transactions, its parts in order.
func setOf(log []logged) string {
	parts := map[string]string{}
	runs := map[string][]int{} // MySQL: the numbers of a source
	for _, l := range log {
		if source, number, ok := cutLast(l.gtid, ":"); ok {
			n, _ := strconv.Atoi(number)
			runs[source] = append(runs[source], n)
		} else {
			domain, _, _ := strings.Cut(l.gtid, "-")
			parts[domain] = l.gtid
		}
	}
	if len(runs) == 0 {
		return strings.Join(slices.Sorted(maps.Values(parts)), ",")
	}
	for source, numbers := range runs {
		slices.Sort(numbers)
		text := source
		for i := 0; i < len(numbers); {
			j := i
			for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
				j++
			}
			text += ":" + strconv.Itoa(numbers[i])
			if j > i {
				text += "-" + strconv.Itoa(numbers[j])
			}
			i = j + 1
		}
		parts[source] = text
	}
	return strings.Join(slices.Sorted(maps.Values(parts)), ",")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
