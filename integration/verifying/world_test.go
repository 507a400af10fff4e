package verifying

import (
	"context"
	"testing"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// world is a server whose log and base backups are in a plain and an encrypted archive.
type world struct {
	t        *testing.T
	srv      *servertest.Server
	load     *kit.Load
	archives []*archive
	truth    workload.Checkpoint
}

func newWorld(t *testing.T, b servertest.Binaries, seed uint64) *world {
	t.Helper()
	setup := kit.Setup{Binaries: b, Cluster: lines("100ms")}
	plain := kit.New(t, setup)
	setup.Server, setup.Encrypted = plain.Server, true
	sealed := kit.New(t, setup)
	sealed.Tool = sealed.Tool.With("TIDEMARK_ENCRYPTION_IDENTITY_FILE=" + sealed.Identity)
	// Without rotation: the rest of what base backups cannot be taken beside is left out anyway.
	load := plain.NewLoad(seed, workload.Options{MaxBlob: 4 << 10, Without: []workload.Group{workload.Rotation}})
	w := &world{t: t, srv: plain.Server, load: load}
	worlds := []*kit.World{plain, sealed}
	archiving(worlds, func() { w.write(worlds) })
	// From here on there is another history of the archive, as after a restart from a copy of all: its
	// segments are cut elsewhere.
	var others []*kit.World
	for _, a := range worlds {
		others = append(others, a.Copy(func(s *kit.Setup) { s.Cluster = lines("2s") }))
	}
	archiving(worlds, func() {
		for _, a := range worlds {
			a.RunTo([]int{0}, "backup")
		}
		w.write(worlds)
	})
	w.truth = plain.Truth("the end")
	archiving(others, func() {})
	for i, name := range []string{"plain", "encrypted"} {
		a := &archive{World: worlds[i], name: name, older: &archive{World: others[i], name: name}}
		a.read(plain.Server.Position())
		a.older.read(a.end)
		w.archives = append(w.archives, a)
	}
	return w
}

// lines of a cluster's configuration.
func lines(age string) []string {
	return []string{"segment: {max_age: " + age + "}", "heartbeat: 1s", "base: {part_size: 4MiB}"}
}

// archiving archives to each while f does something, and until all is archived.
func archiving(worlds []*kit.World, f func()) {
	for _, w := range worlds {
		w.Start()
		w.AwaitBase()
	}
	f()
	for _, w := range worlds {
		w.End()
	}
}

// write writes some transactions for each of ten segments, with a new binlog file now and then.
func (w *world) write(to []*kit.World) {
	w.t.Helper()
	for i := range 10 {
		if err := w.load.Run(context.Background(), to[0].Dial, 1, 6); err != nil {
			w.t.Fatal(err)
		}
		for _, a := range to {
			a.Settle()
		}
		if i%4 == 3 {
			w.srv.Exec("FLUSH BINARY LOGS")
		}
	}
}
