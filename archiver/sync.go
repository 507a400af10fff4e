package archiver

import (
	"context"
	"sync"
	"time"

	"tidemark/internal/binlog"
	"tidemark/internal/durable"
	"tidemark/internal/failpoint"
)

// syncAge is the least time between two syncs, unless a commit waits. A group of events is synced when
// the source has no more in memory, which is so at least once in every buffer of it.
const syncAge = 20 * time.Millisecond

// syncs syncs a file for several goroutines. The kernel tells of an error once, and only to one of
// those that sync at that time: so they go one after another, and the first error is everyone's.
type syncs struct {
	mu  sync.Mutex
	err error
}

func (s *syncs) sync(f durable.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		failpoint.Before(failpoint.SpoolSync)
		s.err = f.Sync()
		failpoint.After(failpoint.SpoolSync)
	}
	return s.err
}

// kick tells the sync loop that the open segment's file has more bytes.
func (a *Archiver) kick() {
	signal(a.dirty)
	if a.o.Ack == AckSpool && a.open != nil && a.open.asked.File != "" {
		signal(a.hurry)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// syncLoop syncs the open segment whenever it has new whole transactions in its file. While one
// sync runs, what arrives gathers for the next: many commits share it.
func (a *Archiver) syncLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.dirty:
		}
		a.mu.Lock()
		o := a.open
		if o == nil || a.failed != nil {
			a.mu.Unlock()
			continue
		}
		if err := o.flush(); err != nil {
			a.mu.Unlock()
			return err
		}
		upTo, end, gtid, commit := o.boundary(), o.end(), a.mstate.String(), o.tally.commit.Last
		asked, src, done := o.asked, a.src, upTo <= o.synced
		a.mu.Unlock()
		if done {
			continue
		}
		err := o.syncs.sync(o.file)

		a.mu.Lock()
		switch {
		case a.open != o: // sealed meanwhile, which synced it and closed the file
		case err != nil:
			_ = a.abandon(o, err) // for everyone to find, in failed
		default:
			if upTo > o.synced { // Resume may have synced more meanwhile
				o.synced = upTo
				a.spooledTo(end, gtid, commit)
			}
			if a.o.Ack == AckSpool && asked.File != "" && a.src == src { // no other server's file is meant
				a.acknowledge(asked)
				if o.asked == asked {
					o.asked = binlog.Point{}
				}
			}
		}
		failed := a.failed
		a.mu.Unlock()
		if failed != nil {
			return failed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.hurry:
		case <-a.o.Clock.After(syncAge):
		}
	}
}

// syncOpen syncs the open segment up to its last boundary. Nothing may be streaming.
func (a *Archiver) syncOpen() error {
	o := a.open
	if o == nil || o.boundary() <= o.synced {
		return nil
	}
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.syncs.sync(o.file); err != nil {
		return a.abandon(o, err)
	}
	o.synced = o.boundary()
	a.spooledTo(o.end(), a.mstate.String(), o.tally.commit.Last)
	return nil
}

// abandon cuts the open segment back to what an earlier sync made durable: after a failed sync
// nothing is known of the bytes since, and a second sync would prove nothing. The archiver stops;
// opened again, it asks the source for what was dropped.
func (a *Archiver) abandon(o *open, cause error) error {
	if o.synced > o.head {
		_ = o.file.Truncate(int64(o.synced))
	} else {
		_ = a.removeSpooled(o.number)
	}
	return a.fail("sync a segment in", cause)
}

// spooledTo moves the spooled watermark, which never goes back.
func (a *Archiver) spooledTo(p binlog.Point, gtid string, commit time.Time) {
	a.stats.Spooled = Point{Point: p, GTID: gtid, Commit: commit, At: a.o.Clock.Now()}
	if a.open != nil {
		a.stats.SpoolBytes = a.spoolBytes()
	}
}

// spoolBytes is what the spool holds that is not archived.
func (a *Archiver) spoolBytes() int64 {
	var n int64
	for _, s := range a.queue {
		n += int64(s.seg.HeadBytes + s.seg.BodyBytes)
	}
	if a.open != nil {
		n += int64(a.open.size)
	}
	return n
}
