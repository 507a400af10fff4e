package archiver

import (
	"context"

	"go.uber.org/zap"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// indexLoop puts an index object whenever another IndexEvery segments are archived, and those that
// an earlier run could not put. Nothing waits for it: an index only saves requests.
func (a *Archiver) indexLoop(ctx context.Context) error {
	indexed, known := uint64(0), false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.o.Clock.After(a.o.HeadAge):
		}
		a.mu.Lock()
		archived := a.state.Archived
		a.mu.Unlock()
		if archived < indexed+catalog.IndexEvery {
			continue
		}
		var err error
		if !known {
			indexed, err = a.o.Catalog.Indexed(ctx, a.o.Timeline)
			known = err == nil
		}
		for err == nil && indexed+catalog.IndexEvery <= archived {
			err = a.o.Catalog.PutIndex(ctx, a.o.Timeline, indexed+1, indexed+catalog.IndexEvery)
			if err == nil || fault.Is(err, fault.Integrity) { // with a hole, expired perhaps, it is not to be had
				indexed, err = indexed+catalog.IndexEvery, nil
			}
		}
		if err != nil && ctx.Err() == nil {
			a.o.Log.Warn("index not written, trying again", zap.Error(err))
		}
	}
}
