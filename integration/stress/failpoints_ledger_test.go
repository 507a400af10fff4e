package stress

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit/ledger"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
)

// scribes is how many write to the ledger at once.
const scribes = 4

// entries is a table that several clients write, and which of their commits they saw succeed. Every
// transaction has a GTID that is known beforehand: its writer's own series, numbered from 1 without a hole.
type entries struct {
	srv    *servertest.Server
	acked  [scribes]atomic.Int64 // the last commit of each that succeeded, and with it all before
	gate   sync.RWMutex          // held for reading during a transaction, for writing while nothing is written
	paused bool                  // so it is
	conns  [scribes]*client.Conn
	ended  sync.WaitGroup
	over   atomic.Bool
}

// newEntries makes the table. Nothing is written before resume.
func newEntries(t *testing.T, srv *servertest.Server, seed uint64) *entries {
	t.Helper()
	srv.Exec("CREATE DATABASE led", "CREATE TABLE led.entry (writer INT, seq BIGINT, v LONGTEXT, PRIMARY KEY (writer, seq)) ENGINE=InnoDB")
	l := &entries{srv: srv}
	l.pause()
	t.Cleanup(l.end)
	for w := range scribes {
		conn, err := srv.Process.Conn()
		if err != nil {
			t.Fatal(err)
		}
		l.conns[w] = conn
		l.ended.Go(func() {
			if err := l.write(w, rand.New(rand.NewPCG(seed, uint64(100+w)))); err != nil && !l.over.Load() {
				t.Errorf("seed %d: writer %d: %v", seed, w, err)
			}
		})
	}
	return l
}

// end ends the writers, also those whose commits wait.
func (l *entries) end() {
	l.over.Store(true)
	for _, c := range l.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	if l.paused {
		l.resume()
	}
	l.ended.Wait()
}

// series is that of a writer.
func (l *entries) series(writer int) ledger.Series {
	return ledger.Series{Flavor: l.srv.Binaries.Flavor, Writer: writer}
}

// write writes until the end.
func (l *entries) write(writer int, r *rand.Rand) error {
	conn := l.conns[writer]
	series := l.series(writer)
	if begin := series.Session(); begin != "" {
		if _, err := conn.Execute(begin); err != nil {
			return err
		}
	}
	for seq := int64(1); ; seq++ {
		l.gate.RLock()
		if l.over.Load() {
			l.gate.RUnlock()
			return nil
		}
		size := r.IntN(2000)
		if r.IntN(200) == 0 {
			size = r.IntN(700 << 10) // more than is gathered before a write
		}
		_, err := conn.Execute(series.Next(seq))
		if err == nil {
			_, err = conn.Execute(fmt.Sprintf("INSERT INTO led.entry VALUES (%d, %d, REPEAT('%c', %d))", writer, seq, 'a'+r.IntN(26), size))
		}
		if err == nil {
			l.acked[writer].Store(seq)
		}
		l.gate.RUnlock()
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	}
}

// resume lets the writers write.
func (l *entries) resume() {
	l.paused = false
	l.gate.Unlock()
}

// pause waits for the transactions under way, and lets none begin.
func (l *entries) pause() {
	l.gate.Lock()
	l.paused = true
}

// succeeded is how many commits of each writer succeeded.
func (l *entries) succeeded() (n [scribes]int64) {
	for w := range n {
		n[w] = l.acked[w].Load()
	}
	return n
}

// sums says what the table holds of each writer, as value reads it.
func sums(value func(sql string) (string, error)) (all [scribes]string, err error) {
	for w := range all {
		if err == nil {
			all[w], err = value(fmt.Sprintf("SELECT CONCAT(COUNT(*), ' up to ', COALESCE(MAX(seq), 0), ', ', "+
				"COALESCE(SUM(CRC32(CONCAT(seq, v))), 0)) FROM led.entry WHERE writer=%d", w))
		}
	}
	return all, err
}

// transactions counts the transactions of a directory of binlog files, by GTID.
func transactions(t *testing.T, dir string) map[string]int {
	t.Helper()
	found := map[string]int{}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no binlog files are in %s, %v", dir, err)
	}
	for _, name := range names {
		if err := count(found, name, 4, binlog.Point{File: filepath.Base(name), Offset: 4}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return found
}

// spooled adds the transactions that only a spool holds: those that a restart would find.
func spooled(t *testing.T, found map[string]int, dir string) {
	t.Helper()
	in := map[string]int{}
	records, err := filepath.Glob(filepath.Join(dir, "*.open"))
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		data, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		seg, err := catalog.DecodeSegment(data)
		if err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		file := strings.TrimSuffix(record, ".open") + ".binlog"
		if _, err := os.Stat(file); err == nil {
			_ = count(in, file, seg.HeadBytes, seg.Source.StartPoint()) // it may end anywhere
		}
	}
	for gtid := range in {
		if found[gtid] == 0 {
			found[gtid] = 1
		}
	}
}

// count counts the whole transactions of a file.
func count(found map[string]int, name string, head uint64, start binlog.Point) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := binlog.NewFileScanner(f, binlog.DefaultBuffer, head, start)
	if err != nil {
		return err
	}
	gtid := ""
	for {
		ev, err := s.Next()
		if err != nil {
			if fmt.Sprint(err) == "EOF" {
				return nil
			}
			return err
		}
		if ev.Begin {
			gtid = ev.GTID.String()
		}
		if ev.End && ev.Last {
			found[gtid]++
		}
	}
}

// holds reports what of the ledger is missing or twice among transactions, "" for nothing.
func (l *entries) holds(found map[string]int, upTo [scribes]int64) string {
	for w, last := range upTo {
		for seq := int64(1); seq <= last; seq++ {
			if g := l.series(w).GTID(seq); found[g] != 1 {
				return fmt.Sprintf("%s, of %d that succeeded, is there %d times", g, last, found[g])
			}
		}
	}
	return ""
}

// semiSync lets commits wait for an acknowledgement, for ever, or not at all.
func semiSync(srv *servertest.Server, on bool) error {
	timeout, enabled := "rpl_semi_sync_master_timeout", "rpl_semi_sync_master_enabled"
	if srv.Binaries.Flavor == servertest.MySQL {
		timeout, enabled = "rpl_semi_sync_source_timeout", "rpl_semi_sync_source_enabled"
	}
	if !on {
		return srv.Process.Exec("SET GLOBAL " + enabled + "=OFF")
	}
	const never = 1<<63/1_000_000 - 1 // milliseconds
	return srv.Process.Exec(fmt.Sprintf("SET GLOBAL %s=%d", timeout, uint64(never)), "SET GLOBAL "+enabled+"=ON")
}
