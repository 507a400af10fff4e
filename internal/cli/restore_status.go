package cli

import (
	"net"
	"net/http"
	"sync"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/daemon"
	"tidemark/internal/fault"
	"tidemark/proto/status"
	"tidemark/restore"
)

// restorePort tells whoever asks how far a restore is.
type restorePort struct {
	a    *app
	stop func()

	mu sync.Mutex
	m  *status.Status
}

// newRestorePort listens, if that is wanted.
func (a *app) newRestorePort(o restoreOptions, plan *restore.Plan, log *zap.Logger) (*restorePort, error) {
	p := &restorePort{a: a, stop: func() {}, m: &status.Status{Version: a.Version, Started: timestamppb.New(a.Clock.Now()),
		Restore: &status.Restore{Cluster: plan.Cluster, Target: plan.Target, TargetDir: o.dir, Follows: o.follow, DelaySeconds: o.delay.Seconds()}}}
	if o.statusListen == "" {
		return p, nil
	}
	host, port, err := net.SplitHostPort(o.statusListen)
	if err != nil {
		return nil, usage("--status-listen: "+err.Error(), "tidemark restore")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fault.New(fault.Usage, "listen on", o.statusListen, err).WithHint("Give a free address with --status-listen.")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { daemon.WriteStatus(w, p.status()) })
	p.stop = daemon.Serve(l, mux, log)
	return p, nil
}

// status is the message now.
func (p *restorePort) status() *status.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := proto.CloneOf(p.m)
	m.Now = timestamppb.New(p.a.Clock.Now())
	return m
}

// observe takes over what has happened.
func (p *restorePort) observe(e restore.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.m.Restore
	r.Phase, r.PhaseSeconds, r.Rate, r.LeftSeconds, r.BehindSeconds = string(e.Phase), e.Elapsed.Seconds(), e.Rate, e.Left.Seconds(), e.Behind.Seconds()
	r.Bytes, r.BytesTotal = uint64(e.Bytes), uint64(e.TotalBytes)
	if e.Phase == restore.Apply || e.Phase == restore.Following {
		r.Transactions, r.TransactionsTotal = e.Transactions, e.Total
	}
	if e.LastApplied != nil {
		r.LastApplied, r.LastAppliedTime = e.LastApplied.GTID, timestamppb.New(e.LastApplied.Time)
	}
	if e.Kind == restore.Finished {
		r.Phases = append(r.Phases, &status.Phase{Phase: r.Phase, Seconds: r.PhaseSeconds})
	}
}
