package daemon

import (
	"context"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/compact"
	"tidemark/internal/fault"
	pb "tidemark/proto/status"
)

// compactionView is what the status says of compaction: since the program started.
type compactionView struct {
	finished       time.Time // the last run that had something to do
	segments, into int
	bytes          int64
	removed        int
	failures       int
	err            error // of the last run
}

func (v *compactionView) fill(m *pb.Cluster, kept int64) {
	m.Compaction = &pb.Compaction{Segments: uint64(v.segments), Into: uint64(v.into), Bytes: uint64(v.bytes), RemovedObjects: uint64(v.removed),
		KeptBytes: uint64(kept), Failures: uint64(v.failures)}
	if !v.finished.IsZero() {
		m.Compaction.Finished = timestamppb.New(v.finished)
	}
	if v.err != nil {
		m.Compaction.Error = v.err.Error()
	}
}

// smallShare: a segment of up to this share of a compacted one is small enough to be put together with others. So what
// is written twice is never much of what a busy primary writes, and eight objects or more become one.
const smallShare = 8

// keepBytes is the size up to which archived segments stay in the spool to be compacted.
func (c *cluster) keepBytes() int64 { return int64(c.cfg.Compaction.Size) / smallShare }

// compactions puts small segments together as they fall due, from the bytes that the spool has kept, and removes what
// was replaced a grace ago. What fails is said in the status, and archiving goes on.
func (c *cluster) compactions(ctx context.Context) error {
	k := c.cfg.Compaction
	if k.Size == 0 {
		return nil
	}
	o := compact.Options{Size: int64(k.Size), Age: k.Age, Grace: k.Grace, Recipients: c.o.Recipients, Writer: c.arch.UUID(), Version: c.o.Version, Clock: c.o.Clock}
	if k.Grace == 0 {
		o.Grace = -1
	}
	every := within(k.Age/60, time.Second, time.Minute)
	sweepEvery := within(k.Grace/24, every, time.Hour)
	swept, from := c.o.Clock.Now(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.o.Clock.After(every):
		}
		if c.lease.Sure(ctx) != nil { // who has lost it leaves the archive alone
			continue
		}
		r, err := c.compact(ctx, o)
		if err == nil && c.o.Clock.Now().Sub(swept) >= sweepEvery {
			var s *compact.Report
			s, from, err = c.sweepCompacted(ctx, from, o)
			r.Removed, r.Locked, swept = s.Removed, s.Locked, c.o.Clock.Now()
		}
		if ctx.Err() != nil {
			return nil
		}
		c.compacted(r, err)
	}
}

func within(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }

// compact compacts what has fallen due.
func (c *cluster) compact(ctx context.Context, o compact.Options) (*compact.Report, error) {
	c.tidying.Lock()
	defer c.tidying.Unlock()
	list, err := c.arch.Kept(ctx)
	if err != nil {
		return new(compact.Report), err
	}
	r, through, err := compact.Kept(ctx, c.cat, c.arch, list, o)
	if ferr := c.arch.Forget(through); ferr != nil {
		return r, ferr
	}
	return r, err
}

func (c *cluster) sweepCompacted(ctx context.Context, from uint64, o compact.Options) (*compact.Report, uint64, error) {
	c.tidying.Lock()
	defer c.tidying.Unlock()
	return compact.Sweep(ctx, c.cat, c.timeline.Number, from, o)
}

// compacted records how a run ended.
func (c *cluster) compacted(r *compact.Report, err error) {
	c.mu.Lock()
	v := &c.view.compaction
	first := err != nil && v.err == nil
	v.err = err
	if err != nil {
		v.failures++
	}
	if r.Into+r.Removed > 0 {
		v.finished = c.o.Clock.Now()
	}
	v.segments, v.into, v.bytes, v.removed = v.segments+r.Segments, v.into+r.Into, v.bytes+r.Bytes, v.removed+r.Removed
	c.mu.Unlock()
	if r.Into+r.Removed > 0 {
		c.log.Info("segments compacted", zap.Int("segments", r.Segments), zap.Int("into", r.Into), zap.Int64("bytes", r.Bytes), zap.Int("removed objects", r.Removed))
	}
	if r.Locked > 0 {
		c.log.Info("the storage does not let go of compacted segments yet", zap.Int("objects", r.Locked))
	}
	if first {
		c.log.Warn("compaction failed, trying again", zap.Error(err), zap.String("hint", fault.HintOf(err)))
	}
}
