package restoring

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/restore"
)

// TestFollow lets a standby follow the archive of a server that a workload writes to, kills it with
// `kill -9` meanwhile, stops it, lets it go on, and opens it: it equals the primary.
func TestFollow(t *testing.T) { kit.Each(t, "", kit.Servers(2), followLoad) }

func followLoad(t *testing.T, b servertest.Binaries) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	o := transactional(b)
	o.Pause = 20 * time.Millisecond
	w, load := busy(t, b, seed, o)
	target := within(t, "standby")

	f := follow(w, target)
	f.await("follow", func(s standingBy) bool { return s.Phase == "follow" && s.Follows })
	time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond) // a moment between two looks, or while it applies
	f.kill()

	f = follow(w, target)
	f.await("follow again", func(s standingBy) bool { return s.Phase == "follow" })
	if out := f.log.outcome(); !out.resumed || out.restarted {
		t.Errorf("killed while it followed, it began again: %s", out.why)
	}
	time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
	if mid := f.stop(); !mid.Paused || mid.Done || mid.GTID == "" {
		t.Errorf("stopped, it reports %+v", mid)
	}

	f = follow(w, target)
	load.End()
	end := gtidOf(w, "INSERT INTO marks.m VALUES ()")
	last := w.Truth("the end")
	w.End()
	f.applied(end)
	if out := f.log.outcome(); !out.resumed || out.restarted {
		t.Errorf("stopped while it followed, it began again: %s", out.why)
	}
	report := f.stop()
	if !report.Paused || report.GTID != last.GTIDPos {
		t.Errorf("stopped at %s, paused %v; the primary was at %s", report.GTID, report.Paused, last.GTIDPos)
	}

	said := w.Run("restore", "shop", "--target-dir", target, "--to-gtid", report.GTID, "--json")
	var opened restore.Report
	err := json.Unmarshal([]byte(said), &opened)
	if err != nil || !opened.Done || opened.Resumed == nil || opened.Restarted || opened.GTID != last.GTIDPos {
		t.Errorf("opened: %v, %s", err, said)
	}
	w.TargetEquals(target, last)
}

// TestFollowRest kills a standby that has applied all there is, lets it come back to rest without anything new, and go on:
// nothing is applied twice.
func TestFollowRest(t *testing.T) { kit.Each(t, "", kit.Servers(2), followRest) }

func followRest(t *testing.T, b servertest.Binaries) {
	w := archive(t, b, "CREATE DATABASE d", "CREATE TABLE d.t (v INT)")
	target := within(t, "standby")
	w.Server.Exec("INSERT INTO d.t VALUES (1), (2)")
	last := gtidOf(w, "INSERT INTO d.t VALUES (3)")
	w.Settle()
	f := follow(w, target)
	f.applied(last)
	f.kill()
	f = follow(w, target)
	f.applied(last)
	f.looks(2)
	last = gtidOf(w, "INSERT INTO d.t VALUES (4)")
	end := w.End()
	f.applied(last)
	if report := f.stop(); report.GTID != end {
		t.Errorf("the primary is at %s, the standby at %s", end, report.GTID)
	}
	open(w, target, func(again *servertest.Server) {
		if got := again.Value("SELECT GROUP_CONCAT(v ORDER BY v) FROM d.t"); got != "1,2,3,4" {
			t.Errorf("rows %s", got)
		}
	})
}

// TestFollowDelay: a standby that lags by choice applies nothing that is younger than its delay, is not moved
// back by a longer one, ends at a time, and is opened before an accident.
func TestFollowDelay(t *testing.T) { kit.Each(t, "", kit.Servers(2), followDelay) }

func followDelay(t *testing.T, b servertest.Binaries) {
	const delay = 8 * time.Second // much longer than it takes to archive
	w := archive(t, b, "CREATE DATABASE d",
		"CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(99), at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6))")
	target := within(t, "standby")
	// When it begins, some are older than the delay, and some are not.
	for end := time.Now().Add(delay + time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		w.Server.Exec("INSERT INTO d.t (v) VALUES ('before')")
	}
	f := follow(w, target, "--delay", delay.String())
	var last standingBy
	f.await("a transaction older than the delay", func(s standingBy) bool {
		w.Server.Exec("INSERT INTO d.t (v) VALUES ('meanwhile')")
		last = s
		return s.Phase == "follow" && s.LastApplied != "" && s.PhaseSeconds > 3 // it has looked again
	})
	if age := time.Since(last.LastAppliedTime); age < delay-time.Second || last.BehindSeconds < 1 || last.DelaySeconds != delay.Seconds() {
		t.Errorf("the last transaction applied is %s old, with a delay of %s: %+v", age, delay, last)
	}
	// It is stopped at rest: the last one that is due was committed seconds before the next one.
	due := gtidOf(w, "INSERT INTO d.t (v) VALUES ('due')")
	time.Sleep(delay / 2)
	w.Server.Exec("INSERT INTO d.t (v) VALUES ('not due')")
	f.await("apply "+due, func(s standingBy) bool { return s.LastApplied == due })
	stopped := f.stop()
	if !stopped.Paused {
		t.Errorf("stopped, it reports %+v", stopped)
	}

	// With a longer delay it waits where it is, and begins nothing again.
	f = follow(w, target, "--delay", "1h")
	f.await("follow with a longer delay", func(s standingBy) bool { return s.Phase == "follow" })
	if out := f.log.outcome(); !out.resumed || out.restarted {
		t.Errorf("with a longer delay it began again: %s", out.why)
	}
	if again := f.stop(); again.GTID != stopped.GTID {
		t.Errorf("with a longer delay it went from %s to %s", stopped.GTID, again.GTID)
	}

	// It ends at a time by itself.
	at := clock(w.Server).Add(2 * time.Second)
	f = follow(w, target, "--to-time", at.Format(time.RFC3339))
	for !clock(w.Server).After(at.Add(time.Second)) {
		w.Server.Exec("INSERT INTO d.t (v) VALUES ('around the end')")
		time.Sleep(100 * time.Millisecond)
	}
	w.End()
	want := w.Server.Value(fmt.Sprintf("SELECT COUNT(*) FROM d.t WHERE at < FROM_UNIXTIME(%d)", at.Unix()))
	if report := f.end(); !report.Done || report.Paused {
		t.Errorf("at the end it reports %+v", report)
	}
	open(w, target, func(again *servertest.Server) {
		if got := again.Value("SELECT COUNT(*) FROM d.t"); got != want {
			t.Errorf("%s rows at %s, want %s", got, at, want)
		}
	})
}
