package restoring

import (
	"strings"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// What a MySQL server is filled with, in no log: by a dump, a clone or xtrabackup.
const (
	filled = "aaaaaaaa-0000-0000-0000-000000000001:1-1000:imported:1-7"
	later  = "bbbbbbbb-0000-0000-0000-000000000001:1-10"
)

// TestFilledPrimary: a server that was filled with a copy of another one has executed what no log of its own holds, and
// never lists that in a binlog, whatever is rotated or restarted. It is restored to what it was, from every base backup.
func TestFilledPrimary(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := kit.Archived(t, kit.Setup{Binaries: b, SQL: []string{"SET GLOBAL gtid_purged='+" + filled + "'", "CREATE DATABASE d", makeT}})
		if !strings.Contains(w.Server.Position(), ":imported:1-7") {
			t.Fatalf("the primary is at %s", w.Server.Position())
		}
		w.SettleFiles()
		done(w, "verify", "shop") // the base backup is at the end of the log
		rows(w, 5)
		first := w.Truth("behind the first base backup")
		rows(w, 1)
		w.Server.Exec("FLUSH BINARY LOGS")
		w.Server.Restart()
		rows(w, 3)
		w.SettleFiles()
		second := backup(w)
		rows(w, 4)
		last := w.Truth("the end")
		w.SettleFiles()
		w.Stop()
		done(w, "verify", "shop", "--data")
		if p := planOf(w); p.Base.ID != second || p.Stop.GTID != last.GTIDPos {
			t.Errorf("the plan begins with %s, not with the newest base backup %s, and ends at %s, not at %s", p.Base.ID, second, p.Stop.GTID, last.GTIDPos)
		}
		w.RestoreEquals(last)
		w.RestoreEquals(last, "--to-gtid", last.GTIDPos)
		w.RestoreEquals(first, "--to-gtid", first.GTIDPos)
		w.Refused(13, "restore", "shop", "--dry-run", "--target-dir", within(t, "none"), "--to-gtid",
			strings.Replace(first.GTIDPos, "0001:1-1000", "0001:1-999", 1)) // the server was never there
	})
}

// TestPurgedWhileArchived: a running primary is told that it has what no log holds. Base backups before and after that
// serve what follows them; of what may have come with it, a restore from the earlier one across it warns.
func TestPurgedWhileArchived(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := archive(t, b, "CREATE DATABASE d", makeT)
		rows(w, 3)
		before := w.Truth("before")
		w.Server.Exec("SET GLOBAL gtid_purged='+" + later + "'")
		rows(w, 3)
		w.Server.Exec("FLUSH BINARY LOGS")
		between := w.Truth("between")
		rows(w, 2)
		w.SettleFiles()
		second := backup(w)
		rows(w, 2)
		last := w.Truth("the end")
		w.SettleFiles()
		w.Stop()
		done(w, "verify", "shop", "--data")
		if p := planOf(w); p.Base.ID != second {
			t.Errorf("the plan begins with %s, not with %s", p.Base.ID, second)
		}
		w.RestoreEquals(last)
		for _, target := range []workload.Checkpoint{before, between} {
			said := warned(w, "restore", "shop", "--dry-run", "--target-dir", within(t, "planned"), "--to-gtid", target.GTIDPos)
			if !strings.Contains(said, later+", which is in no log") {
				t.Errorf("nothing is said of %s:\n%s", later, said)
			}
		}
		w.RestoreEquals(before, "--to-gtid", before.GTIDPos)
		// Nobody knows when the server was told: what is restored has not executed it.
		between.GTIDPos = strings.Trim(strings.Replace(between.GTIDPos, later, "", 1), ",")
		w.RestoreEquals(between, "--to-gtid", between.GTIDPos)
	})
}

// TestResetAndFilled: the history of a primary is reset, and it is filled anew. What it writes then has the numbers of
// what was archived before, and no base backup of that serves it.
func TestResetAndFilled(t *testing.T) {
	kit.Each(t, servertest.MySQL, kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
		w := kit.Archived(t, kit.Setup{Binaries: b, SQL: []string{"CREATE DATABASE d", makeT},
			Cluster: append([]string{"fork_grace: 1s"}, kit.Brisk...)})
		rows(w, 3)
		old := w.Truth("the old history")
		w.End()
		w.Server.Exec("RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged='"+filled+"'")
		rows(w, 20)
		early := w.Server.Position()
		rows(w, 2)
		if !strings.Contains(early, old.GTIDPos[:36]+":1-20") {
			t.Fatalf("the primary was at %s, and is at %s", old.GTIDPos, early)
		}
		w.Start()
		w.AwaitBase()
		rows(w, 2)
		fresh := w.Truth("the new history")
		w.SettleFiles()
		w.Stop()
		done(w, "verify", "shop", "--data")
		w.RestoreEquals(fresh)
		w.RestoreEquals(old, "--timeline", "1")
		w.Refused(13, "restore", "shop", "--dry-run", "--target-dir", within(t, "none"), "--to-gtid", old.GTIDPos[:36]+":1-20")
	})
}
