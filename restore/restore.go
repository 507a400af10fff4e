// Package restore brings a server's data back to a point of its archived history.
//
//	plan, err := restore.MakePlan(ctx, c, restore.PlanOptions{Target: restore.ToTime(t)})
//	report, err := restore.Run(ctx, c, plan, restore.Options{TargetDir: "/var/lib/mysql", Threads: -1})
//
// A plan names the base backup, the part of the log and the exact place where it is to be cut. Run
// extracts and prepares the base backup, starts a private server on it and lets that apply the log as
// a replica would, from relay logs that are handed to it in batches. The last one ends before the
// first transaction beyond the target, so that nothing behind it ever reaches the server.
//
// What is special to a flavor of server is in the file named after it.
package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/catalog"
	"tidemark/internal/clock"
	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// DefaultRelaySpace is the disk that relay logs may take unless told otherwise, in bytes.
const DefaultRelaySpace = 2 << 30

// Options say where a plan is carried out, and how.
type Options struct {
	TargetDir  string       // becomes the data directory; must be absent, empty, or left by an interrupted restore
	RelaySpace int64        // bytes that relay logs may take, beside TargetDir; DefaultRelaySpace if 0
	Threads    int          // that apply the log in parallel; 0: one applier; -1: chosen by what is measured
	Memory     int64        // bytes for the private server's buffer pool; 0: half of what is available
	Tools      mysqld.Tools // found in PATH where empty

	DefaultsExtraFile string // option file for the private server and its tools, as for key management; no other is read
	PluginDir         string
	AllowPaths        []string // files and directories outside of the target that the private server and its tools may use

	Start   *Endpoint // a server is left running on the result; nil: none
	Service *Service  // the result takes the place of its data directory; nil: it stays

	Progress func(Event) // called from one goroutine at a time; may be nil
	Log      *zap.Logger // may be nil
	Clock    clock.Clock // the machine's if nil
	FS       durable.FS  // the machine's if nil
}

// run is a restore under way.
type run struct {
	Options
	c       *catalog.Catalog
	plan    *Plan
	user    mysqld.User // runs the private server and the tools
	owner   mysqld.User // will own the result
	work    *workspace
	clock   clock.Clock
	tracker *tracker
	threads *threads
	report  *Report
	reached *gtid.State // the server's position when all of the plan is applied

	reopened bool // what an interrupted restore has left is used
	again    bool // by this one, whose server is started anew

	variables map[string]string // that the private server has; nil: of the place where it begins

	elsewhere bool // the base backup has tables that were outside of the primary's data directory
}

// Run carries out a plan. It returns a report also with an error, saying how far it came. A failed
// or interrupted restore leaves its files. The same call again goes on behind the last transaction that
// the private server has applied, if the plan begins from the same base backup (see InterruptedBase);
// where that is not certain, it removes them and begins anew, and the report says why. Kinds
// of errors: TargetNotEmpty, Locked while another restore uses the directory, Integrity for what is
// damaged or missing in the archive, or when the restored server is not at the planned position.
func Run(ctx context.Context, c *catalog.Catalog, plan *Plan, o Options) (*Report, error) {
	if plan.base == nil {
		return nil, errors.New("restore: the plan was not made by MakePlan")
	}
	r := &run{Options: o, c: c, plan: plan, clock: o.Clock, report: newReport(plan)}
	r.defaults()
	begun := r.clock.Now()
	r.tracker = newTracker(r.Progress, r.clock, r.report)
	err := r.do(ctx)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // whatever else it broke
	}
	r.report.Seconds = r.clock.Now().Sub(begun).Seconds()
	if err != nil {
		return r.report, fmt.Errorf("restore cluster %s to %s: %w", plan.Cluster, plan.Target, err)
	}
	return r.report, nil
}

func (r *run) defaults() {
	if r.RelaySpace <= 0 {
		r.RelaySpace = DefaultRelaySpace
	}
	r.threads = newThreads(r.Threads, runtime.NumCPU())
	if r.Log == nil {
		r.Log = zap.NewNop()
	}
	if r.clock == nil {
		r.clock = clock.System{}
	}
	if r.FS == nil {
		r.FS = durable.OS{}
	}
}

func (r *run) do(ctx context.Context) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	w, err := claim(r.FS, r.TargetDir)
	if err != nil {
		return err
	}
	defer w.release()
	r.work, r.report.TargetDir = w, w.target
	if w.left && w.state.isDone(r.plan) {
		*r.report = *w.state.Report
		return r.tidyUp(ctx)
	}
	for stuck := 0; ; stuck++ {
		err := r.once(ctx)
		r.again = true
		if errors.Is(err, errAnew) {
			stuck--
			continue
		}
		if !errors.Is(err, errStuck) || stuck == mostStuck {
			return err
		}
		r.Log.Warn("the private server does nothing any more: it is ended, and the restore resumed", zap.Error(err))
	}
}

// once takes the restore to its end, from what is there.
func (r *run) once(ctx context.Context) error {
	s, err := r.resume(ctx)
	if err == nil && s == nil {
		s, err = r.begin(ctx)
	}
	if err != nil {
		return err
	}
	defer s.end()
	return r.apply(ctx, s)
}

// check finds out what can be known before anything is written.
func (r *run) check(ctx context.Context) (err error) {
	if err := r.checkConfined(); err != nil {
		return err
	}
	if err := r.checkOptions(); err != nil {
		return err
	}
	if err := r.checkStart(); err != nil {
		return err
	}
	if r.Service != nil {
		target, err := resolve(r.TargetDir)
		if err == nil {
			err = r.Service.check(ctx, target)
		}
		if err != nil {
			return err
		}
	}
	if r.Tools, err = r.Tools.Find(r.plan.base.Flavor); err != nil {
		return err
	}
	if r.plan.base.Engine == engineXtraBackup {
		if r.Tools, err = r.Tools.FindXtraBackup(); err != nil {
			return err
		}
	}
	want, err := mysqld.ParseVersion(r.plan.ServerVersion)
	if err != nil {
		return fmt.Errorf("base backup %s: server version: %w", r.plan.base.ID, err)
	}
	for _, path := range []string{r.Tools.Mysqld, r.Tools.Backup} {
		if path == "" {
			continue
		}
		have, err := mysqld.ProgramVersion(ctx, path)
		if err != nil {
			return err
		}
		if have.Flavor != want.Flavor || have.Series() != want.Series() {
			return fault.New(fault.Other, "use", path, fmt.Errorf("it is of %s, the base backup of %s", have, want)).
				WithHint(fmt.Sprintf("Install %s %s beside it and put it first in PATH.", want.Flavor, want.Series()))
		}
	}
	return nil
}

// chooseUser decides who runs the private server: the one who will own the result. Where that user
// cannot enter the target, as in a directory of root's, and we are root, then that is root.
func (r *run) chooseUser(ctx context.Context) (err error) {
	if r.owner, err = mysqld.ServerUser(); err != nil {
		return err
	}
	r.user = r.owner
	if err := r.work.own(r.user); err != nil {
		return err
	}
	err = r.user.CheckEnter(ctx, r.Tools.Mysqld, r.work.target)
	if err == nil || os.Getuid() != 0 || r.user.UID == 0 {
		return err
	}
	r.Log.Info("the private server runs as root", zap.Error(err))
	r.user = mysqld.User{Name: "root"}
	if r.Start != nil {
		r.owner = r.user // who goes on running it
	}
	return r.work.own(r.user)
}

// phase runs a part of the restore and records how long it took.
func (r *run) phase(p Phase, do func() error) error {
	r.tracker.start(p)
	r.Log.Info("restore phase begins", zap.String("phase", string(p)))
	err := do()
	took := r.tracker.finish()
	if err != nil {
		return err
	}
	r.Log.Info("restore phase is done", zap.String("phase", string(p)), zap.Duration("took", took.Round(time.Millisecond)))
	return nil
}

// serverID returns an ID for the private server that occurs nowhere in the log, so that no event
// looks like its own.
func serverID(taken []uint32) uint32 {
	id := uint32(4294940000)
	for slices.Contains(taken, id) {
		id--
	}
	return id
}

// lastLines are the end of a tool's output, for an error.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
