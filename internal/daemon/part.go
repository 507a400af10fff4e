package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"go.uber.org/zap"

	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// Why a new timeline begins.
const (
	reasonFork  = "failover" // a primary lacks transactions that are archived
	reasonReset = "reset"    // a primary has another history altogether
	reasonGap   = "gap"      // what comes next was purged before it was archived
	reasonKept  = "restore"  // a primary was restored, and has kept the binlog of the one before
)

// parting is the end of a session: the log cannot go on on its timeline.
type parting struct {
	reason     string
	host       config.Address
	err        error // how it showed
	unfinished error // why the old timeline could not be archived to its end
}

func (p *parting) Error() string { return p.err.Error() }
func (p *parting) Unwrap() error { return p.err }

// isParting reports whether an error ends a session for a new timeline.
func isParting(err error) bool {
	var p *parting
	return errors.As(err, &p)
}

// apart is the end of the session because of err, which is about a host. Where it is not clear which one is
// the primary, it returns what is to be done.
func (c *cluster) apart(reason string, host config.Address, err error) error {
	lacking := replica.Lacking(err)
	switch {
	case reason == reasonGap, reason == reasonKept:
	case len(lacking) == 1:
		host = c.cfg.Hosts[lacking[0]]
	case len(lacking) > 1:
		return fault.New(fault.Primary, "continue the archive", c.cfg.Name, err).
			WithHint("It is not clear which host is the primary: let only that one take writes, or list only that one.")
	case replica.Unchosen(err):
		return err
	}
	return &parting{reason: reason, host: host, err: err}
}

// part begins a new timeline with the history that a host has. The old one is archived to its end.
func (c *cluster) part(ctx context.Context, p *parting) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.keepLease(ctx, cancel)() // the session's is over, and this may take its time
	if p.unfinished != nil {
		return fault.New(fault.KindOf(p.unfinished), "archive the old history to its end before the new one of", p.host.String(), p.unfinished).
			WithHint(fault.HintOf(p.unfinished))
	}
	o, err := Connection(c.cfg, p.host)
	if err != nil {
		return err
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	server, err := c.mayPart(ctx, conn, p)
	if err != nil {
		return err
	}
	parent, fork, reason, err := c.fork(ctx, o, conn, server, p)
	if err != nil {
		return err
	}
	t := &catalog.Timeline{Number: c.timeline.Number + 1, Parent: parent, ParentSegment: fork.Segment, ParentBodyOffset: fork.BodyOffset,
		Position: fork.Position, Seed: fork.Seed, Reason: reason, Created: c.o.Clock.Now(), Abandoned: fork.Abandoned}
	if reason != reasonFork {
		start, err := startOf(conn, server.Flavor, reason)
		if err != nil {
			return err
		}
		t.Gaps = []catalog.Gap{{From: fork.Position, To: catalog.Position{GTID: start}, Noticed: c.o.Clock.Now()}}
	}
	if err := c.lease.Sure(ctx); err != nil {
		return err
	}
	if err := c.cat.PutTimeline(ctx, t); err != nil {
		return err
	}
	c.mu.Lock()
	c.view.backup.again, c.view.backup.wait = time.Time{}, 0 // what kept a base backup of the old one from being taken need not concern this one's
	c.mu.Unlock()
	c.log.Error("a new timeline begins: the primary's history is not the archived one any more", zap.Uint32("timeline", t.Number), zap.Uint32("parent", t.Parent),
		zap.String("reason", reason), zap.Stringer("host", p.host), zap.String("position", fork.Position.GTID), zap.Uint64("segment", fork.Segment),
		zap.Strings("abandoned", t.Abandoned[:min(len(t.Abandoned), 10)]), zap.Error(p.err))
	return nil
}

// startOf is the GTID position at which the log of a timeline begins that does not go on from its parent.
func startOf(conn *client.Conn, flavor gtid.Flavor, reason string) (string, error) {
	if reason != reasonKept {
		return replica.StartPosition(conn, flavor)
	}
	_, position, err := replica.Position(conn, flavor) // at about the beginning of the newest file
	return position, err
}

// mayPart checks that a host is a primary whose history may be taken for the cluster's.
func (c *cluster) mayPart(ctx context.Context, conn *client.Conn, p *parting) (*replica.Server, error) {
	server, err := replica.Probe(conn, c.o.Clock.Now)
	if err == nil {
		err = server.Archivable()
	}
	if err != nil {
		return nil, err
	}
	replicates, err := replica.Replicates(conn, server.Flavor)
	if err != nil {
		return nil, err
	}
	if p.reason != reasonGap && (server.ReadOnly || replicates) {
		return nil, fault.New(fault.Primary, "follow", p.host.String(), fmt.Errorf("it takes no writes or replicates from another server: %w", p.err)).
			WithHint("Wait until it has caught up, or name the primary in hosts.")
	}
	history, err := replica.ReadHistory(conn, server.Flavor)
	if err != nil {
		return nil, err
	}
	lineage, err := c.cat.Lineage(ctx, c.timeline.Number)
	if err != nil {
		return nil, err
	}
	for _, t := range lineage {
		for _, text := range t.Abandoned {
			if c.leftBehind(history, server.Flavor, text) {
				return nil, fault.New(fault.Primary, "follow", p.host.String(), fmt.Errorf("it has %s, which timeline %d left behind: it is the server that was parted from", text, t.Number)).
					WithHint("Rebuild that server as a replica of the primary. To archive it all the same, use another cluster name.")
			}
		}
	}
	return server, nil
}

// leftBehind reports whether a server has any of what a timeline calls abandoned. A MariaDB server that
// was rebuilt and is the primary again counts on, and its earlier numbers prove nothing.
func (c *cluster) leftBehind(h *replica.History, flavor gtid.Flavor, text string) bool {
	if flavor == gtid.MySQL {
		set, err := gtid.ParseSet(text)
		return err == nil && h.Intersects(set)
	}
	g, err := gtid.Parse(text)
	if err != nil || !h.Has(g) {
		return false
	}
	if reached := c.arch.Reached(); reached != nil {
		for _, later := range reached.List() {
			if later.Domain == g.Domain && later.Server == g.Server && later.Seq >= g.Seq {
				return false
			}
		}
	}
	return true
}

// fork finds where the host's history leaves the archived one, on which timeline of its past, and whether
// it does so at all or is another one from its beginning. Equal numbers prove nothing: a server that was
// reset counts from 1 again.
func (c *cluster) fork(ctx context.Context, o replica.Options, conn *client.Conn, server *replica.Server, p *parting) (uint32, *catalog.Fork, string, error) {
	number := c.timeline.Number
	apart := func(reason string) (uint32, *catalog.Fork, string, error) {
		end, err := c.cat.End(ctx, number)
		return number, end, reason, err
	}
	last, err := c.cat.Last(ctx, number)
	switch {
	case err != nil:
		return 0, nil, "", err
	case p.reason == reasonGap, p.reason == reasonKept:
		return apart(p.reason)
	case last == nil && !c.timeline.Continues():
		return apart(reasonReset)
	}
	known := last != nil && last.Source.ServerID == server.ID && last.Source.ServerUUID == server.UUID
	if known {
		// The server that was archived: it has lost its end in a crash, or its binlog is another one.
		format, err := c.format(ctx, o, last.Source.File)
		if err != nil && !errors.Is(err, replica.ErrNoFile) {
			return 0, nil, "", err
		}
		if err != nil || format.Fingerprint() != last.Source.Format {
			return apart(reasonReset)
		}
	}
	history, err := replica.ReadHistory(conn, server.Flavor)
	if err != nil {
		return 0, nil, "", err
	}
	on := c.timeline
	fork, err := c.cat.FindFork(ctx, on.Number, history)
	for err == nil && fork.Apart && on.Continues() { // it parted earlier
		if on, err = c.cat.Timeline(ctx, on.Parent); err == nil {
			fork, err = c.cat.FindFork(ctx, on.Number, history)
		}
	}
	if err == nil && on != c.timeline && last != nil {
		if c.cat.Cluster.Flavor == gtid.MySQL {
			fork.Abandoned = append(fork.Abandoned, last.After.GTID)
		} else {
			fork.Abandoned = append(fork.Abandoned, strings.Split(last.After.GTID, ",")...)
		}
	}
	if err == nil {
		fork.Abandoned, err = history.Without(fork.Abandoned)
	}
	switch {
	case err != nil:
		return 0, nil, "", err
	case fork.Apart, len(fork.Abandoned) == 0 && known: // it has all by number, and is not the same
		return apart(reasonReset)
	case len(fork.Abandoned) == 0: // it has all: what failed is something else
		return 0, nil, "", p.err
	}
	same, err := c.sameTransaction(ctx, o, server, known, history, fork)
	switch {
	case errors.Is(err, replica.ErrPurged):
		return apart(reasonGap)
	case err == nil && !same:
		return apart(reasonReset)
	}
	return on.Number, fork, reasonFork, err
}

// format reads the format description of a file of a server.
func (c *cluster) format(ctx context.Context, o replica.Options, file string) (*binlog.FormatDescription, error) {
	r := replica.Request{ServerID: c.serverID(), UUID: c.replicaUUID(), Heartbeat: c.cfg.Heartbeat, From: binlog.Point{File: file, Offset: uint64(len(binlog.Magic))}}
	src, err := replica.Open(ctx, o, r.Fixed, c.o.Clock)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if _, err := src.Next(); err != nil {
		return nil, err
	}
	return src.Format(), nil
}

// sameTransaction asks for the last transaction that both histories have, and reports whether it was
// committed at the same time in both. Where the server has others in another order another one comes
// first, and nothing is known against it. The GTIDs of MySQL say which server's they are: only that server
// can have given one twice.
func (c *cluster) sameTransaction(ctx context.Context, o replica.Options, server *replica.Server, known bool, h *replica.History, f *catalog.Fork) (bool, error) {
	if server.Flavor == gtid.MySQL && !known || f.Last.IsZero() {
		return !known, nil
	}
	r := replica.Request{ServerID: c.serverID(), UUID: c.replicaUUID(), Heartbeat: c.cfg.Heartbeat, After: f.Before.String()}
	src, err := replica.Open(ctx, o, r.Fixed, c.o.Clock)
	if err != nil {
		return false, err
	}
	defer src.Close()
	for {
		ev, err := src.Next()
		switch {
		case errors.Is(err, replica.ErrDiverged): // not in its binlog: it may have been set up from a copy, just there
			return h.Applied().String() == f.Position.GTID, nil
		case err != nil:
			return false, err
		case ev.First && ev.Begin:
			return ev.GTID != f.Last || ev.CommitTime().Equal(f.LastTime), nil
		}
	}
}
