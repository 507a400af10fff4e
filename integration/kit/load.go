package kit

import (
	"context"

	"tidemark/integration/kit/servertest"
	"tidemark/integration/kit/workload"
)

// Load is a workload that writes to the primary.
type Load struct {
	*workload.Workload
	w       *World
	stop    context.CancelFunc
	written chan error
}

// NewLoad sets a workload up on the primary; it does not write yet. What a base backup cannot be taken
// beside is left out: on MySQL, whose clones have no rows of them, tables of other engines.
func (w *World) NewLoad(seed uint64, o workload.Options) *Load {
	w.T.Helper()
	o.Without = append(o.Without[:len(o.Without):len(o.Without)], workload.Recreated)
	if w.Server.Binaries.Flavor == servertest.MySQL {
		o.Without = append(o.Without, workload.NonTransactional)
	}
	l := &Load{Workload: workload.New(int64(seed>>1), o), w: w}
	conn := w.Server.Conn()
	defer conn.Close()
	if err := l.Setup(conn); err != nil {
		w.T.Fatal(err)
	}
	return l
}

// Begin lets so many workers write until End.
func (l *Load) Begin(workers int) {
	l.w.T.Helper()
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	l.w.T.Cleanup(l.stop)
	l.written = make(chan error, 1)
	go func() { l.written <- l.Run(ctx, l.w.Dial, workers, 0) }()
}

// End ends the writing. No transaction is under way afterwards.
func (l *Load) End() {
	l.w.T.Helper()
	l.stop()
	if err := <-l.written; err != nil {
		l.w.T.Fatal(err)
	}
}

// Died waits until the writers of a load have ended whose server was killed. That they could not go on is no
// error.
func (l *Load) Died() {
	l.stop()
	<-l.written
}

// Wrote waits until n more transactions have been written, however long the machine takes for them.
func (l *Load) Wrote(n int) {
	l.w.T.Helper()
	until := l.Total() + n
	Until(l.w.T, patience, "the workload writes", func() bool { return l.Total() >= until || len(l.written) > 0 })
}
