package archive

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
	"tidemark/storage/file"
)

// TestMySQL kills `tidemark run` at random moments while a MySQL server writes what only MySQL has in
// its binlog, and finds every byte of that in the archive, each once, and the server's own set of GTIDs.
func TestMySQL(t *testing.T) {
	servertest.Each(t, servertest.MySQL, func(t *testing.T, bin servertest.Binaries) {
		kills := harness.Count(t, 5)
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d, %d kills", seed, kills)
		r := rand.New(rand.NewPCG(seed, 1))
		srv := servertest.Start(t, servertest.Options{ServerID: 7, Binaries: bin, Extra: []string{"--max-binlog-size=2M"}})
		srv.CreateUser(servertest.User, "secret")
		srv.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, j JSON, b LONGBLOB, hidden INT INVISIBLE, g INT AS (hidden % 7) STORED)")
		dir := t.TempDir()
		tool, err := harness.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := harness.Config{Dir: dir, Primary: srv.Addr, User: servertest.User, Password: "secret",
			More: "    segment: {max_age: 200ms, max_size: 1MiB}\n    heartbeat: 1s\n"}.Write()
		if err != nil {
			t.Fatal(err)
		}
		stop := writeMySQL(t, srv, seed)
		log := filepath.Join(dir, "run.log")
		for i := range kills {
			d, err := harness.Start(tool, cfg, log)
			if err != nil {
				t.Fatalf("start %d: %v", i+1, err)
			}
			time.Sleep(time.Duration(100+r.IntN(1200)) * time.Millisecond)
			d.Kill()
		}
		stop()
		d, err := harness.Start(tool, cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Kill()
		srv.Exec("FLUSH BINARY LOGS")
		end := srv.Query("SHOW BINARY LOG STATUS")[0]
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			c, err := d.Status()
			if err == nil && c.Archived.File == end[0] && fmt.Sprint(c.Archived.Offset) == end[1] {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the server is at %v, %+v, %v\n%s", end, c, err, d.Tail())
			}
		}
		if err := d.Stop(); err != nil {
			t.Fatal(err)
		}
		archive := filepath.Join(dir, "archive")
		compare(t, srv, archive)
		store, err := file.Open(archive)
		if err != nil {
			t.Fatal(err)
		}
		cat, err := catalog.Open(t.Context(), store, "shop", "test")
		if err != nil {
			t.Fatal(err)
		}
		last, err := cat.Last(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		have, err := gtid.ParseSet(srv.Value("SELECT REPLACE(@@gtid_executed, '\\n', '')"))
		if err != nil || have.String() != last.After.GTID {
			t.Errorf("the server has %s, the archive %s, %v", have, last.After.GTID, err)
		}
		for s, err := range cat.Segments(t.Context(), 1, 0) {
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(archive, "shop", s.Stored.Key)
			out, err := exec.Command("bash", "-c", "set -o pipefail; zstd -dc "+name+" | "+bin.Binlog+" --verify-binlog-checksum -").CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("End of log file")) || bytes.Contains(out, []byte("Warning")) {
				t.Errorf("segment %s: %v\n%s", s.Name(), err, out[max(0, len(out)-500):])
			}
		}
		verify := exec.Command(tool, "verify", "shop", "--data", "--config", cfg)
		verify.Env = os.Environ()
		if out, err := verify.CombinedOutput(); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
	}, "mysqlbinlog")
}

// writeMySQL writes with three sessions until stop is called.
func writeMySQL(t *testing.T, srv *servertest.Server, seed uint64) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	ended := make(chan error, 3)
	for n := range 3 {
		conn := srv.Conn()
		rng := rand.New(rand.NewPCG(seed, uint64(n)+10))
		go func() {
			defer conn.Close()
			for i := 0; ; i++ {
				select {
				case <-done:
					ended <- nil
					return
				default:
				}
				if err := mysqlTransaction(conn, rng, n, i); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	return func() {
		close(done)
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
}

func mysqlTransaction(conn *client.Conn, rng *rand.Rand, session, i int) error {
	insert := fmt.Sprintf("INSERT INTO d.t (j, b, hidden) VALUES ('{\"a\": %d, \"b\": \"%060d\"}', REPEAT('x', %d), %d)", i, i, rng.IntN(2000), i)
	var statements []string
	switch rng.IntN(12) {
	case 0:
		statements = []string{"SET binlog_transaction_compression = ON", "BEGIN", insert, insert, insert, "COMMIT", "SET binlog_transaction_compression = OFF"}
	case 1:
		statements = []string{fmt.Sprintf("SET gtid_next = 'AUTOMATIC:tag%d'", rng.IntN(3)), insert, "SET gtid_next = 'AUTOMATIC'"}
	case 2:
		statements = []string{"SET binlog_row_value_options = 'PARTIAL_JSON'", fmt.Sprintf("UPDATE d.t SET j = JSON_SET(j, '$.a', %d) WHERE id %% 97 = %d", i, rng.IntN(97))}
	case 3:
		x := fmt.Sprintf("'x%d-%d'", session, i)
		end := []string{"XA COMMIT ", "XA ROLLBACK "}[rng.IntN(2)]
		statements = []string{"XA START " + x, insert, "XA END " + x, "XA PREPARE " + x, end + x}
	case 4:
		statements = []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS d.s%d (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3", session),
			fmt.Sprintf("INSERT IGNORE INTO d.s%d VALUES (%d)", session, i), fmt.Sprintf("DROP TABLE d.s%d", session)}
	case 5:
		statements = []string{fmt.Sprintf("INSERT INTO d.t (b) VALUES (REPEAT('y', %d))", rng.IntN(3<<20))}
	case 6:
		statements = []string{"BEGIN", insert, "SAVEPOINT s", insert, "ROLLBACK TO s", insert, "COMMIT"}
	default:
		statements = []string{insert}
	}
	for _, s := range statements {
		if _, err := conn.Execute(s); err != nil {
			return fmt.Errorf("%.200s: %w", s, err)
		}
	}
	return nil
}
