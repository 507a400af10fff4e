package daemon

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"tidemark/archiver"
	"tidemark/internal/binlog"
	"tidemark/internal/catalog"
	"tidemark/internal/config"
	"tidemark/internal/fault"
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
	timeline uint32
	view     view
	seen     struct { // what the received bytes were when they last changed
		bytes uint64
		at    time.Time
	}
}

// view is what the supervisor knows beyond the archiver's own figures; under cluster.mu.
type view struct {
	server     *replica.Server
	host       string
	err        error // of the last failure, while it lasts
	state      phase
	reconnects uint64
	checksums  uint64
	primary    primaryPoint
	backup     backupView
	earliest   time.Time // of the recovery window
}

type phase int

const (
	connecting phase = iota
	streaming
	waiting
	halted
)

func newCluster(o Options, cfg *config.Cluster, store storage.Store) *cluster {
	return &cluster{o: o, cfg: cfg, store: store, log: o.Log.With(zap.String("cluster", cfg.Name))}
}

// closeWithin bounds how long a shutdown waits for uploads; the rest stays in the spool.
const closeWithin = 30 * time.Second

// run archives until ctx ends. It returns an error when only an operator can help.
func (c *cluster) run(ctx context.Context) error {
	if err := c.prepare(ctx); err != nil {
		return stoppedBy(ctx, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
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
	<-ctx.Done()
	wg.Wait()

	closing, done := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer done()
	err := c.arch.Close(closing)
	if why := context.Cause(ctx); !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

// stoppedBy returns err unless ctx ended, which is no failure.
func stoppedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// prepare opens the archive, beginning one where there is none, and the spool.
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
	timeline, err := cat.Timeline(ctx, 0)
	if err != nil {
		return err
	}
	arch, err := archiver.Open(ctx, archiver.Options{
		Catalog: cat, Timeline: timeline.Number, Dir: c.dir("spool"), FS: c.o.FS, Clock: c.o.Clock, Log: c.log,
		Version: c.o.Version, MaxAge: c.cfg.Segment.MaxAge, MaxSize: int64(c.cfg.Segment.MaxSize),
		MaxSpool: int64(c.cfg.Spool.MaxSize), HeadAge: headAge,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.cat, c.arch, c.timeline = cat, arch, timeline.Number
	c.mu.Unlock()
	return nil
}

// headAge is how often a head is written while anything changes.
const headAge = 10 * time.Second

func (c *cluster) dir(name string) string {
	return filepath.Join(c.o.Config.StateDir, c.cfg.Name, name)
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

func (c *cluster) probe(ctx context.Context) (*replica.Server, error) {
	o, err := c.connection()
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

// connection returns how to reach the primary.
func (c *cluster) connection() (replica.Options, error) {
	host := c.cfg.Hosts[0]
	password, err := c.cfg.Password()
	if err != nil {
		return replica.Options{}, err
	}
	tls, err := c.cfg.TLS.ClientConfig(host)
	if err != nil {
		return replica.Options{}, err
	}
	return replica.Options{Host: host.String(), User: c.cfg.User, Password: password, TLS: tls}, nil
}

// stream keeps a connection to the primary until ctx ends. What fails is tried again with full
// jitter; it returns an error when only an operator can help.
func (c *cluster) stream(ctx context.Context) error {
	byGTID, first := false, true
	var damaged string // place of the last event with a wrong checksum
	for try := 0; ; try++ {
		received := c.arch.Stats().ReceivedBytes
		err := c.connect(ctx, byGTID)
		if ctx.Err() != nil {
			return nil
		}
		if c.arch.Stats().ReceivedBytes > received {
			try, first, byGTID = 0, false, false
		}
		switch {
		case errors.Is(err, replica.ErrNoFile) && !byGTID:
			byGTID = true // the file is gone: the server may still have what follows, by GTID
			continue
		case errors.Is(err, replica.ErrPurged), errors.Is(err, replica.ErrNoFile):
			return fault.New(fault.Unreachable, "continue the archive", c.cfg.Name, err).
				WithHint("Transactions were purged before they were archived. Archive the primary under a new cluster name; the old archive stays restorable up to its end.")
		case errors.Is(err, archiver.ErrDiverged), errors.Is(err, replica.ErrDiverged), fault.Is(err, fault.Config):
			return err
		case first && refused(err):
			return err
		case errors.Is(err, binlog.ErrChecksum):
			c.mu.Lock()
			c.view.checksums++
			c.mu.Unlock()
			if err.Error() == damaged {
				return fault.New(fault.Integrity, "read the binlog", c.cfg.Name, err)
			}
			damaged = err.Error()
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

// connect streams over one connection until it fails.
func (c *cluster) connect(ctx context.Context, byGTID bool) error {
	c.enter(connecting)
	resume, err := c.arch.Resume(ctx)
	if err != nil {
		return err
	}
	o, err := c.connection()
	if err != nil {
		return err
	}
	req := replica.Request{ServerID: c.serverID(), UUID: c.arch.UUID(), Heartbeat: c.cfg.Heartbeat, From: resume.From}
	switch {
	case resume.Fresh:
		if req.From, err = c.start(ctx, o); err != nil {
			return err
		}
	case byGTID, req.From.Offset >= 1<<32:
		req.From, req.After, req.Expect = binlog.Point{}, resume.After, resume.From
		resume.ByGTID = true
	}
	src, err := replica.Open(ctx, o, req, c.o.Clock)
	if err != nil {
		return err
	}
	defer src.Close()
	if have := src.Server.Flavor; have != c.cat.Cluster.Flavor {
		return fault.New(fault.Config, "archive", o.Host, fmt.Errorf("it is a %s server, and the archive of %s is one of %s", have, c.cfg.Name, c.cat.Cluster.Flavor)).
			WithHint("Archive it under another cluster name.")
	}
	c.mu.Lock()
	c.view.server, c.view.host, c.view.err, c.view.state = src.Server, o.Host, nil, streaming
	c.mu.Unlock()
	c.log.Info("streaming", zap.String("host", o.Host), zap.String("version", src.Server.Version),
		zap.Stringer("from", req.From), zap.String("after", req.After))
	return c.arch.Stream(ctx, src, resume)
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
	if c.cfg.Start == config.StartNow {
		file = files[len(files)-1].File
	}
	return binlog.Point{File: file, Offset: uint64(len(binlog.Magic))}, nil
}

// serverID is ours among the primary's replicas: the configured one, or one that follows from our
// UUID and so stays the same.
func (c *cluster) serverID() uint32 {
	if c.cfg.ServerID != 0 {
		return c.cfg.ServerID
	}
	h := fnv.New32a()
	h.Write([]byte(c.arch.UUID()))
	return 4200000000 + h.Sum32()%90000000
}

// refused reports whether the primary was reached and said no.
func refused(err error) bool {
	return fault.Is(err, fault.Config) || fault.Is(err, fault.Primary) && replica.Refused(err)
}

// pause waits before the next try: a random time up to a bound that doubles.
func (c *cluster) pause(ctx context.Context, try int) bool {
	bound := min(100*time.Millisecond<<min(try, 10), 15*time.Second)
	c.enter(waiting)
	select {
	case <-ctx.Done():
		return false
	case <-c.o.Clock.After(bound/4 + rand.N(bound)):
		return true
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
