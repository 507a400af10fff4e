package daemon

import (
	"context"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/expire"
	"tidemark/internal/fault"
	pb "tidemark/proto/status"
)

// expiryView is what the status says of retention.
type expiryView struct {
	finished, succeeded time.Time // the last run, and the last that did what it was to do
	report              *expire.Report
	err                 error // of the last run
}

func (e *expiryView) fill(m *pb.Cluster) {
	if e.finished.IsZero() {
		return
	}
	m.LastExpiry = &pb.Expiry{Finished: timestamppb.New(e.finished), DeletedObjects: uint64(e.report.Deleted),
		DeletedBytes: uint64(e.report.Bytes), RefusedObjects: uint64(e.report.RefusedAll)}
	if !e.succeeded.IsZero() {
		m.LastExpiry.Succeeded = timestamppb.New(e.succeeded)
	}
	if p := e.report.Plan; p != nil && p.WindowBegins.Unix() > 0 {
		m.LastExpiry.WindowBegins = timestamppb.New(p.WindowBegins)
	}
	if e.err != nil {
		m.LastExpiry.Error = e.err.Error()
	}
}

// expiryRetry is when retention is tried again after it has failed, if its schedule does not come sooner.
const expiryRetry = time.Hour

// expiries deletes what the retention does not promise any more, by its schedule. What fails is said in the
// status, and archiving goes on.
func (c *cluster) expiries(ctx context.Context) error {
	r := c.cfg.Retention
	if r.Never() || r.Schedule.Never() {
		return nil
	}
	due := r.Schedule.Next(c.o.Clock.Now())
	for {
		now := c.o.Clock.Now()
		if !now.Before(due) {
			err := c.expire(ctx)
			if ctx.Err() != nil {
				return nil
			}
			now = c.o.Clock.Now()
			if due = r.Schedule.Next(now); err != nil && !fault.Is(err, fault.Warnings) && due.Sub(now) > expiryRetry {
				due = now.Add(expiryRetry)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.o.Clock.After(min(due.Sub(now), time.Minute)):
		}
	}
}

// expire runs retention once.
func (c *cluster) expire(ctx context.Context) error {
	c.tidying.Lock()
	defer c.tidying.Unlock()
	r, err := expire.Run(ctx, c.cat, expire.Options{Policy: expire.PolicyOf(c.cfg.Retention), Grace: c.cfg.Retention.Grace, Clock: c.o.Clock})
	if ctx.Err() != nil {
		return ctx.Err() // given up, not failed
	}
	now := c.o.Clock.Now()
	c.mu.Lock()
	v := &c.view.expiry
	v.finished, v.report, v.err = now, r, err
	if err == nil || fault.Is(err, fault.Warnings) {
		v.succeeded = now
	}
	c.mu.Unlock()
	fields := []zap.Field{zap.Int64("deleted objects", r.Deleted), zap.Int64("deleted bytes", r.Bytes), zap.Int64("waiting objects", r.Waiting)}
	if err != nil {
		c.log.Error("retention failed", append(fields, zap.Error(err), zap.String("hint", fault.HintOf(err)))...)
		return err
	}
	c.log.Info("retention done", fields...)
	c.readWindow(ctx)
	return nil
}
