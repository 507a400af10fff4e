package restoring

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestReplayedLog: while a session writes transactions with times of two hours ago, as one does that replays an old
// log, a table is dropped. A restore to the second of the DROP does not apply it, nor what comes after it.
func TestReplayedLog(t *testing.T) { kit.Each(t, "", kit.Servers(2), replayedLog) }

func replayedLog(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)", "CREATE TABLE shop.lines (id INT PRIMARY KEY)")
	srv := w.Server
	old := func(from, to int) {
		conn := srv.Conn()
		defer conn.Close()
		for i := from; i < to; i++ {
			execute(t, conn, fmt.Sprintf("SET TIMESTAMP=%d", time.Now().Add(-2*time.Hour).Unix()), fmt.Sprintf("INSERT INTO shop.lines VALUES (%d)", i))
		}
	}
	srv.Exec("INSERT INTO shop.orders VALUES (1)")
	for i := range 5 { // the log is used to such times, segment by segment
		old(200*i, 200*(i+1))
		w.Settle()
	}
	old(1000, 1200)
	truth := w.Truth("before the DROP")
	moment := nextSecond(srv)
	srv.Exec("DROP TABLE shop.orders")
	dropped := srv.Position()
	old(1200, 8000)
	srv.Exec("INSERT INTO shop.lines VALUES (9000)")
	nextSecond(srv) // the archive must be known to hold all until then
	w.End()
	var plan struct {
		Stop  struct{ GTID string }
		First struct{ GTID string } `json:"first_not_applied"`
	}
	w.JSON(&plan, "restore", "shop", "--dry-run", "--to-time", moment.Format(time.RFC3339))
	if plan.Stop.GTID != truth.GTIDPos || plan.First.GTID != lastOf(dropped) {
		t.Errorf("the plan stops at %s before %s; it is to stop at %s before the DROP, %s", plan.Stop.GTID, plan.First.GTID, truth.GTIDPos, lastOf(dropped))
	}
	w.RestoreEquals(truth, "--to-time", moment.Format(time.RFC3339))
}

// TestCatBounds: --from and --to find a transaction by the GTID of each server.
func TestCatBounds(t *testing.T) { kit.Each(t, "", kit.Servers(1), catBounds) }

func catBounds(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE shop")
	var ids []string
	for i := range 3 {
		ids = append(ids, gtidOf(w, fmt.Sprintf("CREATE TABLE shop.t%d (id INT)", i)))
		w.Settle()
		w.Server.Exec("FLUSH BINARY LOGS")
	}
	w.End()
	for i, id := range ids {
		var files struct{ Files []struct{ Name string } }
		dir := within(t, "cat")
		w.JSON(&files, "cat", "shop", "--from", id, "--to", id, "--output", dir)
		if len(files.Files) != 1 {
			t.Fatalf("cat from %s to the same: %+v", id, files)
		}
		data, err := os.ReadFile(filepath.Join(dir, files.Files[0].Name))
		if err != nil {
			t.Fatal(err)
		}
		for k := range ids {
			if there := bytes.Contains(data, fmt.Appendf(nil, "CREATE TABLE shop.t%d ", k)); there != (k == i) {
				t.Errorf("cat from %s to the same, which created table %d, has the creation of table %d: %v", id, i, k, there)
			}
		}
	}
	absent := "0-1-99999999"
	if b.Flavor == servertest.MySQL {
		absent = w.Server.Value("SELECT @@server_uuid") + ":99999999"
	}
	w.Refused(13, "cat", "shop", "--from", absent, "--output", within(t, "none"))
}
