package restoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/ledger"
	"tidemark/integration/kit/servertest"
)

// TestLedger restores to any transaction of a log that several writers write at once, never at rest: to its
// time, which others have too, its GTID or its position. Each writer has tables of its own and notes what
// they hold after each of its commits; the server's own tool says in which order all of them stand in the
// log. So it is known for every point what each table must hold. N= sets how many restores.
func TestLedger(t *testing.T) { kit.Each(t, "", kit.Servers(2), testLedger) }

const writers = 4

func testLedger(t *testing.T, b servertest.Binaries) {
	n := kit.CountOn(t, b, 4, 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d restores", seed, n)
	r := rand.New(rand.NewPCG(seed, 3))
	w := kit.Archived(t, kit.Setup{Binaries: b, Options: []string{"--max-binlog-size=4M", redo(b)}, SQL: []string{"CREATE DATABASE led"}})
	all := make([]*writer, writers)
	for i := range all {
		all[i] = newWriter(w, i, seed)
	}
	// Some of what is written is before another base backup, some while it is taken, most behind it.
	write(t, all, 30)
	based := make(chan error, 1)
	go func() { based <- anotherBase(w) }()
	write(t, all, 60)
	if err := <-based; err != nil {
		t.Fatal(err)
	}
	write(t, all, 60)
	w.End()
	log := ledger.Read(t, w.Server)
	// What is before the first base backup cannot be restored.
	begin := slices.IndexFunc(log, func(tx ledger.Transaction) bool { return all[0].Wrote(tx.GTID) })
	t.Logf("%d transactions, %d of them behind the first base backup", len(log), len(log)-begin)
	for i := range n {
		if i == n/2 { // what is small becomes large; nothing else changes
			done(w, "compact", "shop", "--grace", "0s", "--age", "5s")
			done(w, "verify", "shop", "--data")
		}
		at := begin + r.IntN(len(log)-begin)
		restoreTo(w, all, log, begin, at, r)
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
func restoreTo(w *kit.World, all []*writer, log []ledger.Transaction, begin, at int, r *rand.Rand) {
	t := w.T
	t.Helper()
	tx := log[at]
	target := within(t, "restored")
	args := []string{"restore", "shop", "--json", "--quiet", "--threads", []string{"-1", "0", "1", "4"}[r.IntN(4)],
		"--relay-space", []string{"2GiB", "32MiB"}[r.IntN(2)], "--target-dir", target}
	upTo := at // transactions of the log that are expected
	switch r.IntN(4) {
	case 0:
		args = append(args, "--to-time", tx.Time.Format(time.RFC3339Nano))
		// The second in which the first base backup ended is another matter.
		upTo = begin + slices.IndexFunc(log[begin:], func(l ledger.Transaction) bool { return !l.Time.Before(tx.Time) })
	case 1:
		args = append(args, "--before-gtid", tx.GTID)
	case 2:
		args = append(args, "--to-position", tx.File+":"+strconv.FormatInt(tx.Offset, 10))
	case 3:
		upTo++
		args = append(args, "--to-gtid", ledger.Position(log[:upTo]))
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
	if next := report.FirstNotApplied; upTo < len(log) && (next == nil || next.GTID != log[upTo].GTID) {
		t.Errorf("%s: the first transaction not applied is said to be %v, and is %s", said, next, log[upTo].GTID)
	}
	open(w, target, func(again *servertest.Server) {
		for i, author := range all {
			want := author.After(log[:upTo])
			if want == "" {
				continue
			}
			if got, err := author.Holds(again.Process.Value); err != nil || got != want {
				check, _ := again.Process.Query(fmt.Sprintf("CHECK TABLE led.w%d_a, led.w%[1]d_b", author.id))
				t.Errorf("%s: the tables of writer %d hold %s, and held %s, %v; %v\n%s", said, i, got, want, err, check, again.LogTail(40))
			}
		}
		got, err := again.AppliedPosition()
		if same := strings.Join(slices.Sorted(slices.Values(strings.Split(got, ","))), ","); err != nil || same != ledger.Position(log[:upTo]) {
			t.Errorf("%s: GTID position %s, expected %s, %v", said, got, ledger.Position(log[:upTo]), err)
		}
	})
	if t.Failed() {
		t.Fatalf("%s from base backup %s", said, report.Base)
	}
}

// writer writes tables of its own, and keeps a book of what they hold.
type writer struct {
	*ledger.Book
	id    int
	mysql bool
	rng   *rand.Rand
	wide  bool // the first table has its other column
	both  bool // the second table is there
}

func newWriter(w *kit.World, id int, seed uint64) *writer {
	t := w.T
	t.Helper()
	wr := &writer{id: id, mysql: w.Server.Binaries.Flavor == servertest.MySQL, rng: rand.New(rand.NewPCG(seed, uint64(10+id)))}
	conn := w.Server.Conn()
	t.Cleanup(func() { conn.Close() })
	series := ledger.Series{Flavor: w.Server.Binaries.Flavor, Writer: id, Tag: []string{"", "led"}[id%2]}
	wr.Book = ledger.Open(conn, series, wr.tables)
	other := "InnoDB" // clones have no rows of other engines
	if !wr.mysql {
		other = []string{"InnoDB", "MyISAM", "Aria", "InnoDB"}[id]
	}
	var err error
	if !wr.mysql {
		err = wr.Run(fmt.Sprintf("SET SESSION gtid_domain_id=%d", id%3))
	}
	for _, create := range []string{"a (id INT AUTO_INCREMENT PRIMARY KEY, k INT, v LONGBLOB)",
		"b (id INT AUTO_INCREMENT PRIMARY KEY, k INT, v LONGBLOB) ENGINE=" + other} {
		if err == nil {
			wr.both = strings.HasPrefix(create, "b")
			err = wr.Commit(fmt.Sprintf("CREATE TABLE led.w%d_%s", id, create))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return wr
}

// tables is what the writer's tables hold, as value reads it; "" before both are there.
func (w *writer) tables(value ledger.Value) (string, error) {
	if !w.both {
		return "", nil
	}
	var parts []string
	for _, table := range []string{"a", "b"} {
		part, err := value(fmt.Sprintf("SELECT CONCAT(COUNT(*), '-', COALESCE(SUM(CRC32(CONCAT_WS('#', id, k, SHA2(v, 256)))), 0)) "+
			"FROM led.w%d_%s", w.id, table))
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	columns, err := value(fmt.Sprintf("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema='led' "+
		"AND table_name LIKE 'w%d\\_%%'", w.id))
	return strings.Join(append(parts, columns), " "), err
}

// write lets each writer do so many things, all at once.
func write(t *testing.T, all []*writer, things int) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, w := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; n < things && errs[i] == nil; n++ {
				errs[i] = w.thing()
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
func (w *writer) thing() error {
	x := func(format string) string {
		return strings.ReplaceAll(strings.ReplaceAll(format, "@", strconv.Itoa(w.id)), "?", strconv.Itoa(w.rng.IntN(100)))
	}
	switch w.rng.IntN(12) {
	case 0, 1, 2:
		return w.Commit("BEGIN", x("INSERT INTO led.w@_a (k, v) VALUES (?, 'one'), (?, 'two'), (?, REPEAT('x', 1000))"),
			x("UPDATE led.w@_a SET k=k+1, v=CONCAT('u', ?) WHERE k < ?"), x("DELETE FROM led.w@_a WHERE k > ?"), "COMMIT")
	case 3, 4:
		return w.Commit(x("INSERT INTO led.w@_b (k, v) VALUES (?, UUID()), (?, RAND())"))
	case 5:
		return w.Commit(x("DELETE FROM led.w@_b WHERE k = ?"))
	case 6:
		if w.wide = !w.wide; w.wide {
			return w.Commit(x("ALTER TABLE led.w@_a ADD COLUMN extra INT DEFAULT 7"))
		}
		return w.Commit(x("ALTER TABLE led.w@_a DROP COLUMN extra"))
	case 7:
		return w.Commit(x("TRUNCATE TABLE led.w@_b"))
	case 8:
		if err := w.Commit(x("CREATE TABLE led.w@_c (id INT PRIMARY KEY, v VARCHAR(10))")); err != nil {
			return err
		}
		return w.Commit(x("DROP TABLE led.w@_c"))
	case 9:
		// A prepared transaction is one of the log, and changes nothing that is seen.
		if err := w.Begin(); err != nil {
			return err
		}
		err := w.Run(x("XA START 'w@'"), x("INSERT INTO led.w@_a (k, v) VALUES (?, 'xa')"), x("XA END 'w@'"), x("XA PREPARE 'w@'"))
		if err != nil {
			return err
		}
		return w.Commit(x("XA COMMIT 'w@'"))
	case 10:
		if w.mysql {
			return w.Commit(x("UPDATE led.w@_a SET v=CONCAT(v, '+') WHERE k = ?"))
		}
		// The first and the last of them are transactions that change nothing that is seen.
		err := w.Run("SET SESSION binlog_format=STATEMENT", "CREATE TEMPORARY TABLE led.tmp (k INT)", x("INSERT INTO led.tmp VALUES (?), (?)"))
		if err != nil {
			return err
		}
		if err := w.Commit(x("INSERT INTO led.w@_a (k, v) SELECT k, 'temporary' FROM led.tmp")); err != nil {
			return err
		}
		return w.Run("DROP TEMPORARY TABLE led.tmp", "SET SESSION binlog_format=ROW")
	default:
		size := 1 + w.rng.IntN(2<<20)
		if w.id == 0 && w.rng.IntN(8) == 0 {
			size = 64<<20 - 100
		}
		if err := w.Commit(fmt.Sprintf("INSERT INTO led.w%d_b (id, k, v) VALUES (1000000, 1, REPEAT('b', %d))", w.id, size)); err != nil {
			return err
		}
		return w.Commit(x("DELETE FROM led.w@_b WHERE id >= 1000000"))
	}
}
