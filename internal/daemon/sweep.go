package daemon

import (
	"context"
	"time"

	"go.uber.org/zap"

	"tidemark/internal/clock"
	"tidemark/storage"
)

// What a write that was cut off leaves in the storage is removed when it is this old, and looked for as often.
const remains = 24 * time.Hour

// sweep removes until ctx ends what writes that were cut off have left: a part of a base backup may be a
// gigabyte. Nothing depends on it, so what fails is only logged.
func sweep(ctx context.Context, store storage.Store, c clock.Clock, log *zap.Logger) {
	for {
		n, err := storage.Sweep(ctx, store, c.Now().Add(-remains))
		if n > 0 {
			log.Info("remains of interrupted writes removed", zap.Int("files", n))
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("remains of interrupted writes not removed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-c.After(remains):
		}
	}
}
