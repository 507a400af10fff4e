package storage

import (
	"context"
	"io"
	"sync"
	"time"

	"tidemark/internal/clock"
)

// Limit returns a Store over s that writes at most so many bytes a second, and apart from that reads
// at most so many: of all its callers together, averaged over about a tenth of a second, but that an
// object which is put whole goes at once.
func Limit(s Store, bytesPerSecond int64, c clock.Clock) Store {
	return &limit{Store: s, up: pace{rate: bytesPerSecond, clock: c}, down: pace{rate: bytesPerSecond, clock: c}}
}

type limit struct {
	Store
	up, down pace
}

func (l *limit) Put(ctx context.Context, key string, data []byte, ifAbsent bool) error {
	if err := l.up.take(ctx, len(data)); err != nil {
		return err
	}
	return l.Store.Put(ctx, key, data, ifAbsent)
}

func (l *limit) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	return l.Store.Upload(ctx, key, &limitedReader{ctx, r, &l.up})
}

func (l *limit) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := l.Store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&limitedReader{ctx, body, &l.down}, body}, nil
}

// limitedReader waits after each read for as long as its bytes may take.
type limitedReader struct {
	ctx  context.Context
	r    io.Reader
	pace *pace
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), l.pace.piece())])
	if werr := l.pace.take(l.ctx, n); err == nil {
		err = werr
	}
	return n, err
}

// pace hands out bytes at a steady rate. Each piece is due when those before it are paid for.
type pace struct {
	rate  int64 // bytes a second
	clock clock.Clock
	mu    sync.Mutex
	due   time.Time
}

// piece is how much is taken at a time.
func (p *pace) piece() int { return int(min(max(p.rate/10, 1), 1<<20)) }

// take waits until n bytes are due, or the context ends.
func (p *pace) take(ctx context.Context, n int) error {
	p.mu.Lock()
	now := p.clock.Now()
	at := p.due
	if at.Before(now) {
		at = now
	}
	p.due = at.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if !at.After(now) {
		return ctx.Err()
	}
	select {
	case <-p.clock.After(at.Sub(now)):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
