package copying

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"tidemark/integration/harness"
	"tidemark/integration/servertest"
	"tidemark/internal/fault"
)

// TestRetention lets base backups and log of an archive expire that is written to, killed again and again:
// what is promised restores to what the server held, a base backup that is kept to its own end, what has
// expired is refused, and the archive verifies at every moment. In the end the daemon does it by itself.
func TestRetention(t *testing.T) {
	servertest.Each(t, "", func(t *testing.T, b servertest.Binaries) {
		harness.Use(t, b)
		newWorld(t, b).retention()
	})
}

// listed is what the tool tells of an archive.
type listed struct {
	Bases []struct {
		ID, Source  string
		Kept, Alone bool
	}
	Timelines []struct {
		Expired uint64 `json:"expired_through"`
	}
}

func (w *world) list() listed {
	w.t.Helper()
	var list struct{ Clusters []listed }
	if err := json.Unmarshal([]byte(w.run(fault.None, "list", "--json")), &list); err != nil || len(list.Clusters) != 1 {
		w.t.Fatalf("%+v, %v", list, err)
	}
	return list.Clusters[0]
}

func (w *world) retention() {
	seed := uint64(time.Now().UnixNano())
	w.t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w.write(5)
	d := w.start()
	w.await(d, func(c harness.Status) bool { return c.LastBackup.ID != "" })
	first := w.srv.Value(sums)
	kept := w.list().Bases[0]
	w.run(fault.None, "keep", kept.ID, "--forever")
	w.run(fault.Unreachable, "keep", "20000101T000000Z-0000", "--forever")
	w.run(fault.None, "expire") // no retention: nothing
	w.write(10)
	early := w.position()
	w.write(5)
	w.run(fault.None, "backup")
	w.write(10)
	w.run(fault.None, "backup")
	w.write(5)
	middle, then := w.position(), w.srv.Value(sums)
	w.write(5)
	w.run(fault.None, "backup")
	w.write(5)
	w.settled(d)
	if n := len(w.list().Bases); n != 4 {
		w.t.Fatalf("%d base backups", n)
	}

	data, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	const policy = "    retention: {min_backups: 1, max_backups: 2, grace: 0s, schedule: \"* * * * *\"}\n"
	data = bytes.Replace(data, []byte("    heartbeat:"), []byte(policy+"    heartbeat:"), 1)
	if err := os.WriteFile(w.config, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.run(fault.None, "expire", "--dry-run")
	if n := len(w.list().Bases); n != 4 {
		w.t.Fatalf("after a dry run there are %d base backups", n)
	}
	kills := 0
	for limit := harness.Count(w.t, 5); kills < limit && w.killed(time.Duration(10+rng.IntN(60*(kills+1)))*time.Millisecond, "expire"); kills++ {
		w.run(fault.None, "verify", "--data")
	}
	w.t.Logf("killed %d times", kills)
	w.run(fault.None, "expire")
	w.run(fault.None, "verify", "--data")
	list := w.list()
	if len(list.Bases) != 3 || !list.Bases[0].Alone || !list.Bases[0].Kept || list.Bases[1].Alone || list.Timelines[0].Expired == 0 {
		w.t.Errorf("%+v", list)
	}
	w.restored(w.url("archive"))
	w.restoredTo(then, "--to-gtid", middle)
	w.restoredTo(first, "--to-position", kept.Source)
	out := w.run(fault.Unreachable, "restore", "--target-dir", w.dir+"/none", "--to-gtid", early)
	if !strings.Contains(out, "can be restored from") || !strings.Contains(out, kept.ID) {
		w.t.Errorf("the refusal does not name what can be restored:\n%s", out)
	}

	if err := d.Stop(); err != nil { // it goes on archiving, and does it by itself
		w.t.Fatal(err)
	}
	d = w.start()
	w.write(5)
	w.run(fault.None, "keep", kept.ID, "--release")
	w.run(fault.None, "backup")
	w.settled(d)
	for deadline := time.Now().Add(3 * time.Minute); len(w.list().Bases) != 2; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			w.t.Fatal("the daemon deletes nothing")
		}
	}
	w.await(d, func(c harness.Status) bool { return !c.LastExpiry.Succeeded.IsZero() && c.LastExpiry.Error == "" })
	w.run(fault.None, "verify", "--data")
	w.restored(w.url("archive"))
}
