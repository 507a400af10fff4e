package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"tidemark/archiver"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/internal/lease"
	"tidemark/replica"
	"tidemark/storage"
)

// cluster supervises one cluster.
type cluster struct {
	o     Options
	cfg   *config.Cluster
	store storage.Store
	log   *zap.Logger

	mu       sync.Mutex
	arch     *archiver.Archiver
	cat      *catalog.Catalog
	timeline *catalog.Timeline
	spool    *archiver.Spool // held from the first session on
	lease    *lease.Lease
	view     view
	tidying  sync.Mutex // retention and compaction do not change the log's objects at the same time
	sessions int        // begun so far; for run
	// spoolFailed: the session before ended so. What is in the spool goes to the archive first.
	spoolFailed bool
	leave       context.CancelCauseFunc // ends the connection that is streamed over
	seen        struct {                // what the received bytes were when they last changed
		bytes uint64
		at    time.Time
	}
}

// view is what the supervisor knows beyond the archiver's own figures; under cluster.mu.
type view struct {
	server     *replica.Server // streamed from, or last streamed from
	host       config.Address
	tried      config.Address // the host that was chosen last
	elsewhere  bool           // it is not the primary, which has purged what we need
	since      time.Time      // when that connection was made
	semi       semiView
	identity   identity
	err        error // of the last failure, while it lasts
	state      phase
	reconnects uint64
	checksums  uint64
	settings   settings
	missing    []replica.Missing // settings because of which the primary's binlog lacks changes
	unaccepted error             // of those, what the configuration does not accept
	primary    primaryPoint
	backup     backupView
	verify     verifyView
	expiry     expiryView
	compaction compactionView
	earliest   time.Time // of the recovery window
}

type phase int

const (
	connecting phase = iota
	streaming
	waiting
	halted
	standingBy // another archiver has the lease
)

func newCluster(o Options, cfg *config.Cluster, store storage.Store) *cluster {
	return &cluster{o: o, cfg: cfg, store: store, log: o.Log.With(zap.String("cluster", cfg.Name))}
}

// closeWithin bounds how long a shutdown waits for uploads; the rest stays in the spool.
const closeWithin = 30 * time.Second

// run archives until ctx ends, whenever the lease is ours. It returns an error when only an operator can help.
// Where the history of the primary has left the archived one, the spool has failed, or another archiver has been at
// work, archiving begins anew.
func (c *cluster) run(ctx context.Context) error {
	defer c.release()
	for try := 0; ; try++ {
		began := c.o.Clock.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return err
		}
		if c.o.Clock.Now().Sub(began) > lastPause {
			try = 0
		}
		var apart *parting
		switch {
		case errors.As(err, &apart):
			if err = c.part(ctx, apart); err == nil {
				continue
			}
		case c.stepsBack(err):
			continue
		case c.sessions > 0 && fault.Is(err, fault.Locked): // who stalled has put one more segment; the lease says who goes on
		case errors.Is(err, archiver.ErrSpool), c.sessions > 0 && (fault.Is(err, fault.Other) || fault.Is(err, fault.Storage)):
			c.spoolFailed = true
		default:
			return err
		}
		c.failed(err)
		if !c.pause(ctx, try) {
			return nil
		}
	}
}

// session archives on one timeline, from one opening of the spool to its closing.
func (c *cluster) session(parent context.Context) error {
	ctx := parent
	if err := c.prepare(ctx); err != nil {
		return stoppedBy(ctx, err)
	}
	held, lost := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lost(nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.keepLease(held, func(err error) { cancel(err); lost(err) })()
	if err := c.open(ctx); err != nil {
		if why := context.Cause(ctx); why != nil {
			err = why
		}
		return stoppedBy(parent, err)
	}
	c.sessions++
	var wg sync.WaitGroup
	work := func(f func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		}()
	}
	work(c.arch.Run)
	work(c.stream)
	work(c.watch)
	work(c.backups)
	work(c.verifications)
	work(c.expiries)
	work(c.compactions)
	<-ctx.Done()
	wg.Wait()

	closing, done := context.WithTimeout(held, closeWithin)
	defer done()
	err := c.arch.Close(closing)
	why := context.Cause(ctx)
	if errors.Is(why, context.Canceled) {
		return err
	}
	var apart *parting
	if errors.As(why, &apart) {
		apart.unfinished = err
	}
	return why
}

// stoppedBy returns err unless ctx ended, which is no failure.
func stoppedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// prepare opens the archive, beginning one where there is none, and waits until it is ours to go on with it.
func (c *cluster) prepare(ctx context.Context) error {
	cat, err := catalog.Open(ctx, c.store, c.cfg.Name, c.o.Version)
	if fault.Is(err, fault.NoArchive) {
		server, perr := c.firstContact(ctx)
		if perr != nil {
			return perr
		}
		cat, err = catalog.Create(ctx, c.store, c.cfg.Name, c.o.Version, server.Flavor, c.o.Clock.Now())
	}
	if err != nil {
		return err
	}
	if err := catalog.Probe(ctx, c.store, c.cfg.Name); err != nil {
		return err
	}
	c.mu.Lock()
	c.cat = cat
	c.mu.Unlock()
	return c.turn(ctx, cat)
}

// open opens the spool, and brings it together with the archive.
func (c *cluster) open(ctx context.Context) error {
	timeline, err := c.cat.Timeline(ctx, 0)
	if err != nil {
		return err
	}
	arch, err := archiver.Open(ctx, archiver.Options{
		Catalog: c.cat, Timeline: timeline.Number, Dir: c.dir("spool"), Spool: c.spool, Sure: c.lease.Sure, FS: c.o.FS, Clock: c.o.Clock, Log: c.log, Recipients: c.o.Recipients,
		Version: c.o.Version, MaxAge: c.cfg.Segment.MaxAge, MaxSize: int64(c.cfg.Segment.MaxSize),
		MaxSpool: int64(c.cfg.Spool.MaxSize), Keep: c.keepBytes(), HeadAge: headAge,
		Ack: promises[c.cfg.Ack], Hold: c.cfg.Spool.OnFull == config.OnFullHold,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.arch, c.timeline = arch, timeline
	c.mu.Unlock()
	return nil
}

// promises are those of the configuration.
var promises = map[config.Ack]archiver.Ack{config.AckNone: archiver.AckNone, config.AckSpool: archiver.AckSpool, config.AckArchive: archiver.AckArchive}

// headAge is how often a head is written while anything changes.
const headAge = 10 * time.Second

func (c *cluster) dir(name string) string {
	return filepath.Join(c.o.Config.StateDir, c.cfg.Name, name)
}

// probe asks the host that is to be archived what it is.
func (c *cluster) probe(ctx context.Context) (*replica.Server, error) {
	_, o, err := Choose(ctx, c.cfg, replica.Choice{}, config.Address{}, c.o.Clock)
	if err != nil {
		return nil, err
	}
	conn, err := replica.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return replica.Probe(conn, c.o.Clock.Now)
}

// firstContact waits until a primary can be reached and returns what it is. A refusal (password,
// privileges, settings) is an error at once: waiting does not mend it.
func (c *cluster) firstContact(ctx context.Context) (*replica.Server, error) {
	for try := 0; ; try++ {
		server, err := c.probe(ctx)
		if err == nil {
			return server, server.Archivable()
		}
		if refused(err) || ctx.Err() != nil {
			return nil, err
		}
		c.failed(err)
		if !c.pause(ctx, try) {
			return nil, ctx.Err()
		}
	}
}

func (c *cluster) enter(p phase) {
	c.mu.Lock()
	c.view.state = p
	c.mu.Unlock()
}

func (c *cluster) failed(err error) {
	c.mu.Lock()
	c.view.err = err
	c.mu.Unlock()
	c.log.Warn("stream failed, trying again", zap.Error(err), zap.String("hint", fault.HintOf(err)))
}

func (c *cluster) stopped(err error) {
	c.mu.Lock()
	c.view.err, c.view.state = err, halted
	c.mu.Unlock()
	c.log.Error("archiving stopped", zap.Error(err), zap.String("hint", fault.HintOf(err)))
}
