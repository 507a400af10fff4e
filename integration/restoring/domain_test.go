package restoring

import (
	"fmt"
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

// TestDeletedDomain: a domain that is deleted from the binlog of MariaDB leaves the position, as the server's own list
// says, whatever of it was restored.
func TestDeletedDomain(t *testing.T) {
	kit.Each(t, servertest.MariaDB, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := archive(t, b, "CREATE DATABASE d", makeT)
		conn := w.Server.Conn()
		defer conn.Close()
		in := func(domain, n int) {
			t.Helper()
			for range n {
				execute(t, conn, fmt.Sprintf("SET SESSION gtid_domain_id=%d", domain), "INSERT INTO d.t VALUES ()", "SET SESSION gtid_domain_id=0")
			}
		}
		in(0, 2)
		in(5, 3)
		before := w.Truth("before")
		if !strings.Contains(before.GTIDPos, ",5-") {
			t.Fatalf("the primary is at %s", before.GTIDPos)
		}
		execute(t, conn, "FLUSH BINARY LOGS")
		w.SettleFiles()
		file, _ := w.Server.LogEnd()
		execute(t, conn, "PURGE BINARY LOGS TO '"+file+"'", "FLUSH BINARY LOGS DELETE_DOMAIN_ID=(5)")
		in(0, 2)
		across := w.Truth("across")
		if strings.Contains(across.GTIDPos, "5-") {
			t.Fatalf("the primary is at %s", across.GTIDPos)
		}
		in(0, 1)
		if end, listed := w.Settle(), listedPosition(w); listed != end {
			t.Errorf("the archive is listed as ending at %s, and the primary is at %s", listed, end)
		}
		backup(w)
		in(0, 2)
		after := w.Truth("after")
		in(5, 1) // it begins anew
		again := w.Truth("again")
		w.End()
		done(w, "verify", "shop", "--data")
		at := fmt.Sprintf("%s:%d", across.File, across.Pos)
		said := w.Server.Value(fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %d)", across.File, across.Pos))
		if p := planOf(w, "--to-position", at); p.Stop.GTID != said {
			t.Errorf("at %s the plan is at %s, and the server says %s", at, p.Stop.GTID, said)
		}
		w.RestoreEquals(before, "--to-gtid", before.GTIDPos)
		w.RestoreEquals(across, "--to-position", at)
		w.RestoreEquals(after, "--to-gtid", after.GTIDPos)
		w.RestoreEquals(again)
	})
}

// listedPosition is where the archive ends, as it is listed.
func listedPosition(w *kit.World) string {
	w.T.Helper()
	var all struct {
		Clusters []struct{ Timelines []struct{ Position string } }
	}
	w.JSON(&all, "list", "shop")
	return all.Clusters[0].Timelines[0].Position
}
