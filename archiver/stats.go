package archiver

import (
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/gtid"
)

// Point is a watermark: a place in the source after a whole transaction.
type Point struct {
	binlog.Point
	GTID   string    // position there
	Commit time.Time // of the last transaction before it
	At     time.Time // when the watermark was moved there, by our clock
}

// Stats is what an archiver has done and where it is.
type Stats struct {
	Received Point
	Spooled  Point
	Archived Point

	ReceivedBytes        uint64
	ReceivedEvents       uint64
	ReceivedTransactions uint64
	DuplicateBytes       uint64 // seen again after a reconnect, compared and dropped
	ArchivedBytes        uint64 // as stored
	ArchivedSegment      uint64
	SpoolBytes           int64
	SpoolSegments        uint64
	SpoolFull            bool
	KeptBytes            int64 // archived, and in the spool until they are compacted
	Streaming            bool
	UploadFailures       uint64
	UploadError          error // while uploads fail
	CoveredUntil         time.Time
	Acks                 uint64        // acknowledgements sent
	Syncs                uint64        // of files and directories of the spool
	Head                 *catalog.Head // last written
	Barrier              *Barrier      // the newest that this archiver has seen, since the spool was begun; nil if there was none
}

// Stats returns a copy.
func (a *Archiver) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.SpoolBytes, s.Syncs = a.spoolBytes(), a.disk.syncs.Load()
	s.CoveredUntil = a.coveredUntil()
	if a.mstate != nil {
		s.Received.GTID = a.mstate.String()
	}
	if a.open != nil {
		s.SpoolSegments++
	}
	return s
}

// UUID is the archiver's persistent name; a primary sees it as the replica's.
func (a *Archiver) UUID() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Writer
}

// Reached is the state of the log behind the last whole transaction received; nil before the first.
func (a *Archiver) Reached() *gtid.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mstate == nil {
		return nil
	}
	return a.mstate.Clone()
}
