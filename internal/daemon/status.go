package daemon

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/archiver"
	"tidemark/internal/fault"
	pb "tidemark/proto/status"
)

// status is a cluster's part of the status message.
func (c *cluster) status(now time.Time) *pb.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &c.view
	m := &pb.Cluster{Name: c.cfg.Name, Host: v.host.String(), Reconnects: v.reconnects, ChecksumFailures: v.checksums,
		SpoolLimitBytes: uint64(c.cfg.Spool.MaxSize)}
	m.ServerIdClash = v.identity.clash
	m.Lease = leaseStatus(c.lease)
	if v.err != nil {
		m.Error, m.Hint = v.err.Error(), fault.HintOf(v.err)
	} else if v.unaccepted != nil {
		m.Error, m.Hint = v.unaccepted.Error(), fault.HintOf(v.unaccepted)
	}
	for _, lack := range v.missing {
		m.Missing = append(m.Missing, &pb.Missing{Setting: lack.Setting, Value: lack.Value, Lacks: lack.Lacks()})
	}
	m.MissingUnaccepted = v.unaccepted != nil
	if v.server != nil {
		m.Flavor, m.ServerVersion = v.server.Flavor.String(), v.server.Version
	}
	if !v.primary.at.IsZero() {
		m.Primary = &pb.Point{File: v.primary.File, Offset: v.primary.Offset, Gtid: v.primary.gtid, At: timestamppb.New(v.primary.at)}
	}
	v.backup.fill(m)
	v.verify.fill(m)
	v.expiry.fill(m)
	if c.arch == nil {
		m.State = c.state(archiver.Stats{}, now)
		return m
	}
	s := c.arch.Stats()
	if c.cfg.Compaction.Size > 0 {
		v.compaction.fill(m, s.KeptBytes)
	}
	m.State = c.state(s, now)
	m.Timeline, m.TimelineReason, m.TimelineBegan = c.timeline.Number, c.timeline.Reason, timestamppb.New(c.timeline.Created)
	m.Received, m.Spooled, m.Archived = point(s.Received), point(s.Spooled), point(s.Archived)
	m.ReceivedBytes, m.ReceivedEvents, m.ReceivedTransactions = s.ReceivedBytes, s.ReceivedEvents, s.ReceivedTransactions
	m.DuplicateBytes, m.Syncs = s.DuplicateBytes, s.Syncs
	m.SpoolBytes, m.SpoolSegments = uint64(s.SpoolBytes), s.SpoolSegments
	m.UploadFailures, m.Segments = s.UploadFailures, s.ArchivedSegment
	if s.UploadError != nil && m.Error == "" {
		m.Error, m.Hint = s.UploadError.Error(), fault.HintOf(s.UploadError)
	}
	if !s.CoveredUntil.IsZero() {
		m.CoveredUntil = timestamppb.New(s.CoveredUntil)
	}
	if b := c.unheldLocked(s.Barrier); b != nil {
		m.Barrier = &pb.Barrier{Kind: b.Kind, What: b.What, Gtid: b.GTID, Time: timestamppb.New(b.Time), Timeline: b.Timeline, Segment: b.Segment, Offset: b.Offset}
	}
	v.semi.fill(m, c.cfg.Ack, s)
	m.SpooledLagSeconds = c.lag(s.Spooled, now)
	m.ArchivedLagSeconds = c.lag(s.Archived, now)
	if !v.earliest.IsZero() {
		latest := s.Archived.Commit
		if s.CoveredUntil.After(latest) {
			latest = s.CoveredUntil
		}
		m.Window = &pb.Window{Earliest: timestamppb.New(v.earliest), Latest: timestamppb.New(latest)}
	}
	return m
}

// lag is how long ago the newest transaction behind a watermark was committed; 0 when the watermark
// is where the primary's binlog ends.
func (c *cluster) lag(p archiver.Point, now time.Time) float64 {
	if p.Commit.IsZero() || p.Point == c.view.primary.Point {
		return 0
	}
	if c.view.server != nil {
		now = now.Add(c.view.server.ClockGap)
	}
	return max(0, now.Sub(p.Commit).Seconds())
}

// stalledAfter: the primary is ahead, and this long nothing has arrived.
const stalledAfter = 30 * time.Second

// state tells idle from stalled: idle means that the primary's position is ours.
func (c *cluster) state(s archiver.Stats, now time.Time) pb.State {
	v := &c.view
	switch {
	case v.state == halted:
		return pb.State_STATE_STOPPED
	case v.state == standingBy:
		return pb.State_STATE_STANDING_BY
	case v.state == waiting:
		return pb.State_STATE_WAITING
	case v.state == connecting || !s.Streaming:
		return pb.State_STATE_CONNECTING
	case v.primary.at.IsZero():
		return pb.State_STATE_STREAMING
	case s.Received.Point == v.primary.Point:
		return pb.State_STATE_IDLE
	case s.SpoolFull:
		return pb.State_STATE_STALLED
	case c.progress(s, now) > stalledAfter:
		return pb.State_STATE_STALLED
	case s.Received.File != v.primary.File:
		return pb.State_STATE_CATCHING_UP
	}
	return pb.State_STATE_STREAMING
}

// progress is how long ago the received position last changed, as seen by the callers of state.
func (c *cluster) progress(s archiver.Stats, now time.Time) time.Duration {
	if s.ReceivedBytes != c.seen.bytes || c.seen.at.IsZero() {
		c.seen.bytes, c.seen.at = s.ReceivedBytes, now
	}
	return now.Sub(c.seen.at)
}

func point(p archiver.Point) *pb.Point {
	m := &pb.Point{File: p.File, Offset: p.Offset, Gtid: p.GTID}
	if !p.Commit.IsZero() {
		m.CommitTime = timestamppb.New(p.Commit)
	}
	if !p.At.IsZero() {
		m.At = timestamppb.New(p.At)
	}
	return m
}

// readyLag is the durable lag above which a cluster is not ready.
const readyLag = 60

// ready reports whether the cluster streams and its archive is not far behind, and if not, why.
func ready(m *pb.Cluster) (bool, string) {
	switch m.State {
	case pb.State_STATE_STREAMING, pb.State_STATE_IDLE, pb.State_STATE_CATCHING_UP:
	case pb.State_STATE_STANDING_BY:
		return false, "another archiver holds the lease: " + m.GetLease().GetHost()
	default:
		why := "not streaming"
		if m.Error != "" {
			why = m.Error
		}
		return false, why
	}
	if m.MissingUnaccepted {
		return false, m.Error
	}
	if b := m.Barrier; b != nil {
		return false, "no restore gets past what the log holds, and no base backup is behind it: " + b.What
	}
	if m.ArchivedLagSeconds > readyLag {
		return false, "the archive is behind"
	}
	if s := m.SemiSync; s != nil && !s.Kept {
		return false, "commits do not wait for our acknowledgement: " + s.Reason
	}
	return true, ""
}
