package expire

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/storage"
)

// memory is a store of which hundreds are made, whose objects are as old as a test wants.
type memory struct {
	mu      sync.Mutex
	now     time.Time
	objects map[string]object
}

type object struct {
	data     []byte
	modified time.Time
}

var _ storage.Store = (*memory)(nil)

func newMemory(now time.Time) *memory { return &memory{now: now, objects: make(map[string]object)} }

func (m *memory) URL() string { return "memory:" }

func (m *memory) Put(_ context.Context, key string, data []byte, ifAbsent bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.objects[key]; there && ifAbsent {
		return fmt.Errorf("put %s: %w", key, storage.ErrExist)
	}
	m.objects[key] = object{bytes.Clone(data), m.now}
	return nil
}

func (m *memory) Upload(ctx context.Context, key string, r io.Reader) (int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	return int64(len(data)), m.Put(ctx, key, data, false)
}

func (m *memory) get(op, key string) (object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, there := m.objects[key]
	if !there {
		return o, fmt.Errorf("%s %s: %w", op, key, storage.ErrNotExist)
	}
	return o, nil
}

func (m *memory) Get(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o, err := m.get("get", key)
	if err != nil {
		return nil, err
	}
	data := o.data[min(offset, int64(len(o.data))):]
	if length >= 0 {
		data = data[:min(length, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (m *memory) Stat(_ context.Context, key string) (storage.Object, error) {
	o, err := m.get("stat", key)
	return storage.Object{Key: key, Size: int64(len(o.data)), Modified: o.modified}, err
}

func (m *memory) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		m.mu.Lock()
		keys := slices.Sorted(maps.Keys(m.objects))
		m.mu.Unlock()
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) || key <= after {
				continue
			}
			if o, err := m.Stat(ctx, key); err == nil && !yield(o, nil) {
				return
			}
		}
	}
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}
