package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	pb "tidemark/proto/status"
)

// port is the status port: it tells, and changes nothing.
type port struct {
	clusters []*cluster
	version  string
	started  time.Time
	clock    clock.Clock
	storage  *storageMetrics
}

// listen serves until the returned function is called.
func (p *port) listen(cfg config.Status, log *zap.Logger, listening func(string)) (func(), error) {
	if cfg.Off() {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fault.New(fault.Config, "listen on", cfg.Listen, err).
			WithHint("Set status.listen to a free address, or to off.")
	}
	if listening != nil {
		defer listening(l.Addr().String())
	}
	return Serve(l, p.handler(), log), nil
}

// Serve answers requests until the returned function is called.
func Serve(l net.Listener, h http.Handler, log *zap.Logger) (stop func()) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("status port failed", zap.Error(err))
		}
	}()
	log.Info("status port listening", zap.Stringer("address", l.Addr()))
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		_ = srv.Close()
		<-done
	}
}

func (p *port) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{port: p}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.storage.register(registry)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", p.readyz)
	mux.HandleFunc("GET /status", p.statusz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// status is the message of /status.
func (p *port) status() *pb.Status {
	now := p.clock.Now()
	m := &pb.Status{Version: p.version, Started: timestamppb.New(p.started), Now: timestamppb.New(now)}
	for _, c := range p.clusters {
		m.Clusters = append(m.Clusters, c.status(now))
	}
	return m
}

func (p *port) statusz(w http.ResponseWriter, _ *http.Request) { WriteStatus(w, p.status()) }

// WriteStatus answers a request for the status.
func WriteStatus(w http.ResponseWriter, m *pb.Status) {
	data, err := protojson.MarshalOptions{Multiline: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n'))
}

// readyz answers 200 when every cluster is ready, else 503 with a line for each that is not.
func (p *port) readyz(w http.ResponseWriter, _ *http.Request) {
	var not []string
	for _, c := range p.status().Clusters {
		if ok, why := ready(c); !ok {
			not = append(not, c.Name+": "+why)
		}
	}
	if len(not) == 0 {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, line := range not {
		fmt.Fprintln(w, line)
	}
}
