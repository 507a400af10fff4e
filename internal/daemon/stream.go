package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"tidemark/archiver"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/replica"
)

// Why a connection that works is ended.
var (
	errMoved   = errors.New("another host is the primary now")
	errDrained = errors.New("the archive has caught up with the spool: acknowledgements begin again")
)

// course is how the next connection is made, after what happened to the last ones.
type course struct {
	next     binlog.Point   // the beginning of the next file, where the one that holds our end is torn behind it
	unlogged *gtid.Set      // what a server need not send, as base backups hold it and no log does; nil: it was not asked for
	byGTID   bool           // the file that held our end was purged, and the log goes on right behind it
	avoid    config.Address // the primary, while another host may still have what it has purged
	diverged time.Time      // since when the primary has another history, or has purged what we need; zero: it has not
	damaged  string         // place of the last event with a wrong checksum
}

// stream keeps a connection to the primary until ctx ends. What fails is tried again with full
// jitter; it returns an error when only an operator can help, or a new timeline begins.
func (c *cluster) stream(ctx context.Context) error {
	var on course
	first := c.sessions == 1 // words of refusal count only before anything was archived by this process
	if c.spoolFailed {
		c.spoolFailed = false
		c.arch.Drain(ctx, drainWithin)
	}
	for try := 0; ; try++ {
		received := c.arch.Stats().ReceivedBytes
		err := c.connect(ctx, on)
		if ctx.Err() != nil {
			return nil
		}
		if c.arch.Stats().ReceivedBytes > received {
			try, first, on = 0, false, course{damaged: on.damaged}
		}
		if errors.Is(err, replica.ErrTorn) && on.next.File == "" {
			next, terr := c.afterTorn(ctx)
			if next.File != "" {
				c.log.Info("a file ends inside an event, as a crash of the primary leaves it; the log goes on in the next", zap.Stringer("at", next))
				on.next = next
				continue
			}
			if terr != nil {
				err = fmt.Errorf("%w; %w", err, terr)
			}
		}
		parts := false
		switch {
		case errors.Is(err, archiver.ErrSpool):
			return err
		case errors.Is(err, errKept): // that will not change
			return c.apart(reasonKept, c.tried(), err)
		case errors.Is(err, errMoved), errors.Is(err, errDrained):
			c.log.Info("connecting anew", zap.Error(err))
			on = course{}
			continue
		case errors.Is(err, archiver.ErrFull):
			if err := c.released(ctx, err); err != nil {
				return err
			}
			continue
		case errors.Is(err, replica.ErrNoFile) && !on.byGTID:
			if on.byGTID, err = c.vanished(ctx, err); on.byGTID {
				continue
			}
			parts = errors.Is(err, replica.ErrPurged) || errors.Is(err, replica.ErrDiverged)
		case errors.Is(err, replica.ErrPurged) && on.unlogged == nil:
			again, uerr := c.readUnlogged(ctx, &on)
			if again {
				continue
			}
			parts = uerr == nil
			if uerr != nil {
				err = fmt.Errorf("%w; %w", err, uerr)
			}
		case errors.Is(err, archiver.ErrDiverged), errors.Is(err, replica.ErrDiverged), errors.Is(err, replica.ErrPurged), errors.Is(err, replica.ErrNoFile):
			parts = true
		case errors.Is(err, replica.ErrDuplicateID):
			c.giveWay(err)
		case fault.Is(err, fault.Config):
			return err
		case first && refused(err):
			return err
		case errors.Is(err, binlog.ErrChecksum):
			c.mu.Lock()
			c.view.checksums++
			c.mu.Unlock()
			if err.Error() == on.damaged {
				return fault.New(fault.Integrity, "read the binlog", c.cfg.Name, err)
			}
			on.damaged = err.Error()
		}
		// Elsewhere than from the primary every failure counts: else it is never known to be a gap.
		parts = parts || on.avoid != (config.Address{})
		if first = first && !parts; !parts {
			on.diverged = time.Time{}
		} else if err = c.parts(&on, err); isParting(err) {
			return err
		}
		c.mu.Lock()
		c.view.reconnects++
		c.mu.Unlock()
		c.failed(err)
		if !c.pause(ctx, try) {
			return nil
		}
	}
}

// parts ends the session, by a parting, when a primary has had another history, or has lacked what we need,
// for as long as is waited for it to change. Meanwhile what it has purged is looked for elsewhere.
func (c *cluster) parts(on *course, err error) error {
	now := c.o.Clock.Now()
	if on.diverged.IsZero() {
		on.diverged = now
	}
	gap := errors.Is(err, replica.ErrPurged)
	several := len(c.cfg.Hosts) > 1
	if gap && several && on.avoid == (config.Address{}) {
		on.avoid = c.tried()
	}
	switch {
	case gap && !several:
		return c.apart(reasonGap, c.tried(), err)
	case now.Sub(on.diverged) < c.cfg.ForkGrace:
		return err
	case on.avoid != (config.Address{}):
		return c.apart(reasonGap, on.avoid, err)
	}
	return c.apart(reasonFork, c.tried(), err)
}

// tried is the host that was chosen last.
func (c *cluster) tried() config.Address {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.tried
}

// vanished finds out why the place behind which we go on is not in the files of the server that we had it
// from. Its file may have been purged: if the log goes on right behind our end, it is asked for by GTID, else
// there is a gap. A file that should still be there, and is shorter or gone, is another history.
func (c *cluster) vanished(ctx context.Context, why error) (byGTID bool, _ error) {
	resume, err := c.arch.Resume(ctx)
	if err != nil {
		return false, err
	}
	o, err := Connection(c.cfg, c.tried())
	if err != nil {
		return false, err
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	files, err := replica.Files(conn)
	if err != nil {
		return false, err
	}
	if !older(resume.From.File, files[0].File) {
		return false, fault.New(fault.Primary, "go on at", resume.From.String(), fmt.Errorf("%w: %w", replica.ErrDiverged, why))
	}
	start, err := replica.StartPosition(conn, c.cat.Cluster.Flavor)
	if err != nil {
		return false, err
	}
	unlogged, err := c.cat.Unlogged(ctx, c.timeline.Number)
	if err != nil {
		return false, err
	}
	if same, err := catalog.SamePosition(c.cat.Cluster.Flavor, start, resume.Reached, unlogged); same || err != nil {
		return same, err
	}
	return false, fault.New(fault.Primary, "go on at", resume.From.String(), fmt.Errorf("%w: %w", replica.ErrPurged, why))
}

// readUnlogged finds out what a server need not send although it has purged it: what base backups hold and no log ever
// did. It reports whether there is any, so that the server is worth being asked again.
func (c *cluster) readUnlogged(ctx context.Context, on *course) (bool, error) {
	unlogged, err := c.cat.Unlogged(ctx, c.timeline.Number)
	if err != nil {
		return false, err
	}
	on.unlogged = unlogged
	if unlogged.Empty() {
		return false, nil
	}
	c.log.Info("what the server has purged may never have been in a log: it is asked again", zap.Stringer("gtids", unlogged))
	return true, nil
}

// older reports whether a binlog file comes before another one of the same name.
func older(file, than string) bool {
	name, number, ok := strings.Cut(file, ".")
	first, oldest, also := strings.Cut(than, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	m, merr := strconv.ParseUint(oldest, 10, 64)
	return ok && also && err == nil && merr == nil && name == first && n < m
}

// drainWithin bounds how long what a failed spool holds may take to be archived before reading goes on.
const drainWithin = 30 * time.Second

// released waits, without a connection, until the spool has room again: the primary's commits wait for
// nothing of ours meanwhile.
func (c *cluster) released(ctx context.Context, err error) error {
	c.failed(err)
	c.enter(waiting)
	err = c.arch.Room(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// connect streams over one connection until it fails.
func (c *cluster) connect(ctx context.Context, on course) error {
	c.enter(connecting)
	resume, err := c.arch.Resume(ctx)
	if err != nil {
		return err
	}
	host, o, err := Choose(ctx, c.cfg, replica.Choice{LastID: resume.ServerID, LastUUID: resume.UUID, Reached: resume.Reached}, on.avoid, c.o.Clock)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.view.tried = host
	c.mu.Unlock()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	if err := c.observeAnew(ctx, o); err != nil {
		return err
	}
	src, err := replica.Open(ctx, o, func(s *replica.Server) (replica.Request, error) {
		r, err := c.request(ctx, o, s, &resume, on)
		if err == nil && resume.Other {
			err = c.kept(ctx, o, s, &resume)
		}
		if err == nil && resume.Other {
			r.After, err = c.goOnAfter(ctx, o, resume.Reached, on)
		}
		return r, err
	}, c.o.Clock)
	if err != nil {
		return err
	}
	defer src.Close()
	c.mu.Lock()
	c.view.server, c.view.host, c.view.err, c.view.state = src.Server, host, nil, streaming
	c.view.semi.safe, c.view.semi.stream, c.view.semi.primary = resume.Safe, src, nil
	if resume.Safe || c.view.semi.again == 0 {
		c.view.semi.again = againFirst
	}
	c.view.since, c.leave, c.view.elsewhere = c.o.Clock.Now(), leave, on.avoid != (config.Address{})
	c.mu.Unlock()
	c.log.Info("streaming", zap.Stringer("host", host), zap.String("version", src.Server.Version), zap.Uint32("server_id", src.Server.ID),
		zap.Stringer("from", resume.From), zap.Bool("other server", resume.Other))
	err = c.arch.Stream(ctx, src, resume)
	c.mu.Lock()
	c.view.semi.stream, c.leave = nil, nil
	c.mu.Unlock()
	if why := context.Cause(ctx); errors.Is(why, errMoved) || errors.Is(why, errDrained) {
		return why
	}
	return err
}

// request is what a server is asked for: on the one that was archived last the place in its files, on
// another one what follows in the order of GTIDs.
func (c *cluster) request(ctx context.Context, o replica.Options, s *replica.Server, resume *archiver.Resume, on course) (r replica.Request, err error) {
	if s.Flavor != c.cat.Cluster.Flavor {
		return r, fault.New(fault.Config, "archive", o.Host, fmt.Errorf("it is a %s server, and the archive of %s is one of %s", s.Flavor, c.cfg.Name, c.cat.Cluster.Flavor)).
			WithHint("Archive it under another cluster name.")
	}
	r = replica.Request{ServerID: c.serverID(), UUID: c.replicaUUID(), Heartbeat: c.cfg.Heartbeat, From: resume.From, SemiSync: resume.Safe}
	switch {
	case resume.Fresh:
		r.From, err = c.start(ctx, o)
	case s.ID == resume.ServerID && on.next.File != "":
		r.From, resume.Next = on.next, true
	case s.ID != resume.ServerID || s.UUID != resume.UUID, on.byGTID:
		r.From, r.After = binlog.Point{}, resume.Reached.String()
		resume.Other = true
	case r.From.Offset >= 1<<32:
		r.From, r.After, r.Expect = binlog.Point{}, resume.After, resume.From
		resume.ByGTID = true
	}
	return r, err
}

// start is where a new archive begins: always at the beginning of a file, where the log says what
// came before it.
func (c *cluster) start(ctx context.Context, o replica.Options) (binlog.Point, error) {
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return binlog.Point{}, err
	}
	defer conn.Close()
	files, err := replica.Files(conn)
	if err != nil {
		return binlog.Point{}, err
	}
	file := files[0].File
	// The files before are those of the server before, or of the time before the timeline's first base backup.
	if c.timeline.Reason == reasonKept || c.cfg.Start == config.StartNow && c.timeline.Parent == 0 {
		file = files[len(files)-1].File
	}
	return binlog.Point{File: file, Offset: uint64(len(binlog.Magic))}, nil
}

// refused reports whether the primary was reached and said no.
func refused(err error) bool {
	return fault.Is(err, fault.Config) || fault.Is(err, fault.Primary) && replica.Refused(err)
}

// lastPause is the longest time between two tries.
const lastPause = 15 * time.Second

// pause waits before the next try: a random time up to a bound that doubles. Where there are several
// hosts one of them may be made the primary at any moment.
func (c *cluster) pause(ctx context.Context, try int) bool {
	longest := lastPause
	if len(c.cfg.Hosts) > 1 {
		longest = 2 * time.Second
	}
	bound := min(100*time.Millisecond<<min(try, 10), longest)
	c.enter(waiting)
	select {
	case <-ctx.Done():
		return false
	case <-c.o.Clock.After(bound/4 + rand.N(bound)):
		return true
	}
}
