package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tidemark/internal/fault"
	pb "tidemark/proto/archive"
)

// Lease says who archives the cluster. It is one of a series of which the newest counts, and advice: what
// decides is the put of a manifest.
type Lease struct {
	Epoch    uint64
	Writer   string    // UUID of the archiver, as in its segments: that of its state directory
	Run      string    // UUID of the process
	Host     string    // its name
	Taken    time.Time // when this run put its first epoch; this and what follows by the holder's clock
	Renewed  time.Time // when it put this one
	Expires  time.Time
	Released bool // nobody holds it
}

// TTL is how long the lease lasts without being renewed.
func (l *Lease) TTL() time.Duration { return l.Expires.Sub(l.Renewed) }

const (
	leasePrefix = "lease/"
	keepLeases  = 10 // that stay when old ones are removed
)

func leaseKey(epoch uint64) string { return fmt.Sprintf("%s%016d.json", leasePrefix, epoch) }

func newLease() *pb.Lease { return new(pb.Lease) }

// PutLease puts a lease under its epoch. The error is storage.ErrExist when that epoch is there.
func (c *Catalog) PutLease(ctx context.Context, l *Lease) error {
	return c.putNew(ctx, leaseKey(l.Epoch), &pb.Lease{FormatVersion: FormatVersion, ClusterUuid: c.Cluster.UUID, Epoch: l.Epoch, Writer: l.Writer,
		Run: l.Run, Host: l.Host, Taken: stamp(l.Taken), Renewed: stamp(l.Renewed), Expires: stamp(l.Expires), Released: l.Released})
}

// Lease returns the newest lease; nil when there was never one. Of one that cannot be understood only the
// epoch is known. Old ones are removed on the way, if prune is set; that this fails changes nothing.
func (c *Catalog) Lease(ctx context.Context, prune bool) (*Lease, error) {
	var epochs []uint64
	prefix := c.key(leasePrefix)
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list leases: %w", err)
		}
		if n, ok := parseNumber(strings.TrimPrefix(o.Key, prefix), 16, ".json"); ok {
			epochs = append(epochs, n)
		}
	}
	if len(epochs) == 0 {
		return nil, nil
	}
	for prune && len(epochs) > keepLeases {
		if c.store.Delete(ctx, c.key(leaseKey(epochs[0]))) != nil {
			break
		}
		epochs = epochs[1:]
	}
	newest := epochs[len(epochs)-1]
	l, err := c.LeaseAt(ctx, newest)
	if fault.Is(err, fault.Integrity) {
		return &Lease{Epoch: newest}, nil
	}
	return l, err
}

// LeaseAt reads one lease.
func (c *Catalog) LeaseAt(ctx context.Context, epoch uint64) (*Lease, error) {
	key := leaseKey(epoch)
	m, err := readObject(ctx, c.store, c.key(key), newLease)
	if err != nil {
		return nil, err
	}
	if err := c.ours(key, m.ClusterUuid); err != nil {
		return nil, err
	}
	if m.Epoch != epoch {
		return nil, damaged("read", key, fmt.Errorf("it is lease %d", m.Epoch))
	}
	return &Lease{Epoch: m.Epoch, Writer: m.Writer, Run: m.Run, Host: m.Host, Taken: unstamp(m.Taken), Renewed: unstamp(m.Renewed),
		Expires: unstamp(m.Expires), Released: m.Released}, nil
}
