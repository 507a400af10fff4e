package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidemark/internal/fault"
	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
	"tidemark/internal/variables"
)

// applier is a private server that applies relay log files.
//
// Its SQL thread runs without a connection to a source. Files get into its relay log by "flush and
// replace": FLUSH RELAY LOGS makes the server create and list the next files, and ours take the place of
// those that it has closed; the last one stays its own, and there the SQL thread waits for more. Nothing
// else works in a running server: it keeps the list of files in memory, and it must have named them
// itself, in rising order.
type applier interface {
	// set changes settings, by the names of options, or returns errAnew. What was handed over before is applied.
	set(options []variables.Option) error
	// inject hands a batch over and lets the server apply it.
	inject(b *batch) error
	// wait returns when a batch is applied. It tells progress meanwhile, in transactions.
	wait(ctx context.Context, b *batch, progress func(uint64)) error
	// position is what the server has applied.
	position() (*gtid.State, error)
	// settle makes what has been applied survive the server's process, files that are no storage engine's
	// log too if all is asked for, and returns how many temporary tables are open.
	settle(all bool) (temporary int, err error)
	// unfinished lists the XIDs of XA transactions that are prepared, on MariaDB.
	unfinished() ([]string, error)
	// rowless lists the tables that have no rows now that the server was started, though the primary's may have some.
	rowless() ([]subject, error)
	// loose reports whether the server records its position apart from what it applies, so that nothing is atomic.
	loose() (bool, error)
	// halt stops applying between two transactions.
	halt() error
	// end compares the server's position with the planned one, removes all traces of replication, and
	// reports what the log has left in a state that needs a look.
	end() error
	// broken returns err, or that the server has ended, if that is why.
	broken(err error) error
	// stop shuts the server down cleanly.
	stop(ctx context.Context) error
	// close ends it in any case.
	close()
}

// startServer starts the server and sets it to the position of the base backup, or leaves it at its own
// if the restore is resumed.
func (r *run) startServer(ctx context.Context) (applier, error) {
	if r.plan.base.Flavor == gtid.MySQL {
		return r.startMySQL(ctx)
	}
	return r.startMariaDB(ctx)
}

// grace is how long the server may take to come to rest when a restore is interrupted.
const grace = 10 * time.Second

// serverOptions are those of the private server, for either flavor.
func (r *run) serverOptions(args []string) mysqld.Options {
	p, patience := r.plan, grace
	if p.following != nil {
		patience = stopGrace
	}
	return mysqld.Options{
		Tools: r.Tools, Flavor: p.base.Flavor, User: r.user, Datadir: r.work.target, RunDir: r.work.runDir(), LogFile: r.work.logFile("server"),
		ServerID: serverID(p.serverIDs), Memory: r.Memory, Settings: r.settings(), Args: args,
		Account: r.work.state.Account, Inherit: r.work.inherit(), Grace: patience,
		DefaultsFile: r.DefaultsExtraFile, PluginDir: r.PluginDir,
		Reach: r.allowed(),
	}
}

// private is what both appliers have: the server and a session.
type private struct {
	run     *run
	srv     *mysqld.Server
	conn    *mysqld.Conn
	started bool    // the SQL thread has been
	inside  bool    // as the batch before
	mode    *string // the server's sql_mode but for that; nil until it is asked for
	hung    bool    // it cannot be stopped, only killed
}

// halted stops the SQL thread, unless that has failed.
func (p *private) halted(stop, show string) error {
	if err := p.conn.Exec(stop); err != nil {
		return err
	}
	status, err := p.conn.Row(show)
	if err == nil && status["Last_SQL_Errno"] != "0" {
		err = p.stopped(status)
	}
	return err
}

// replace puts the files of a batch in place of those that the server makes. The SQL thread stands.
func (p *private) replace(b *batch) error {
	flushes := len(b.files)
	if p.started {
		flushes++ // the file at which the SQL thread waits is closed first
	}
	for range flushes {
		if err := p.conn.Exec("FLUSH RELAY LOGS"); err != nil {
			return err
		}
	}
	slots, err := p.slots(len(b.files))
	if err != nil {
		return err
	}
	for i, f := range b.files {
		if err := p.run.FS.Rename(f.path, slots[i]); err != nil {
			return err
		}
		b.files[i].path = slots[i]
	}
	return nil
}

// slots returns the paths of the n relay logs before the one that is the server's.
func (p *private) slots(n int) ([]string, error) {
	dir := p.run.work.relayDir()
	index, err := os.ReadFile(filepath.Join(dir, "relay.index"))
	if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(string(index), "\n"), "\n") // a path may hold spaces
	if len(names) < n+1 {
		return nil, fmt.Errorf("the server lists %d relay logs after so many as %d were asked for", len(names), n+1)
	}
	names = names[len(names)-1-n : len(names)-1]
	for i, name := range names {
		names[i] = filepath.Join(dir, filepath.Base(name))
	}
	return names, nil
}

// waiting is what differs between the flavors while a batch is applied.
type waiting struct {
	position      func() (*gtid.State, error)
	reached       func(at *gtid.State) bool // the batch is applied
	show, running string                    // the statement that shows how it stands, and the column that says whether it runs
	idle          func(status map[string]string, before int) (int, error)
	stuck         func(status map[string]string) bool       // it waits for what does not come, if that goes on for long; may be nil
	held          func(ctx context.Context, b *batch) error // it has not moved for long; may be nil
	failed        func(status map[string]string) error
}

// A server that waits for so long for a transaction that it has applied will wait for ever; nothing but its
// end helps. It is ended so often at most.
const (
	stuckAfter = 15 * time.Second
	mostStuck  = 10
	// InnoDB waits for a lock for 50 seconds. After so long, what holds one is looked for.
	heldAfter = 10 * time.Second
)

var errStuck = errors.New("the server waits for a transaction that it has applied")

// await returns when a batch is applied.
func (p *private) await(ctx context.Context, b *batch, progress func(uint64), w waiting) error {
	pause := time.Millisecond
	idle := 0
	var before *gtid.State
	var moving time.Time // when it last did something
	looked := p.run.clock.Now()
	for {
		at, err := w.position()
		if err != nil {
			return p.broken(err)
		}
		if w.reached(at) {
			return nil
		}
		if before == nil || !at.SamePosition(before) {
			before, idle, moving = at, 0, p.run.clock.Now()
			looked = moving
		}
		if w.held != nil && p.run.clock.Now().Sub(looked) > heldAfter {
			looked = p.run.clock.Now()
			if err := w.held(ctx, b); err != nil {
				return p.broken(err)
			}
		}
		status, err := p.conn.Row(w.show)
		if err != nil {
			return p.broken(err)
		}
		if status[w.running] != "Yes" {
			return w.failed(status)
		}
		progress(done(b, status["Relay_Log_File"], status["Relay_Log_Pos"]))
		if idle, err = w.idle(status, idle); err != nil {
			return p.broken(err)
		}
		if w.stuck == nil || !w.stuck(status) {
			moving = p.run.clock.Now()
		}
		if p.run.clock.Now().Sub(moving) > stuckAfter {
			p.hung = true
			return errStuck
		}
		if idle > 40 { // two seconds
			return fault.New(fault.Integrity, "apply the log", "", fmt.Errorf("the server has applied all it was given and is at GTID position %s, not %s",
				orNone(at.String()), b.position))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.run.clock.After(pause):
			pause = min(2*pause, 50*time.Millisecond)
		}
	}
}

// stopped is the error with which the SQL thread has stopped.
func (p *private) stopped(status map[string]string) error {
	if status["Last_SQL_Errno"] == "0" {
		return p.broken(errors.New("the server has stopped applying the log, without an error"))
	}
	hint := "The server's log is in " + p.run.work.logFile("server") + ". " + p.srv.Explain(status["Last_SQL_Error"])
	return fault.New(fault.Other, "apply the log", "", &stoppedError{status["Last_SQL_Errno"], status["Last_SQL_Error"]}).
		WithHint(strings.TrimSpace(hint))
}

// broken prefers to say that the server has ended.
func (p *private) broken(err error) error {
	select {
	case <-p.srv.Exited():
		return p.srv.Ended()
	case <-p.run.clock.After(time.Second): // a crash closes connections a little earlier
		return err
	}
}

// stop drops the private account itself, durably: a server that is killed while it shuts down, as ctx ends, has it no more.
func (p *private) stop(ctx context.Context) error {
	if account := p.run.work.state.Account; account != "" {
		drop := fmt.Sprintf("DROP USER IF EXISTS '%s'@'localhost'", account)
		if err := p.conn.Exec(drop, "FLUSH TABLES", "FLUSH ENGINE LOGS"); err != nil {
			return p.broken(err)
		}
	}
	_ = p.conn.Close()
	p.conn = nil
	return p.srv.Stop(ctx)
}

// close ends a server that has not been stopped. While it answers, it is not left with the private account: a later start
// of the same restore makes that anew.
func (p *private) close() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	if p.hung {
		p.srv.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = p.srv.Stop(ctx) // at the latest then it is killed
}
