// Package stress tests what a stream must survive: sources that encrypt or compress, transactions larger
// than any memory, connections that are cut, stalled and damaged, and other replicas that take our name.
package stress

import (
	"tidemark/integration/kit"
)

// start archives, and bears it when a base backup fails: a killed one's copy may be taken for one that is
// still under way.
func start(w *kit.World) {
	w.T.Helper()
	w.Start()
	w.Daemon.BackupsMayFail = true
}

// streams tells whether there is a connection to the primary.
func streams(s kit.Status) bool {
	return s.State == "STATE_STREAMING" || s.State == "STATE_IDLE" || s.State == "STATE_CATCHING_UP"
}

// reached waits until all that the primary has now is archived. It may be written to meanwhile.
func reached(w *kit.World) {
	w.T.Helper()
	file, offset := w.Server.LogEnd()
	w.Await("what there is is archived", func(s kit.Status) bool {
		return s.Archived.File > file || s.Archived.File == file && s.Archived.Offset >= offset
	})
}
