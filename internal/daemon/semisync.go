package daemon

import (
	"fmt"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"go.uber.org/zap"

	"tidemark/archiver"
	"tidemark/internal/config"
	pb "tidemark/proto/status"
	"tidemark/replica"
)

// semiView is how it stands with acknowledgements; under cluster.mu.
type semiView struct {
	stream  *replica.Stream   // the one that acknowledges; nil without a connection
	safe    bool              // it was requested as one that does
	primary *replica.SemiSync // as last asked; nil: not known
	told    string            // what was logged last: why the promise is not kept, or ""
	begun   bool              // anything was logged
	again   time.Duration     // after which a connection that does not acknowledge is made anew
}

// broken says why commits do not wait for our acknowledgement, or "".
func (v *semiView) broken() string {
	p := v.primary
	switch {
	case v.stream == nil:
		return "there is no stream"
	case p == nil:
		return "the primary has not been asked yet"
	case !p.Present:
		return "the primary has no semi-synchronous replication: on MySQL, install its plugin rpl_semi_sync_source"
	case !p.Enabled:
		return "semi-synchronous replication is off on the primary"
	case !v.safe:
		return "the spool holds more than the archive: acknowledgements begin when it has caught up"
	case !v.stream.SemiSync():
		return "the primary does not take us for a semi-synchronous replica: its plugin was installed after we had connected"
	case !p.On:
		return fmt.Sprintf("the primary does not wait: an acknowledgement took longer than %s", p.Timeout)
	}
	return ""
}

// askSemiSync asks the primary how it stands, and logs what has changed.
func (c *cluster) askSemiSync(conn *client.Conn) error {
	if c.cfg.Ack == config.AckNone {
		return nil
	}
	p, err := replica.ProbeSemiSync(conn)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &c.view.semi
	if q := v.primary; q != nil && p.No > q.No {
		c.log.Error("commits on the primary went on without our acknowledgement", zap.Uint64("commits", p.No-q.No), zap.Duration("timeout", p.Timeout))
	}
	v.primary = p
	why := v.broken()
	if v.begun && why == v.told {
		return nil
	}
	v.told, v.begun = why, true
	if why == "" {
		c.log.Info("commits on the primary wait for our acknowledgement", zap.String("wait_point", p.Point), zap.Duration("timeout", p.Timeout))
	} else {
		c.log.Error("commits on the primary do not wait for our acknowledgement: what is not archived yet can be lost with the primary",
			zap.String("reason", why), zap.Uint64("unacknowledged", p.No))
	}
	return nil
}

// fill writes the view into the status.
func (v *semiView) fill(m *pb.Cluster, ack config.Ack, s archiver.Stats) {
	if ack == config.AckNone {
		return
	}
	why := v.broken()
	m.SemiSync = &pb.SemiSync{Ack: string(ack), Kept: why == "", Reason: why, Sent: s.Acks}
	if p := v.primary; p != nil {
		m.SemiSync.PrimaryOn, m.SemiSync.WaitPoint, m.SemiSync.TimeoutSeconds = p.On, p.Point, p.Timeout.Seconds()
		m.SemiSync.Replicas, m.SemiSync.Waits = uint32(p.Replicas), uint32(p.Waits)
		m.SemiSync.Acknowledged, m.SemiSync.Unacknowledged = p.Yes, p.No
	}
}

// A connection is made anew to acknowledge over it after so long, twice as long each time that it did not
// help, up to the last.
const (
	againFirst = 15 * time.Second
	againLast  = 5 * time.Minute
)

// acknowledgeAgain ends a connection that could not acknowledge, because the archive was behind the
// spool when it was made, once it no longer is.
func (c *cluster) acknowledgeAgain(now time.Time) {
	s := c.arch.Stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.Ack == config.AckNone || c.leave == nil || c.view.semi.safe || s.UploadError != nil || !c.arch.Drained() ||
		now.Sub(c.view.since) < c.view.semi.again {
		return
	}
	c.view.semi.again = min(2*c.view.semi.again, againLast)
	c.leave(errDrained)
}
