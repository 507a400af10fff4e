// Package workload writes to a MariaDB or MySQL server all that a binlog can hold, at random but from a
// seed, and knows the truth: what a copy of the server at some point must contain.
//
//	w := workload.New(seed, workload.Options{Domains: 2, MaxBlob: 32 << 20})
//	err := w.Setup(conn)
//	go func() { done <- w.Run(ctx, dial, 4, 0) }() // 4 workers until ctx is done
//	cp, err := w.CheckpointAt(conn, "noon")        // nothing is written meanwhile
//	...                                            // restore to cp.Time, cp.GTIDPos or cp.File:cp.Pos
//	err = workload.Compare(restored, cp)           // names what differs
//	err = w.CheckInvariants(restored)              // holds at every transaction boundary
//
// Transactions of a domain touch only the tables of that domain's schema (prefix_0, prefix_1
// and on), so that a replica may apply domains in any order. On MySQL, which has no domains, they
// are schemas and no more. All sessions need SUPER, or root's privileges on MySQL: the workload
// switches domains and binlog formats.
//
// The seed decides what each worker does, but not how workers interleave: one worker and a
// fixed number of transactions make the same statements every time.
//
// Deadlocks, lock waits and collisions of definitions between workers are expected: such a
// transaction is rolled back and counted as "failed". Every other error ends Run.
package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// Group is a group of kinds of transactions that can be left out.
type Group string

// The groups. What belongs to none of them is always written: row changes in InnoDB.
const (
	Definitions      Group = "definitions"      // tables, indexes, views, triggers, procedures, databases
	Events           Group = "events"           // CREATE, ALTER, DROP EVENT
	NonTransactional Group = "nontransactional" // MyISAM and Aria
	Statements       Group = "statements"       // binlog_format=STATEMENT, user variables, temporary tables
	Sequences        Group = "sequences"        // MariaDB only
	XA               Group = "xa"
	Tagged           Group = "tagged"   // transactions with tagged GTIDs; MySQL only
	Formats          Group = "formats"  // compressed transactions, partial rows and JSON; MySQL only
	Blobs            Group = "blobs"    // blobs up to MaxBlob, transactions of BigTransaction bytes
	Rotation         Group = "rotation" // FLUSH BINARY LOGS

	// Fragile is what a server killed in its midst may not survive: swapped tables (MariaDB 10.11
	// then looks for the file of the name in between, and does not start) and partitioned ones
	// (their files stay and bar the name). Leave it out where the server is killed, and Sequences, whose
	// tablespaces may stay in the same way.
	Fragile Group = "fragile"

	// Recreated is databases and tables of MyISAM that are dropped and created anew. mariadb-backup
	// loses them when it copies meanwhile: leave it out where a base backup has to succeed.
	Recreated Group = "recreated"

	// Rebuilt is tables of MyISAM and Aria that are truncated, altered, optimized or repaired: mariadb-backup
	// copies them wrongly meanwhile, and such a copy is refused. And temporary tables that the log makes and uses, which no
	// copy holds. Without Recreated it is left out as well, until Rebuild is called.
	Rebuilt Group = "rebuilt"
)

// Options say what is written. The zero value is good for a test of a few seconds.
type Options struct {
	Schema         string        // prefix of the schemas; "wl" if ""
	Domains        int           // GTID domains, numbered from 0, one schema each; 1 if 0
	MaxBlob        int           // bytes of the largest blob; 256 KiB if 0. Small ones are far more frequent
	BigTransaction int           // now and then a transaction of at least so many bytes; never if 0
	Without        []Group       // what is left out
	Pause          time.Duration // of each worker between two transactions
	Patience       time.Duration // how long a lost connection is dialled again before Run fails; not at all if 0
}

// Dial opens a session with the privileges of root.
type Dial func() (*client.Conn, error)

// Workload is made by New. Setup comes first; then Run, checkpoints and the rest may run
// at the same time.
type Workload struct {
	opts   Options
	seed   uint64
	flavor flavor // known, as kinds, after Setup
	kinds  []kind

	rebuilds atomic.Bool // Rebuild was called

	gate sync.RWMutex // held for reading during a transaction, for writing during a checkpoint
	runs atomic.Uint64

	mu    sync.Mutex
	stats map[string]int
	acked map[int]int64
}

// New returns a workload; it does nothing yet, and what it will write depends on the server.
func New(seed int64, o Options) *Workload {
	if o.Schema == "" {
		o.Schema = "wl"
	}
	if o.MaxBlob <= 0 {
		o.MaxBlob = 256 << 10
	}
	o.Domains = max(o.Domains, 1)
	return &Workload{opts: o, seed: uint64(seed), stats: map[string]int{}, acked: map[int]int64{}}
}

// Rebuild ends what is left out for the sake of a base backup, which has been taken.
func (w *Workload) Rebuild() { w.rebuilds.Store(true) }

// Run writes with so many workers until n transactions are done, or, if n is 0, until ctx is
// done, which is no error. Transactions under way are finished. It may be called again.
func (w *Workload) Run(ctx context.Context, dial Dial, workers, n int) error {
	if n == 0 {
		n = 1 << 62
	}
	var todo atomic.Int64
	todo.Store(int64(n))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run := w.runs.Add(1)

	var wg sync.WaitGroup
	errs := make([]error, workers)
	for id := range workers {
		wg.Go(func() {
			s := w.session(id, run, dial)
			defer s.close()
			if err := s.loop(ctx, &todo); err != nil {
				errs[id] = fmt.Errorf("worker %d: %w", id, err)
				cancel(err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Once writes one transaction of every kind, with one worker. No error is tolerated.
func (w *Workload) Once(ctx context.Context, dial Dial) error {
	s := w.session(0, w.runs.Add(1), dial)
	defer s.close()
	if err := s.open(); err != nil {
		return err
	}
	for _, k := range w.kinds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.gate.RLock()
		err := k.run(s)
		w.gate.RUnlock()
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		w.count(k.name)
	}
	return nil
}

// Quiesce waits until no transaction is under way and lets none begin before resume is called.
func (w *Workload) Quiesce() (resume func()) {
	w.gate.Lock()
	return w.gate.Unlock
}

// Stats returns how many transactions of each kind were done, and as "failed" how many were
// rolled back because of a deadlock or the like.
func (w *Workload) Stats() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.stats)
}

// Total returns how many transactions were done so far, those rolled back included.
func (w *Workload) Total() int {
	n := 0
	for _, done := range w.Stats() {
		n += done
	}
	return n
}

// Acknowledged returns for each worker the number of its last transfer whose commit the server
// has acknowledged. A server that lost nothing has all of them up to it (see Transfers).
func (w *Workload) Acknowledged() map[int]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.acked)
}

func (w *Workload) count(what string) {
	w.mu.Lock()
	w.stats[what]++
	w.mu.Unlock()
}

// session prepares a worker; its random numbers depend on the seed, the run and the worker.
func (w *Workload) session(id int, run uint64, dial Dial) *session {
	domain := id % w.opts.Domains
	return &session{
		w: w, id: id, dial: dial, domain: domain, schema: w.schema(domain),
		rng: rand.New(rand.NewPCG(w.seed, run<<32|uint64(id))),
	}
}

func (w *Workload) schema(domain int) string { return fmt.Sprintf("%s_%d", w.opts.Schema, domain) }
