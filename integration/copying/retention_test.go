package copying

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/internal/fault"
)

func TestMain(m *testing.M) { kit.Main(m) }

// TestRetention lets base backups and log of an archive expire that is written to, killed again and again:
// what is promised restores to what the server held, a base backup that is kept to its own end, what has
// expired is refused, and the archive verifies at every moment. In the end the daemon does it by itself.
func TestRetention(t *testing.T) {
	kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) { newWorld(t, b).retention() })
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
	w.T.Helper()
	var list struct{ Clusters []listed }
	if w.JSON(&list, "list"); len(list.Clusters) != 1 {
		w.T.Fatalf("%+v", list)
	}
	return list.Clusters[0]
}

func (w *world) retention() {
	seed := uint64(time.Now().UnixNano())
	w.T.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w.write(5)
	w.Start()
	w.AwaitBase()
	first := w.Server.Value(sums)
	kept := w.list().Bases[0]
	w.run(fault.None, "keep", kept.ID, "--forever")
	w.run(fault.Unreachable, "keep", "20000101T000000Z-0000", "--forever")
	w.run(fault.None, "expire") // no retention: nothing
	w.write(10)
	early := w.Server.Position()
	w.write(5)
	w.run(fault.None, "backup")
	w.write(10)
	w.run(fault.None, "backup")
	w.write(5)
	middle, then := w.Server.Position(), w.Server.Value(sums)
	w.write(5)
	w.run(fault.None, "backup")
	w.write(5)
	w.Settle()
	if n := len(w.list().Bases); n != 4 {
		w.T.Fatalf("%d base backups", n)
	}

	w.Configure(func(s *kit.Setup) {
		s.Cluster = append(slices.Clip(lines), `retention: {min_backups: 1, max_backups: 2, grace: 0s, schedule: "* * * * *"}`)
	})
	w.run(fault.None, "expire", "--dry-run")
	if n := len(w.list().Bases); n != 4 {
		w.T.Fatalf("after a dry run there are %d base backups", n)
	}
	kills := 0
	for limit := kit.Count(w.T, 5); kills < limit; kills++ {
		if !w.killed(time.Duration(10+rng.IntN(60*(kills+1)))*time.Millisecond, "expire") {
			break
		}
		w.run(fault.None, "verify", "--data")
	}
	w.T.Logf("killed %d times", kills)
	w.run(fault.None, "expire")
	w.run(fault.None, "verify", "--data")
	list := w.list()
	if len(list.Bases) != 3 || !list.Bases[0].Alone || !list.Bases[0].Kept || list.Bases[1].Alone || list.Timelines[0].Expired == 0 {
		w.T.Errorf("%+v", list)
	}
	w.restored(w.url("archive"))
	w.restoredTo(then, "--to-gtid", middle)
	w.restoredTo(first, "--to-position", kept.Source)
	out := w.run(fault.Unreachable, "restore", "--target-dir", w.Dir+"/none", "--to-gtid", early)
	if !strings.Contains(out, "can be restored from") || !strings.Contains(out, kept.ID) {
		w.T.Errorf("the refusal does not name what can be restored:\n%s", out)
	}

	w.Stop() // it goes on archiving, and does it by itself
	w.StartAhead()
	w.write(5)
	w.run(fault.None, "keep", kept.ID, "--release")
	w.run(fault.None, "backup")
	w.Settle()
	before := w.Daemon.Last.LastExpiry.Succeeded
	w.JumpClock()
	w.Await("it deletes by itself", func(s kit.Status) bool {
		return s.LastExpiry.Succeeded.After(before) && s.LastExpiry.Error == "" && len(w.list().Bases) == 2
	})
	w.run(fault.None, "verify", "--data")
	w.restored(w.url("archive"))
}
