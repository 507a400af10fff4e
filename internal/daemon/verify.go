package daemon

import (
	"context"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
	"tidemark/internal/verify"
	pb "tidemark/proto/status"
	"tidemark/storage"
)

// verifyView is what the status says of checks of the archive.
type verifyView struct {
	position *verify.Position // nil: not read yet
	next     time.Time        // when the next one is due; zero: never
	running  time.Time        // since when; zero: none runs
	what     string
	progress verify.Progress
}

func (v *verifyView) fill(m *pb.Cluster) {
	if v.position != nil && v.position.Last != nil {
		o := v.position.Last
		m.LastVerification = &pb.Verification{Started: timestamppb.New(o.Started), Finished: timestamppb.New(o.Finished), What: o.What,
			Objects: uint64(o.Objects), ReadBytes: uint64(o.ReadBytes), Damage: uint64(o.Damage), Warnings: uint64(o.Warnings),
			FirstFinding: o.FirstFinding, Error: o.Error}
	}
	if !v.running.IsZero() {
		m.RunningVerification = &pb.Verification{Started: timestamppb.New(v.running), What: v.what,
			Objects: uint64(v.progress.Objects), ReadBytes: uint64(v.progress.Bytes)}
	}
	if !v.next.IsZero() {
		m.NextVerification = timestamppb.New(v.next)
	}
}

// verifications checks the archive by the schedule: all manifests and sizes, and each time another share of the
// data. What it finds is said in the log, the status and the metrics, and stops nothing.
func (c *cluster) verifications(ctx context.Context) error {
	position := c.verifyPosition()
	schedule := c.cfg.Verify.Schedule
	if schedule.Never() {
		return nil
	}
	for {
		// What was due while nothing ran is made up for.
		due := schedule.Next(c.o.Clock.Now())
		if last := position.Last; last != nil && schedule.Next(last.Finished).Before(due) {
			due = c.o.Clock.Now()
		}
		c.mu.Lock()
		c.view.verify.next = due
		c.mu.Unlock()
		for now := c.o.Clock.Now(); due.After(now); now = c.o.Clock.Now() {
			select {
			case <-ctx.Done():
				return nil
			case <-c.o.Clock.After(min(due.Sub(now), time.Minute)):
			}
		}
		position = c.verifyPosition() // a check by hand may have gone on
		c.verify(ctx, position)
		if ctx.Err() != nil {
			return nil
		}
		if err := position.Save(c.o.FS, c.dir("")); err != nil {
			c.log.Warn("the result of the check is not kept", zap.Error(err))
		}
		c.mu.Lock()
		c.view.verify.position = position
		c.mu.Unlock()
	}
}

// verifyPosition reads where the checks stand.
func (c *cluster) verifyPosition() *verify.Position {
	position, err := verify.ReadPosition(c.o.FS, c.dir(""))
	if err != nil {
		c.log.Warn("a new round of checks begins", zap.Error(err))
		position = new(verify.Position)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.verify.position = position
	return position
}

// verify checks the archive once, and moves the position.
func (c *cluster) verify(ctx context.Context, position *verify.Position) {
	now := *position
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.view.verify.running = time.Time{}
		if ctx.Err() == nil {
			*position = now
		}
	}()
	o := verify.Options{Workers: 1, Clock: c.o.Clock, Anchor: c.arch.Anchor(), Progress: func(p verify.Progress) {
		c.mu.Lock()
		c.view.verify.progress = p
		c.mu.Unlock()
	}}
	if parts := c.cfg.Verify.Data.Parts(); parts > 0 {
		o.Data, o.Stored = c.o.Recipients == nil, c.o.Recipients != nil
		if parts > 1 {
			o.Subset = now.Next(parts)
		}
	}
	began := c.o.Clock.Now()
	report, err := c.runVerify(ctx, o)
	if fault.Is(err, fault.WrongKey) { // what was archived when there were recipients; no identity is here
		o.Data, o.Stored = false, true
		report, err = c.runVerify(ctx, o)
	}
	if report == nil {
		now.Last = &verify.Outcome{Started: began, Finished: c.o.Clock.Now(), What: o.What(), Error: err.Error()}
		if ctx.Err() == nil {
			c.log.Error("the archive could not be checked", zap.Error(err), zap.String("hint", fault.HintOf(err)))
		}
		return
	}
	now.Read(o.Subset)
	now.Last = report.Outcome(began, c.o.Clock.Now())
	fields := []zap.Field{zap.String("read", now.Last.What), zap.Int64("bytes", report.ReadBytes), zap.Duration("took", report.Duration)}
	if err == nil {
		c.log.Info("archive checked", fields...)
		return
	}
	c.log.Error("the archive is not as it should be", append(fields, zap.Error(err), zap.String("first", now.Last.FirstFinding), zap.String("hint", fault.HintOf(err)))...)
}

func (c *cluster) runVerify(ctx context.Context, o verify.Options) (*verify.Report, error) {
	c.mu.Lock()
	v := &c.view.verify
	v.running, v.what, v.progress = c.o.Clock.Now(), o.What(), verify.Progress{}
	c.mu.Unlock()
	store := c.store
	if rate := c.cfg.Verify.Bandwidth; rate > 0 {
		store = storage.Limit(store, int64(rate), c.o.Clock)
	}
	cat, err := catalog.Open(ctx, store, c.cfg.Name, c.o.Version)
	if err != nil {
		return nil, err
	}
	return verify.Run(ctx, cat, o)
}
