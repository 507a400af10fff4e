package daemon

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/storage"
)

// storageMetrics counts what is done to the storage, as the program sees it: an operation that was tried
// several times is one.
type storageMetrics struct {
	operations *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

func newStorageMetrics() *storageMetrics {
	return &storageMetrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_storage_operations_total",
			Help: "Operations on the storage by result: ok, other (the object is there already, or is not), cancelled, or error.",
		}, []string{"operation", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_storage_bytes_total",
			Help: "Bytes of objects written to the storage or read from it.",
		}, []string{"operation"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidemark_storage_operation_duration_seconds",
			Help:    "How long operations on the storage took, whatever their result.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 9), // to five minutes
		}, []string{"operation"}),
	}
}

func (m *storageMetrics) seen(o storage.Observation) {
	result := "error"
	switch {
	case o.Err == nil:
		result = "ok"
	case errors.Is(o.Err, storage.ErrExist) || errors.Is(o.Err, storage.ErrNotExist):
		result = "other"
	case errors.Is(o.Err, context.Canceled):
		result = "cancelled"
	}
	m.operations.WithLabelValues(o.Op, result).Inc()
	m.bytes.WithLabelValues(o.Op).Add(float64(o.Bytes))
	m.seconds.WithLabelValues(o.Op).Observe(o.Took.Seconds())
}

// register adds the metrics to those of the status port.
func (m *storageMetrics) register(r *prometheus.Registry) {
	r.MustRegister(m.operations, m.bytes, m.seconds)
}
