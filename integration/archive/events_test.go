package archive

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
	"tidemark/internal/binlog"
	"tidemark/internal/clock"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// logFile is a binlog file of a real server and what the server says is in it.
type logFile struct {
	name string
	data []byte
	rows [][]string // name, position, type, server ID, end, info
	txs  []logTx
}

// logTx is one transaction as the scanner found it.
type logTx struct {
	gtid       gtid.GTID
	start, end uint64
}

// TestEvents reads the files of a real server, and its stream from many places, and compares what is
// found with what the server itself says.
func TestEvents(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.MariaDB, events)
}

func events(t *testing.T, b servertest.Binaries) {
	t.Parallel()
	for _, tt := range []struct{ name, option string }{
		{"checksums", "--binlog-checksum=CRC32"},
		{"none", "--binlog-checksum=NONE"},
		{"compressed", "--log-bin-compress=ON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kit.Parallel(t, kit.Servers(1))
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: b, Extra: []string{"--max-binlog-size=2M", tt.option}})
			srv.CreateUser(servertest.User, "secret")
			write(t, srv, int64(seed>>1))
			files := readLogs(t, srv)
			for _, f := range files {
				for _, buffer := range []int{1 << 16, 1 << 20} {
					checkLog(t, f, buffer)
				}
			}
			rng := rand.New(rand.NewPCG(seed, 1))
			checkStream(t, srv, files, replica.Request{From: binlog.Point{File: files[0].name, Offset: 4}}, 0, 4)
			for range 4 {
				i := rng.IntN(len(files))
				if len(files[i].txs) < 2 {
					continue
				}
				n := 1 + rng.IntN(len(files[i].txs)-1)
				at := binlog.Point{File: files[i].name, Offset: files[i].txs[n].start}
				checkStream(t, srv, files, replica.Request{From: at}, i, at.Offset)
				after := positionAt(files, i, n).String()
				checkStream(t, srv, files, replica.Request{After: after, Expect: at}, i, at.Offset)
			}
		})
	}
}

// write makes transactions of every kind.
func write(t *testing.T, srv *servertest.Server, seed int64) {
	t.Helper()
	w := workload.New(seed, workload.Options{Domains: 2, MaxBlob: 1 << 20, BigTransaction: 3 << 20})
	if err := w.Setup(srv.Conn()); err != nil {
		t.Fatal(err)
	}
	if err := w.Once(t.Context(), srv.Process.Conn); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context(), srv.Process.Conn, 3, 400); err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(srv.Dir, "rows")
	if err := os.WriteFile(rows, []byte(strings.Repeat("1\n2\n3\n", 20_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	srv.Exec("CREATE DATABASE own", "USE own", "CREATE TABLE a (n INT)", "CREATE TABLE m (n INT) ENGINE=MyISAM",
		"INSERT INTO a VALUES (1), (2)", "CREATE TABLE c SELECT * FROM a", "INSERT INTO m VALUES (1)",
		"SET SESSION binlog_format='STATEMENT'", "LOAD DATA INFILE '"+rows+"' INTO TABLE a", "INSERT INTO m VALUES (LAST_INSERT_ID())",
		"SET SESSION binlog_format='ROW'", "LOAD DATA INFILE '"+rows+"' INTO TABLE a",
		"XA START 'one'", "INSERT INTO a VALUES (9)", "XA END 'one'", "XA PREPARE 'one'", "XA COMMIT 'one'",
		"XA START 'two'", "INSERT INTO own.a VALUES (9)", "XA END 'two'", "XA PREPARE 'two'", "XA ROLLBACK 'two'",
		"XA START 'three'", "INSERT INTO own.a VALUES (9)", "XA END 'three'", "XA COMMIT 'three' ONE PHASE",
		"BEGIN", "INSERT INTO own.a VALUES (1)", "INSERT INTO own.m VALUES (1)", "ROLLBACK",
		"FLUSH TABLES", "ANALYZE TABLE own.a")
}

// readLogs reads all files of a server that it has done with.
func readLogs(t *testing.T, srv *servertest.Server) []*logFile {
	t.Helper()
	srv.Exec("FLUSH BINARY LOGS")
	all := srv.Query("SHOW BINARY LOGS")
	var files []*logFile
	for _, row := range all[:len(all)-1] {
		f := &logFile{name: row[0], rows: srv.Query("SHOW BINLOG EVENTS IN '" + row[0] + "'")}
		var err error
		if f.data, err = os.ReadFile(filepath.Join(srv.Datadir, f.name)); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// checkLog compares the events of a file with the server's list of them.
func checkLog(t *testing.T, f *logFile, buffer int) {
	t.Helper()
	f.txs = nil
	sc, err := binlog.NewFileScanner(bytes.NewReader(f.data), buffer, 4, binlog.Point{File: f.name, Offset: 4})
	if err != nil {
		t.Fatal(err)
	}
	open := false
	var i, fragments int
	for {
		ev, err := sc.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ev.First {
			if i == len(f.rows) {
				t.Fatalf("%s: an event at %d that the server does not list", f.name, ev.Offset)
			}
			row := f.rows[i]
			begins := row[2] == "Gtid"
			end := num(row[4])
			if end == 0 && i+1 < len(f.rows) { // MariaDB 11.4 and later write no position into what went through a cache
				end = num(f.rows[i+1][1])
			}
			if num(row[1]) != ev.Offset || end != ev.EndOffset() || num(row[3]) != uint64(ev.ServerID) || begins != ev.Begin {
				t.Fatalf("%s, buffer %d: event %d is %+v, the server says %q", f.name, buffer, i, ev.Header, row)
			}
			if begins {
				if open {
					t.Fatalf("%s: transaction %s begins at %d, and the one before it has not ended", f.name, ev.GTID, ev.Offset)
				}
				if !strings.Contains(" "+row[5]+" ", " GTID "+ev.GTID.String()+" ") {
					t.Errorf("%s: transaction %s, the server says %q", f.name, ev.GTID, row[5])
				}
				f.txs = append(f.txs, logTx{gtid: ev.GTID, start: ev.Offset})
			} else if !open && ev.GTID != (gtid.GTID{}) {
				t.Errorf("%s: %q at %d counts to %s", f.name, row[2], ev.Offset, ev.GTID)
			}
			i++
		}
		if !ev.Last {
			fragments++
			continue
		}
		open = ev.Open
		if ev.End {
			f.txs[len(f.txs)-1].end = ev.EndOffset()
		}
	}
	if i != len(f.rows) || open {
		t.Errorf("%s: %d events of %d, open %v", f.name, i, len(f.rows), open)
	}
	for j, tx := range f.txs {
		if tx.end <= tx.start || j > 0 && tx.start < f.txs[j-1].end {
			t.Errorf("%s: transaction %s is from %d to %d", f.name, tx.gtid, tx.start, tx.end)
		}
	}
	t.Logf("%s: %d events, %d transactions, %d fragments", f.name, i, len(f.txs), fragments)
}

func num(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// positionAt is the GTID position before the transaction n of file i.
func positionAt(files []*logFile, i, n int) gtid.Position {
	p := gtid.Position{}
	for j, f := range files[:i+1] {
		for k, tx := range f.txs {
			if j < i || k < n {
				p[tx.gtid.Domain] = tx.gtid
			}
		}
	}
	return p
}

// checkStream requests the binlog and compares what comes with the files, from a place in one on. By
// GTID, the first events of the file come before it.
func checkStream(t *testing.T, srv *servertest.Server, files []*logFile, r replica.Request, i int, from uint64) {
	t.Helper()
	r.ServerID, r.UUID, r.Heartbeat, r.Buffer = 4200000001, "6ccd780c-baba-1026-9564-5b8c656024db", time.Second, 1<<16
	s, err := replica.Open(t.Context(), replica.Options{Host: srv.Addr, User: servertest.User, Password: "secret"}, r.Fixed, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := make([][]byte, len(files))
	got[i] = files[i].data[:from:from]
	last, begun := len(files)-1, false
	passed := 0
	for len(got[last]) < len(files[last].data) {
		ev, err := s.Next()
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if r.After != "" && !begun && ev.Offset < from && !ev.Begin {
			passed++
			continue
		}
		begun = true
		if ev.File != files[i].name {
			if i++; i > last || ev.File != files[i].name {
				t.Fatalf("%+v: file %s comes", r, ev.File)
			}
			got[i] = []byte(binlog.Magic)
		}
		if ev.First && ev.Offset != uint64(len(got[i])) {
			t.Fatalf("%+v: event at %s:%d after %d bytes", r, ev.File, ev.Offset, len(got[i]))
		}
		got[i] = append(got[i], ev.Data...)
		f, err := binlog.ParseFormatDescription(files[i].data[4 : 4+num(files[i].rows[0][4])-4])
		if err != nil {
			t.Fatal(err)
		}
		if ev.First && s.Format().Fingerprint() != f.Fingerprint() {
			t.Fatalf("%+v: the file has another fingerprint in the stream", r)
		}
	}
	for j, f := range files {
		if got[j] != nil && !bytes.Equal(got[j], f.data) {
			t.Errorf("%+v: %s differs at %d", r, f.name, common(got[j], f.data))
		}
	}
	// With an index of GTIDs (MariaDB 11.4 and later) the server may go to the place at once.
	if r.After != "" && passed == 0 && len(srv.Query("SHOW VARIABLES LIKE 'binlog_gtid_index'")) == 0 {
		t.Errorf("%+v: the file's first events did not come", r)
	}
	// An idle server says so, and since when that is known.
	before := time.Now()
	go func() {
		for {
			if _, err := s.Next(); err != nil {
				return
			}
		}
	}()
	for {
		file, offset := srv.LogEnd()
		p, at := s.CaughtUp()
		if p.File == file && p.Offset == offset {
			if at.After(time.Now()) || at.Before(before.Add(-time.Minute)) {
				t.Errorf("caught up at %s, it is %s", at, time.Now())
			}
			return
		}
		if time.Since(before) > 30*time.Second {
			t.Fatal("no heartbeat")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func common(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
